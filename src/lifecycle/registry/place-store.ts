import type { Transaction } from '../../platform/db/transaction.js';
import type { Actor } from '../model/index.js';
import type { Cell, Line, ResolvedLine } from './registry.js';

/** One row of the operator's prefix→line table. */
export interface LinePrefix {
  /** `address/bits`, no bit set behind the prefix. */
  readonly prefix: string;
  readonly lineId: number;
  readonly authoritative: boolean;
  readonly validFrom: Date;
  /** Exclusive; null = until changed. */
  readonly validTo: Date | null;
}

/** Rows of `line`, `line_prefix`, `cell` and `binding_history`. */
export interface PlaceStore {
  lineAt(tx: Transaction, address: string, at: Date): Promise<ResolvedLine | null>;
  line(tx: Transaction, by: { id: number } | { name: string }, lock?: 'update'): Promise<Line | null>;
  lines(tx: Transaction, page: { afterId: number; limit: number }): Promise<Line[]>;
  addLine(tx: Transaction, line: { name: string; region: string }): Promise<Line | null>;
  addPrefix(tx: Transaction, prefix: LinePrefix): Promise<boolean>;
  prefixes(tx: Transaction, lineId: number): Promise<LinePrefix[]>;
  endPrefix(tx: Transaction, prefix: string, at: Date): Promise<boolean>;
  cell(tx: Transaction, by: { id: string } | { unitId: number }, lock?: 'update'): Promise<Cell | null>;
  cells(tx: Transaction, page: { afterId: string; limit: number }): Promise<Cell[]>;
  freeCell(tx: Transaction): Promise<Cell | null>;
  addCell(tx: Transaction, cell: { id: string; segwAddress: string }): Promise<boolean>;
  writeCellUnit(tx: Transaction, cellId: string, unitId: number | null): Promise<void>;
  appendBinding(
    tx: Transaction,
    row: { unitId: number; what: 'line' | 'cell'; value: string; action: 'bound' | 'released'; actor: Actor; at: Date },
  ): Promise<void>;
  bindings(tx: Transaction, unitId: number): Promise<BindingHistoryRow[]>;
}

export interface BindingHistoryRow {
  readonly what: 'line' | 'cell';
  readonly value: string;
  readonly action: 'bound' | 'released';
  readonly actor: Actor;
  readonly at: Date;
}
