import type { Lease } from '../db/lease.js';

/** Signing and anchoring of heads share one lease: a head is anchored in the order it was signed. */
export const HEADS_LEASE = 'ledger-heads';
/** A head covers at most so many new entries; after an outage several follow one another. */
export const HEAD_ENTRIES_MAX = 100_000;

export interface SignedHead {
  readonly epoch: number;
  readonly size: number;
  readonly merkleRoot: Buffer;
  readonly chainHash: Buffer;
  readonly at: Date;
  /** The signed text, as `femtopki-audit-head-v1` describes it. */
  readonly headText: string;
  /** DER Ecdsa-Sig-Value by the audit key over the text with SHA-256. */
  readonly signature: Buffer;
}

export interface AuditHeads {
  /**
   * Signs the current size, with the proof that it extends the last signed head. Null when nothing is new.
   *
   * @throws FemtoError HSM_UNAVAILABLE (try again); STATE_CONFLICT when the lease is lost; INTERNAL when ledger and
   *   frontier disagree or the signer refuses the proof: somebody changed the past, page a person
   */
  signHead(lease: Lease): Promise<SignedHead | null>;
}

/** What follows a head outside: kinds that a restored database must re-adopt (rules 7.4). */
export const ANCHORED_KINDS: readonly string[] = [
  'certificate.issued',
  'certificate.abandoned',
  'certificate.revoked',
  'certificate.held',
  'certificate.released',
  'key.blocked',
];
