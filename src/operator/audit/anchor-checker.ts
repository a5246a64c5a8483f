import { createHash } from 'node:crypto';
import { type Anchor, anchorSchema } from '../../platform/ledger/anchor.js';
import type { NumberedEntry } from '../../platform/ledger/entry-hash.js';
import { ANCHORED_KINDS } from '../../platform/ledger/heads.js';
import type { ChainChecker } from './chain-checker.js';
import type { HeadChecker, HeadContext } from './head-checker.js';
import type { StoredAnchor, StoredHead } from './ledger-source.js';

/** Judges what left the host against what is here. */
export class AnchorChecker {
  lastSize = 0;
  count = 0;
  /** Issues and revocations since the last anchor: number and digest. */
  #delta = new Map<number, string>();
  #deltaAfter = 0;
  #contradictions = 0;

  constructor(private readonly context: HeadContext) {}

  note(entry: NumberedEntry): void {
    if (ANCHORED_KINDS.includes(entry.kind)) this.#delta.set(entry.seq, digest(entry.kind, entry.subject, entry.body));
  }

  /** Sizes come in rising order, each after the stored head of that size was taken. */
  take(stored: StoredAnchor, chain: ChainChecker, heads: HeadChecker): void {
    const { epoch, findings, installation, keys } = this.context;
    this.count += 1;
    const place = { epoch, seq: Math.min(heads.lastProvedSize, this.lastSize) + 1, seqTo: stored.size };
    const anchor = parseAnchor(stored.text);
    const head = anchor ? keys.verified(anchor.headText, Buffer.from(anchor.signature, 'base64')) : 'it is no anchor';
    if (!anchor || typeof head === 'string') {
      findings.add('ANCHOR_FORGED', `The anchor ${stored.fileName} is forged or damaged: ${head}.`, place);
      return;
    }
    if (
      head.epoch !== epoch ||
      head.size !== stored.size ||
      (installation !== null && head.installation !== installation)
    ) {
      findings.add('ANCHOR_FORGED', `The anchor ${stored.fileName} holds the head of another ledger or size.`, place);
      return;
    }
    this.lastSize = stored.size;
    if (!heads.has(stored.size)) {
      findings.add(
        'HEAD_MISSING',
        `The anchor ${stored.fileName} shows a head of size ${stored.size} that is not here any more.`,
        place,
      );
    }
    this.#compare(anchor, { stored, rootHex: head.rootHex, chain, place });
    this.#delta.clear();
    this.#deltaAfter = stored.size;
  }

  #compare(
    anchor: Anchor,
    by: {
      stored: StoredAnchor;
      rootHex: string;
      chain: ChainChecker;
      place: { epoch: number; seq: number; seqTo: number };
    },
  ): void {
    const { stored, rootHex, chain, place } = by;
    if (chain.size === stored.size && chain.root !== null && chain.root.toString('hex') !== rootHex) {
      this.#contradictions += 1;
      if (this.#contradictions === 1) {
        this.context.findings.add(
          'ANCHOR_CONTRADICTS',
          `The anchor ${stored.fileName} left the host with other entries up to ${stored.size} than are here.`,
          place,
        );
      }
    }
    if (chain.size < stored.size) return; // the end is gone; reported there
    for (const entry of anchor.delta.entries) {
      if (entry.seq <= this.#deltaAfter) continue;
      const here = this.#delta.get(entry.seq);
      this.#delta.delete(entry.seq);
      if (here === digest(entry.kind, entry.subject, entry.body)) continue;
      this.context.findings.add(
        'ANCHOR_CONTRADICTS',
        `Entry ${entry.seq} (${entry.kind}, ${entry.subject}) left the host with ${stored.fileName} and is ${here === undefined ? 'missing' : 'different'} here.`,
        { epoch: place.epoch, seq: entry.seq, seqTo: entry.seq },
      );
    }
    for (const seq of this.#delta.keys()) {
      if (seq <= anchor.delta.after) continue; // an anchor between is missing; reported as such
      this.context.findings.add(
        'ANCHOR_CONTRADICTS',
        `Entry ${seq} is here but did not leave the host with ${stored.fileName}.`,
        {
          epoch: place.epoch,
          seq,
          seqTo: seq,
        },
      );
    }
  }

  /** A head that says it left the host, and no anchor of its size. */
  missing(head: StoredHead): void {
    this.context.findings.add(
      'ANCHOR_MISSING',
      `The head of size ${head.size} left the host, but its anchor is not among those given.`,
      {
        epoch: head.epoch,
        seq: this.lastSize + 1,
        seqTo: head.size,
      },
    );
  }
}

function parseAnchor(text: string): Anchor | null {
  try {
    const parsed = anchorSchema.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : null;
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return null;
    throw thrown;
  }
}

function digest(kind: string, subject: string, body: string): string {
  return createHash('sha256')
    .update(JSON.stringify([kind, subject, body]))
    .digest('base64');
}
