import type { ActResult } from '../../src/apps/act-result.js';

export interface DrillOptions {
  /** Of a drill that repeats one act; its own count where it is absent. */
  readonly runs?: number;
  /** Of a drill that plays a fleet; its own count where it is absent. */
  readonly units?: number;
}

/** A rehearsal of an attack or an accident at full count, on real parts. */
export interface Drill {
  readonly name: string;
  readonly summary: string;
  /** @param report  called with each verdict as soon as it is there */
  run(report: (act: ActResult) => void, options: DrillOptions): Promise<void>;
}

export function verdict(act: string, by: string, expected: string, got: string): ActResult {
  return { act, by, expected, got, ok: got === expected };
}
