import type { Transaction } from '../../platform/db/transaction.js';
import type { FemtoError } from '../../platform/errors.js';
import type { LedgerEntry } from '../../platform/ledger/ledger.js';
import type { Spki } from '../../x509/spki.js';
import type { CertificatePurpose, CertificateRecord } from '../model/index.js';

/**
 * What a room hands to issuance after it has authenticated the requester, checked registry state, proof of possession
 * and key policy. Names and extensions come from the registry and the profile, never from the request (KEY-5).
 */
export interface ApprovedRequest {
  readonly purpose: CertificatePurpose;
  /** Services certificates say which template: gateway, server, station, operator, decision, time. */
  readonly servicesKind?: ServicesKind;
  readonly unitId: number | null;
  readonly machineId: number | null;
  /** Common name: the unit's FQDN or the machine's name. */
  readonly commonName: string;
  readonly sanDns: string | null;
  /** IPv4 or IPv6 as 4 or 16 octets; only gateways and servers. */
  readonly sanIp?: readonly Buffer[];
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
  /**
   * The hooks of a flush may run side by side, sharing their statements: they look at nothing but their own unit's rows, or
   * at what is counted in one statement. Where one of them throws all are undone and it runs alone. Default: each alone.
   */
  readonly hooksTogether?: true;
  /** Facts for the ledger beside the standard ones. */
  readonly facts?: LedgerEntry['body'];
  /**
   * The requester proved possession over a value of ours (nonce in the CSR, CMP protection): a key that another unit holds
   * then flags both. Without it only the caller is flagged, or anyone could smear an owner (rules 3.8). Default false.
   */
  readonly keyProved?: boolean;
  /** Allows the key when the same unit already holds it: replacing its own expired successor, or pre-issue. */
  readonly sameKeyAllowed?: boolean;
  /** Pre-issue: the CA-signed predecessor that the signer wants to see. */
  readonly predecessorDer?: Buffer;
}

export type ServicesKind = 'gateway' | 'server' | 'station' | 'operator' | 'decision' | 'time' | 'cmp-ra' | 'audit';

/** The generation a request claims. Generation 1 opens a lineage (`lineageId` null). */
export interface SuccessorClaim {
  readonly lineageId: number | null;
  readonly generation: number;
  readonly preissued: boolean;
  /**
   * A slot of the same generation that this claim displaces in the same transaction: a pending one with another key (the
   * soft row of rules 4, at most one an hour) or one with the same key whose certificate ran out unfetched.
   */
  readonly displacesSlotId: number | null;
  /** A new activation: the unit's lineage that ends in the same transaction, before the new one opens. */
  readonly closesLineageId?: number;
}

/** What is recorded, and when its unit should come again. */
export interface IssuedCertificate extends CertificateRecord {
  readonly renewFrom: Date;
  readonly renewUntil: Date;
}

export type IssuanceOutcome =
  | { readonly ok: true; readonly certificate: IssuedCertificate }
  | { readonly ok: false; readonly error: FemtoError };

/**
 * An approved request becomes a recorded, signed certificate: intent (T1), token, check, record (T2), answer. Concurrent
 * calls share micro-batches (flush at 256 rows, after a few milliseconds, or when the flush before ends). One refused row never fails its neighbours.
 * A pending predecessor is confirmed by the claim of the next generation (its key was just proved), except for pre-issue,
 * which needs a confirmed one.
 *
 * @throws FemtoError KEY_IN_USE | KEY_BLOCKED | STATE_CONFLICT (slot taken, unit changed) | HSM_UNAVAILABLE (retryable)
 *   | LIFETIME_EXCEEDS_CEILING | RETRY_LATER (same key in flight, backlog, clock, database)
 */
export interface Issuance {
  issue(request: ApprovedRequest): Promise<IssuedCertificate>;
  /** Bulk: same steps, outcomes per row in order. */
  issueMany(requests: readonly ApprovedRequest[]): Promise<IssuanceOutcome[]>;
  /** The certificate of an earlier attempt, for an idempotent repeat (REN-3); null while it is not issued. */
  byAttempt(attemptId: string): Promise<CertificateRecord | null>;
  /** Drains what is queued; afterwards every call is refused with RETRY_LATER. */
  close(): Promise<void>;
}

/** A recorded certificate by value; `notAfter` names its partition, so that one index is looked at and not every month's. */
export interface CertificateKey {
  readonly issuerId: number;
  readonly serial: Buffer;
  readonly notAfter: Date;
}

/** The record of issued certificates. Rooms name what they need of it by Pick. */
export interface CertificateReader {
  /** Null when it is not recorded. */
  record(tx: Transaction, key: CertificateKey): Promise<CertificateRecord | null>;
  /** Null while the attempt is signing, or was abandoned. */
  byAttempt(tx: Transaction, attemptId: string): Promise<CertificateRecord | null>;
  /**
   * Certificates of a unit, good at `at` or later, whose bytes hold this key identifier; newest first, a few at most. It may
   * be another's in them (their issuer's): the reader looks.
   */
  ofUnitByKeyIdentifier(
    tx: Transaction,
    by: { readonly unitId: number; readonly keyIdentifier: Buffer; readonly at: Date },
  ): Promise<CertificateRecord[]>;
  /** Bootstrap certificates of a unit that last beyond `at`, newest first. */
  bootstrapsOfUnit(tx: Transaction, unitId: number, at: Date): Promise<CertificateRecord[]>;
}
