import type { RawEvent } from './finding.js';

/** The keys of some decisions, as two columns of one row. */
export interface RawColumns {
  readonly ids: readonly number[] | null;
  readonly ats: readonly string[] | null;
}

export function rawOf({ ids, ats }: RawColumns): RawEvent[] {
  return (ids ?? []).flatMap((id, n) => (ats?.[n] === undefined ? [] : [{ id, at: ats[n] }]));
}
