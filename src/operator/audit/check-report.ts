import type { Outcome } from './invariants/invariant.js';

export interface InvariantReport extends Outcome {
  readonly id: number;
  readonly name: string;
  readonly result: 'ok' | 'violated' | 'not run';
  readonly seconds: number;
}

export interface LedgerCheckReport {
  readonly ok: boolean;
  /** 0 clean, 9 critical. */
  readonly exitCode: 0 | 9;
  readonly asOf: string;
  readonly invariants: readonly InvariantReport[];
}
