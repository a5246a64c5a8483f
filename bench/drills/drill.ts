import type { ActResult } from '../../src/apps/act-result.js';

/** A rehearsal of an attack or an accident at full count, on real parts. */
export interface Drill {
  readonly name: string;
  readonly summary: string;
  /**
   * @param report        called with each verdict as soon as it is there
   * @param options.runs  of a drill that repeats one act; its own count where it is absent
   */
  run(report: (act: ActResult) => void, options: { readonly runs?: number }): Promise<void>;
}

export function verdict(act: string, by: string, expected: string, got: string): ActResult {
  return { act, by, expected, got, ok: got === expected };
}
