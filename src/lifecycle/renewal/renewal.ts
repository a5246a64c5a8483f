import type { Transaction } from '../../platform/db/transaction.js';
import type { KeyRequest } from '../../x509/key-request.js';
import type { Actor, CertificateRecord, ProvedCredential } from '../model/index.js';

export type { ProvedCredential } from '../model/index.js';

/** What a unit gets for a good request. */
export interface RenewalAnswer {
  readonly certificate: CertificateRecord;
  readonly generation: number;
  readonly renewFrom: Date;
  readonly renewUntil: Date;
  /** True where this certificate was issued by an earlier request. */
  readonly repeated: boolean;
}

/** The room's use-cases as a rim sees them; `makeRenewal(deps)` binds them. */
export interface Renewal {
  /**
   * The verdict table of the lineage, carried out: successor, same certificate, soft displacement, hard fork, refusal.
   *
   * @throws FemtoError BAD_REQUEST, KEY_*, ID_MISMATCH, POP_FAIL, NONCE_BAD, PREDECESSOR_MISMATCH, FORK_HARD,
   *   CLAIM_CONTESTED, IDEMPOTENCY_CONFLICT, DEVICE_*, CERT_REVOKED, CERT_EXPIRED, REACTIVATE, RATE_LIMITED;
   *   HSM_UNAVAILABLE and RETRY_LATER are retryable
   */
  renew(request: RenewalRequest): Promise<RenewalAnswer>;
  /** First use of the new certificate's key. Repeating it is harmless. @throws FemtoError CERT_EXPIRED, as advise and pickUp */
  confirm(request: { readonly credential: ProvedCredential }): Promise<Confirmation>;
  /**
   * The unit's own word on the certificate it was just given, in a message signed by the key that asked for it over a
   * value of ours (CMP certConf): accepted, the slot is confirmed; refused, it is displaced with nothing in its place, so
   * that the next request may bring the same key or another. Repeating it is harmless.
   *
   * @throws FemtoError STATE_CONFLICT displaced or confirmed meanwhile; RATE_LIMITED a second refusal within the hour; as
   *   confirm otherwise
   */
  settleIssued(request: SettleRequest): Promise<void>;
  advise(request: { readonly credential: ProvedCredential }): Promise<Advice>;
  /** Hands over a pre-issued certificate (units whose key cannot change). */
  pickUp(request: PickUpRequest): Promise<RenewalAnswer>;
  /** For the worker: the next certificate of a `preissue` unit; null where nothing is to be done (now). */
  preissueNext(slotId: number): Promise<CertificateRecord | null>;
  /** @throws FemtoError NOT_FOUND; BAD_REQUEST past 90 % of life or reversed; STATE_CONFLICT slot not in use */
  moveWindow(tx: Transaction, move: WindowMove): Promise<void>;
}

export interface RenewalRequest {
  readonly credential: ProvedCredential;
  /** PKCS#10 as it came (DER, PEM or base64), or what another form was read to. */
  readonly csr: string | Buffer | KeyRequest;
  /**
   * DER ECDSA by the old key over `femtopki-renew-v1\n<nonce>\n<sha256 hex of CSR DER>\n`; null where the protocol proves
   * the old key by itself (EST, CMP).
   */
  readonly predecessorSignature: Buffer | null;
  readonly idempotencyKey: string | null;
  /** `nonce`: ours, in the CSR's challengePassword (REST). `handshake`: the credential's own `provedAt` (EST, CMP). */
  readonly freshness: { readonly by: 'nonce' | 'handshake' };
}

export interface SettleRequest {
  /** The key that asked: the predecessor's, bootstrap or vendor. */
  readonly credential: ProvedCredential;
  readonly certificate: { readonly issuerId: number; readonly serial: Buffer; readonly notAfter: Date };
  readonly accepted: boolean;
  /** The protocol's own end, in the same commit. */
  readonly withSettled?: (tx: Transaction) => Promise<void>;
}

export interface Confirmation {
  readonly generation: number;
  readonly state: 'confirmed';
  /** Pre-issue profiles only: presented at the next pick-up, hex. */
  readonly lineageToken: string | null;
}

export interface Advice {
  readonly renewFrom: Date;
  readonly renewUntil: Date;
  readonly generation: number;
  readonly state: 'pending' | 'confirmed' | 'superseded';
  /** A pre-issued successor waits. */
  readonly pickup: boolean;
  /** When to ask again. */
  readonly retryAfterSeconds: number;
}

export interface PickUpRequest {
  readonly credential: ProvedCredential;
  /** Hex, from the last confirmation; null before the first. */
  readonly lineageToken: string | null;
}

export interface WindowMove {
  readonly slotId: number;
  readonly renewFrom: Date;
  readonly renewUntil: Date;
  readonly actor: Actor;
  readonly at: Date;
}

export type TaskState = 'due' | 'reminded' | 'overdue' | 'preissued' | 'done' | 'dead';

/** What becomes of tasks beside the worker's own looks. Every change is a guarded UPDATE, so running twice is harmless. */
export interface TaskStore {
  markPreissued(tx: Transaction, slotId: number, at: Date): Promise<boolean>;
  /** Counts a failed try; the fifth makes it dead. */
  markFailed(tx: Transaction, slotId: number, error: string, at: Date): Promise<TaskState>;
  /** Closes the tasks of every slot one generation before, whatever became of it. */
  closeFollowed(tx: Transaction, follower: { lineageId: number; generation: number; at: Date }): Promise<void>;
}
