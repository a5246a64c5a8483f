import type { Random } from './mutate.js';

/** How deep an input got, in this order; `crash` is anything that is not an answer of ours. */
export const DEPTHS = ['DER gate', 'structure', 'protection', 'policy', 'accepted', 'crash'] as const;
export type Depth = (typeof DEPTHS)[number];

export interface FuzzTarget {
  /** A valid message, before any mutation. */
  seed(random: Random): Buffer;
  /** Bends it; `mutate` unless the target knows better. */
  mutate?: (input: Buffer, random: Random) => Buffer;
  /** Where it stopped. What it throws is a crash. */
  judge(input: Buffer): Depth | Promise<Depth>;
  /** Signs a mutated message anew, so that it is not stopped at its signature; absent where nothing is signed. */
  resign?: (mutated: Buffer, random: Random) => Buffer;
  /** What was answered, how often. */
  readonly outcomes?: ReadonlyMap<string, number>;
}
