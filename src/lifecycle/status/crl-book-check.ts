import type { CrlBooks } from './crl-books.js';
import type { CrlIssuer } from './crl-store.js';

/**
 * Compares every list in memory with the rows, page by page, a full pass each hour: what the ledger did not tell, a hand
 * at the table or a fault of ours, must not live until the next restart.
 */
export class CrlBookCheck {
  /** By CA: where its pass is, and when it began; `after` null between two passes. */
  readonly #passes = new Map<number, { after: Buffer | null; beganAtMs: number }>();

  /**
   * One page of one list, if any is due.
   *
   * @returns what differs: the list must be read anew, and a CRL made of it
   */
  async step(
    books: CrlBooks,
    issuers: readonly CrlIssuer[],
    nowMs: number,
  ): Promise<{ readonly issuer: CrlIssuer; readonly serials: readonly string[] } | undefined> {
    for (const issuer of issuers) {
      if (!books.has(issuer.id)) continue;
      const pass = this.#passes.get(issuer.id) ?? { after: null, beganAtMs: nowMs };
      this.#passes.set(issuer.id, pass);
      // A clock that was set back begins a new pass, too.
      if (pass.after === null && Math.abs(nowMs - pass.beganAtMs) < PASS_EVERY_MS) continue;
      if (pass.after === null) pass.beganAtMs = nowMs;
      const { differs, next } = await books.comparePage(issuer.id, pass.after ?? EMPTY);
      pass.after = differs.length === 0 ? next : null;
      return differs.length === 0 ? undefined : { issuer, serials: differs };
    }
    return undefined;
  }
}

const EMPTY = Buffer.alloc(0);
const PASS_EVERY_MS = 3_600_000;
