import type { Transaction } from '../../platform/db/transaction.js';
import type { CertificatePurpose, CertificateRecord, UnitState } from '../model/index.js';

/** Rows of `issuance_intent`, `key_seen`, `certificate` and the slot claims, always in sets of one flush. */
export interface IssuanceStore {
  /**
   * Locks the unit rows in ascending id, so that a revocation either sees what this transaction records or is seen by it,
   * and so that two claims on one unit follow each other.
   */
  lockUnits(tx: Transaction, unitIds: readonly number[]): Promise<Map<number, LockedUnit>>;
  blockedKeys(tx: Transaction, spkiHashes: readonly Buffer[]): Promise<Set<string>>;
  /** Writes each key that nobody has; returns, by attempt, who held the key where that was somebody else. */
  claimKeys(tx: Transaction, claims: readonly KeyClaim[]): Promise<Map<string, KeyHolder>>;
  /** Takes over a key whose last attempt was abandoned; false when somebody was faster. */
  takeOverKey(tx: Transaction, claim: KeyClaim, fromAttemptId: string): Promise<boolean>;
  /** Takes back claims of rows that were refused before anything was signed. */
  releaseKeys(tx: Transaction, claims: readonly KeyClaim[]): Promise<void>;

  /** Closes the unit's lineage; false when it is not its live one, or when something in it is being signed right now. */
  closeLineage(tx: Transaction, change: { lineageId: number; unitId: number; at: Date }): Promise<boolean>;
  /** Each unit's open lineage, made if it has none; a unit whose lineage is quarantined is missing. */
  openLineages(tx: Transaction, unitIds: readonly number[], at: Date): Promise<Map<number, number>>;
  displaceSlot(tx: Transaction, change: Displacement): Promise<'same-key' | 'soft' | 'too-soon' | 'not-pending'>;
  /** Slot ids by attempt; a row is missing when its slot is taken, its lineage not open or its predecessor not standing. */
  claimSlots(tx: Transaction, claims: readonly SlotClaim[]): Promise<Map<string, number>>;
  /** Takes back slots of rows that were refused before anything was signed. */
  removeSlots(tx: Transaction, slotIds: readonly number[]): Promise<void>;
  /** pending → confirmed for the predecessors of these claims; returns those that changed. */
  confirmPredecessors(tx: Transaction, claims: readonly SlotClaim[], at: Date): Promise<ConfirmedPredecessor[]>;

  insertIntents(tx: Transaction, intents: readonly Intent[]): Promise<void>;
  /** signing → issued with certificate and slot, for attempts that are still signing; returns the attempts that were. */
  recordIssued(tx: Transaction, createdAt: Date, certificates: readonly CertificateRecord[]): Promise<Set<string>>;
  /** States of attempts that one transaction recorded. */
  attemptStates(tx: Transaction, createdAt: Date, attemptIds: readonly string[]): Promise<Map<string, IntentState>>;

  /** Attempts still signing that were recorded before; oldest first. */
  staleAttempts(tx: Transaction, before: Date, limit: number): Promise<StaleAttempt[]>;
  /** signing → abandoned with their slots; returns the attempts that were still signing. */
  abandon(tx: Transaction, attempts: readonly StaleAttempt[], at: Date): Promise<AbandonedAttempt[]>;

  /** The database's clock and whether somebody stopped issuing. */
  conditions(tx: Transaction): Promise<{ now: Date; issuingStopped: string | null }>;
  stopIssuing(tx: Transaction, reason: string): Promise<void>;
  /**
   * `row`: the contents of some row were refused, so rows may be tried one by one. `transaction`: the database rolled all
   * of it back and it may run again (deadlock, shutdown). `unknown`: anything else, the outcome included.
   */
  faultOf(thrown: unknown): 'row' | 'transaction' | 'unknown';
}

export type IntentState = 'signing' | 'issued' | 'abandoned';

export interface LockedUnit {
  readonly serialNumber: string;
  readonly state: UnitState;
  readonly revocationEpoch: number;
}

export interface KeyClaim {
  readonly attemptId: string;
  readonly spkiHash: Buffer;
  readonly unitId: number | null;
  readonly ownerKind: CertificatePurpose;
  readonly ownerName: string;
  readonly at: Date;
}

export interface KeyHolder {
  readonly attemptId: string;
  readonly unitId: number | null;
  readonly ownerKind: string;
  readonly ownerName: string;
  /** Of the attempt that holds it; null when it came from elsewhere (CA, import, gateway). */
  readonly attemptState: IntentState | null;
}

export interface Displacement {
  readonly slotId: number;
  readonly lineageId: number;
  readonly generation: number;
  readonly newSpkiHash: Buffer;
  readonly at: Date;
}

export interface SlotClaim {
  readonly attemptId: string;
  readonly lineageId: number;
  readonly unitId: number;
  readonly generation: number;
  readonly preissued: boolean;
  readonly spkiHash: Buffer;
  readonly issuerId: number;
  readonly serial: Buffer;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly renewFrom: Date;
  readonly renewUntil: Date;
  readonly at: Date;
}

export interface ConfirmedPredecessor {
  readonly slotId: number;
  readonly lineageId: number;
  readonly unitId: number;
  readonly generation: number;
  readonly issuerId: number;
  readonly serial: Buffer;
}

export interface Intent {
  readonly attemptId: string;
  readonly createdAt: Date;
  readonly issuerId: number;
  readonly serial: Buffer;
  readonly purpose: CertificatePurpose;
  readonly unitId: number | null;
  readonly machineId: number | null;
  readonly spkiHash: Buffer;
  readonly notAfter: Date;
  readonly tbs: Buffer;
  readonly tbsHash: Buffer;
  readonly slotId: number | null;
  readonly revocationEpoch: number;
}

export interface StaleAttempt {
  readonly attemptId: string;
  readonly createdAt: Date;
  readonly issuerId: number;
  readonly serial: Buffer;
  readonly purpose: CertificatePurpose;
  readonly unitId: number | null;
  readonly machineId: number | null;
  readonly notAfter: Date;
  readonly slotId: number | null;
}

export interface AbandonedAttempt extends StaleAttempt {
  readonly unitSerialNumber: string | null;
}
