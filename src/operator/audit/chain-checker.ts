import { entryHash, entryLeaf, genesisHash, type NumberedEntry } from '../../platform/ledger/entry-hash.js';
import { MerkleFrontier } from '../../platform/ledger/merkle.js';
import type { Findings } from './findings.js';

/**
 * Walks the entries of an epoch and says which one was touched. A changed row keeps its place in the tree by its stored
 * hash, and one missing row by the link of its successor: so that the heads beyond can still be judged.
 */
export class ChainChecker {
  #next = 1;
  #lastHash: Buffer | null;
  #tree: MerkleFrontier | null = new MerkleFrontier();
  #lastWasBad = false;
  firstBadSeq: number | null = null;

  constructor(
    private readonly epoch: number,
    private readonly findings: Findings,
  ) {
    this.#lastHash = genesisHash(epoch);
  }

  /** Entries walked, counting those that are known to be missing. */
  get size(): number {
    return this.#next - 1;
  }

  /** Null after a gap: nothing can be compared with a root any more. */
  get root(): Buffer | null {
    return this.#tree?.root() ?? null;
  }

  get chainHash(): Buffer | null {
    return this.#lastHash;
  }

  take(entry: NumberedEntry): void {
    if (entry.seq < this.#next) {
      this.#bad('ENTRY_OUT_OF_ORDER', entry.seq, `Entry ${entry.seq} (${entry.kind}) was inserted.`);
      return;
    }
    if (entry.seq > this.#next) this.#skipMissing(entry);
    const changed = !entryHash(entry).equals(entry.hash);
    const linked = this.#lastHash === null || entry.prevHash.equals(this.#lastHash);
    if (changed) {
      this.#bad(
        'ENTRY_CHANGED',
        entry.seq,
        `Entry ${entry.seq} (${entry.kind}) is not what was hashed when it was numbered.`,
      );
    } else if (!linked && !this.#lastWasBad) {
      // This entry proves itself, so its link is the old one: its predecessor was replaced, hash and all.
      const seq = Math.max(1, entry.seq - 1);
      this.#bad(
        'ENTRY_REWRITTEN',
        seq,
        `Entry ${seq} was replaced: entry ${entry.seq} still names the old one's hash.`,
      );
    }
    this.#lastWasBad = changed;
    this.#tree?.append(entryLeaf(entry.hash));
    this.#lastHash = entry.hash;
    this.#next = entry.seq + 1;
  }

  #skipMissing(entry: NumberedEntry): void {
    const from = this.#next;
    const to = entry.seq - 1;
    const which = from === to ? `Entry ${from} is` : `Entries ${from} to ${to} are`;
    this.#bad('ENTRY_MISSING', from, `${which} missing.`, to);
    if (from === to) this.#tree?.append(entryLeaf(entry.prevHash));
    else this.#tree = null;
    this.#lastHash = entry.prevHash;
    this.#next = entry.seq;
  }

  #bad(
    code: 'ENTRY_CHANGED' | 'ENTRY_REWRITTEN' | 'ENTRY_MISSING' | 'ENTRY_OUT_OF_ORDER',
    seq: number,
    message: string,
    seqTo = seq,
  ): void {
    this.findings.add(code, message, { epoch: this.epoch, seq, seqTo });
    if (this.firstBadSeq === null || seq < this.firstBadSeq) this.firstBadSeq = seq;
  }
}
