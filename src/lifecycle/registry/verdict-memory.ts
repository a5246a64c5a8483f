import type { ChainVerdict } from '../../platform/chain-judge.js';

/** An end of validity counts this late at most. A disabled anchor and a new CRL count at once: they change what is asked. */
const KEPT_MS = 60_000;
const ENTRIES_MAX = 2_000;

/** A unit sends its chain with every message of an exchange: one verdict serves them all. Lives in the process. */
export class VerdictMemory {
  readonly #entries = new Map<string, { readonly atMs: number; readonly verdict: Promise<ChainVerdict> }>();

  /**
   * @param key  hash over everything that was judged, anchor and CRLs included
   * @param at   the instant it is asked for; a verdict serves only within a minute of its own
   */
  recall(key: string, at: Date, judge: () => Promise<ChainVerdict>): Promise<ChainVerdict> {
    const atMs = at.getTime();
    const known = this.#entries.get(key);
    if (known !== undefined && Math.abs(atMs - known.atMs) <= KEPT_MS) return known.verdict;
    const entry = { atMs, verdict: judge() };
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    // No verdict (busy, too slow) is nothing to remember; whoever asked hears of it by its own promise.
    entry.verdict.catch(() => {
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
    });
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= ENTRIES_MAX) break;
      this.#entries.delete(oldest);
    }
    return entry.verdict;
  }
}
