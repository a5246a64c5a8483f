import type { Spki } from '../../x509/spki.js';
import type { CertificatePurpose, CertificateRecord } from '../model/index.js';
import type { Transaction } from '../../platform/db/transaction.js';
import type { LedgerEntry } from '../../platform/ledger/ledger.js';

/**
 * What a room hands to issuance after it has authenticated the requester, checked registry state, proof of possession
 * and key policy. Names and extensions come from the registry and the profile, never from the request (KEY-5).
 */
export interface ApprovedRequest {
  readonly purpose: CertificatePurpose;
  /** Services certificates say which template: gateway, server, station, operator, decision, time. */
  readonly servicesKind?: 'gateway' | 'server' | 'station' | 'operator' | 'decision' | 'time';
  readonly unitId: number | null;
  readonly machineId: number | null;
  /** Common name: the unit's FQDN or the machine's name. */
  readonly commonName: string;
  readonly sanDns: string | null;
  readonly spki: Spki;
  readonly lifeSeconds: number;
  /** Unit.revocationEpoch as read when the request was approved; T2 refuses when it has moved. */
  readonly revocationEpoch: number;
  /** Null for bootstrap and services certificates. */
  readonly successor: SuccessorClaim | null;
  /** Requester as the ledger names it. */
  readonly actor: string;
  /**
   * Runs inside T1, after key and slot are claimed: spends the grant, the quota, the idempotency key. Throwing refuses this
   * row alone (its own savepoint), never its neighbours. Rare: the hot path (renewal) has none.
   */
  readonly withIntent?: (tx: Transaction, attemptId: string) => Promise<void>;
  /** Runs inside T2, e.g. the unit's state change. */
  readonly withIssued?: (tx: Transaction, certificate: CertificateRecord) => Promise<void>;
  /** Facts for the ledger beside the standard ones. */
  readonly facts?: LedgerEntry['body'];
  /** Allows the key when the same unit already holds it: replacing its own expired successor, or pre-issue. */
  readonly sameKeyAllowed?: boolean;
  /** Pre-issue: the CA-signed predecessor that the signer wants to see. */
  readonly predecessorDer?: Buffer;
}

/** The generation a request claims. Generation 1 opens a lineage (`lineageId` null). */
export interface SuccessorClaim {
  readonly lineageId: number | null;
  readonly generation: number;
  readonly preissued: boolean;
  /** A pending slot that this claim displaces in the same transaction (rules 4, the soft row). */
  readonly displacesSlotId: number | null;
}

export type IssuanceOutcome =
  | { readonly ok: true; readonly certificate: CertificateRecord }
  | { readonly ok: false; readonly error: import('../../platform/errors.js').FemtoError };

/**
 * An approved request becomes a recorded, signed certificate: intent (T1), token, check, record (T2), answer. Concurrent
 * calls share micro-batches (flush at 256 rows or after a few milliseconds). One refused row never fails its neighbours.
 *
 * @throws FemtoError KEY_IN_USE | KEY_BLOCKED | STATE_CONFLICT (slot taken, epoch moved) | HSM_UNAVAILABLE (retryable)
 *   | LIFETIME_EXCEEDS_CEILING | RETRY_LATER (backlog, database)
 */
export interface Issuance {
  issue(request: ApprovedRequest): Promise<CertificateRecord>;
  /** Bulk: same steps, outcomes per row in order. */
  issueMany(requests: readonly ApprovedRequest[]): Promise<IssuanceOutcome[]>;
  /** Drains what is queued; afterwards every call is refused with RETRY_LATER. */
  close(): Promise<void>;
}
