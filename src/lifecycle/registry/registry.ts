import type { Transaction } from '../../platform/db/transaction.js';
import type { Actor, Unit, UnitState } from '../model/index.js';
import type { ModelKey, UnitModel } from './model.js';

/** The way every other room reads and changes units. All calls run in the caller's transaction. */
/** Where a renewal came from. */
export interface RenewedFrom {
  readonly lineageId: number;
  /** Authoritative; null where our resolver is not sure. */
  readonly lineId: number | null;
}

export interface Registry {
  /** Exact match of the canonical form (upper case); anything else finds nothing. */
  unitBySerialNumber(tx: Transaction, serialNumber: string): Promise<Unit | null>;
  unitById(tx: Transaction, unitId: number, options?: { lock?: RowLock }): Promise<Unit | null>;
  unitByFqdn(tx: Transaction, fqdn: string): Promise<Unit | null>;
  /** @param spkiHash  SHA-256 of the vendor certificate's SubjectPublicKeyInfo, as a manifest row names it */
  unitByVendorKey(tx: Transaction, spkiHash: Buffer): Promise<Unit | null>;

  /**
   * Locks the row, checks the transition, writes `unit_history` and the ledger entry `unit.state-changed`.
   *
   * @throws FemtoError NOT_FOUND; STATE_CONFLICT with `facts.state` = the current state (REG-2)
   */
  changeState(tx: Transaction, change: StateChange): Promise<Unit>;
  /**
   * The same for a set, in one statement: units in one of `from` move, the others keep their state. The revocation epoch of
   * all of them rises (see {@link raiseRevocationEpoch}). Returns those that moved.
   *
   * @throws FemtoError STATE_CONFLICT when one of `from` may not lead to `to`
   */
  changeStates(
    tx: Transaction,
    change: Omit<StateChange, 'unitId' | 'from'> & { unitIds: readonly number[]; from: readonly UnitState[] },
  ): Promise<readonly number[]>;
  /** Voids every issuance of these units that began before (T2 compares). Locks the rows in id order. */
  raiseRevocationEpoch(tx: Transaction, unitIds: readonly number[]): Promise<void>;
  /**
   * Last contact only moves forward, and is written at most once a minute a unit.
   *
   * @param renewal  it was heard of by a renewal alone: from another line than its own that is no sign of life (LST-2)
   */
  touchContact(tx: Transaction, unitId: number, at: Date, renewal?: RenewedFrom): Promise<void>;
  history(tx: Transaction, unitId: number): Promise<readonly StateHistoryRow[]>;

  /**
   * The access line an address belonged to at an instant; the most specific valid prefix wins. IPv4-mapped IPv6 is
   * looked up as IPv4. Null where the table says nothing or the text is no address: NET_UNKNOWN, never above soft.
   */
  lineAt(tx: Transaction, address: string, at: Date): Promise<ResolvedLine | null>;
  lineByName(tx: Transaction, name: string): Promise<Line | null>;
  lineById(tx: Transaction, lineId: number): Promise<Line | null>;
  unitOnLine(tx: Transaction, lineId: number): Promise<Unit | null>;

  /**
   * One unit ↔ one line, unique both ways (REG-3). Binding what is bound already changes nothing.
   * @throws FemtoError NOT_FOUND; STATE_CONFLICT when unit or line is bound elsewhere: release first
   */
  bindLine(tx: Transaction, binding: { unitId: number; lineId: number; actor: Actor; at: Date }): Promise<Unit>;
  /** Releasing what is not bound changes nothing. */
  releaseLine(tx: Transaction, release: { unitId: number; actor: Actor; at: Date }): Promise<Unit>;
  /** As {@link bindLine}, for the cell identity. */
  bindCell(tx: Transaction, binding: { unitId: number; cellId: string; actor: Actor; at: Date }): Promise<Cell>;
  releaseCell(tx: Transaction, release: { unitId: number; actor: Actor; at: Date }): Promise<void>;
  /** The cell of a unit. Only for an activated unit, HeMS or gateway: never in a factory's answer (REG-4). */
  cellOf(tx: Transaction, unitId: number): Promise<Cell | null>;
  /** Any cell nobody holds, by id order; locks it. For assignment at activation. */
  freeCell(tx: Transaction): Promise<Cell | null>;

  profile(tx: Transaction, name: string): Promise<Profile | null>;
  /** The model of a unit; plain where nobody configured it. */
  modelOf(tx: Transaction, model: ModelKey): Promise<UnitModel>;
  /** @param label  path segment, exact */
  modelByLabel(tx: Transaction, label: string): Promise<UnitModel | null>;
  /** @throws FemtoError NOT_FOUND unit or profile */
  setProfile(tx: Transaction, change: { unitId: number; profile: string; actor: Actor; at: Date }): Promise<Unit>;
}

/** `share`: the state may not change until commit; `update`: this transaction will change it. */
export type RowLock = 'share' | 'update';

export interface StateChange {
  readonly unitId: number;
  readonly to: UnitState;
  readonly actor: Actor;
  /** For people; at most 500 characters, no subscriber data. */
  readonly reason: string;
  /** Reference to what was believed: case, ledger position, document. */
  readonly evidence?: string;
  readonly at: Date;
  /** The state the decider saw; another one now means somebody was faster. */
  readonly from?: UnitState;
}

export interface StateHistoryRow {
  readonly from: UnitState;
  readonly to: UnitState;
  readonly actor: Actor;
  readonly reason: string;
  readonly evidence: string | null;
  readonly at: Date;
}

export interface Line {
  readonly id: number;
  readonly name: string;
  readonly region: string;
}

export interface ResolvedLine {
  readonly lineId: number;
  readonly name: string;
  /** False: shared or guessed address space, evidence never above soft (rules 5.5). */
  readonly authoritative: boolean;
}

export interface Cell {
  readonly id: string;
  readonly unitId: number | null;
  readonly segwAddress: string;
}

export interface Profile {
  readonly name: string;
  readonly lifeSeconds: number;
  readonly renewalMode: 'rekey' | 'preissue';
  readonly comebackDays: number;
}
