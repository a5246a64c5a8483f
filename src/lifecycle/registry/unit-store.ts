import type { Transaction } from '../../platform/db/transaction.js';
import type { EntryPattern } from '../../platform/ledger/entry-pattern.js';
import type { Actor, Unit, UnitState } from '../model/index.js';
import type { Profile, RenewedFrom, RowLock, StateHistoryRow } from './registry.js';

/** A row of an accepted manifest on its way into the registry. */
export interface NewUnit {
  readonly serialNumber: string;
  readonly eui: string;
  readonly fqdn: string;
  readonly productClass: string;
  readonly hardwareId: string;
  readonly model: string;
  readonly vendorSpkiHash: Buffer | null;
  /** BOOTSTRAPPED only where the row names the vendor certificate's key (rules 3.5). */
  readonly state: 'MANIFESTED' | 'BOOTSTRAPPED';
}

/** What a manifest would collide with. */
export interface TakenIdentities {
  readonly serialNumbers: readonly string[];
  readonly euis: readonly string[];
  /** `<product class>/<hardware id>` */
  readonly hardware: readonly string[];
  /** Hex. Keys of other units' vendor certificates, and every key that was seen here before, whoever had it. */
  readonly vendorKeys: readonly string[];
}

/** Rows of `unit`, `unit_history` and `profile`. Every call runs in the caller's transaction. */
export interface ContactTouch {
  readonly unitId: number;
  readonly at: Date;
  readonly stepMs: number;
  /** As {@link Registry.touchContact}; null: heard of otherwise. */
  readonly renewal: RenewedFrom | null;
}

export interface UnitStore {
  find(tx: Transaction, by: UnitKey, lock?: RowLock): Promise<Unit | null>;
  writeState(tx: Transaction, change: { unitId: number; to: UnitState; reason: string; at: Date }): Promise<void>;
  /**
   * Locks the units in id order and raises the revocation epoch of each; those in one of `from` move, with history and an
   * entry. Returns the ids that moved.
   */
  moveStates(
    tx: Transaction,
    move: {
      unitIds: readonly number[];
      from: readonly UnitState[];
      to: UnitState;
      actor: Actor;
      reason: string;
      evidence: string | null;
      at: Date;
      entry: EntryPattern<'unitId' | 'from'>;
    },
  ): Promise<readonly number[]>;
  appendHistory(tx: Transaction, rows: readonly (StateHistoryRow & { unitId: number })[]): Promise<void>;
  history(tx: Transaction, unitId: number): Promise<StateHistoryRow[]>;
  raiseRevocationEpoch(tx: Transaction, unitIds: readonly number[]): Promise<void>;
  touchContact(tx: Transaction, touch: ContactTouch): Promise<void>;
  writeProfile(tx: Transaction, unitId: number, profile: string): Promise<void>;
  writeLine(tx: Transaction, unitId: number, lineId: number | null): Promise<void>;
  profile(tx: Transaction, name: string): Promise<Profile | null>;
  taken(tx: Transaction, rows: readonly NewUnit[]): Promise<TakenIdentities>;
  /**
   * Ids in the order of the rows. Vendor keys are seen from here on (KEY-1): nobody else can bring one as a key of its own,
   * and the unit cannot certify it as its operational key (rules 3.1).
   *
   * @throws FemtoError KEY_IN_USE when one of them has been seen in the meantime
   */
  insert(
    tx: Transaction,
    batch: { makerId: number; batchId: number; at: Date },
    rows: readonly NewUnit[],
  ): Promise<number[]>;
  reworkAllowed(tx: Transaction, unitId: number): Promise<boolean>;
  writeRework(tx: Transaction, unitId: number, allowed: boolean): Promise<void>;
}

export type UnitKey =
  | { readonly id: number }
  | { readonly serialNumber: string }
  | { readonly fqdn: string }
  | { readonly lineId: number }
  | { readonly vendorSpkiHash: Buffer };
