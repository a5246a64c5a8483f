/**
 * `femtopki audit verify`: is the ledger the one that was written, and did its heads leave the host? Needs no server and
 * no trust in one: entries, heads, anchors and the audit certificates are compared with each other.
 */
import type { NumberedEntry } from '../../platform/ledger/entry-hash.js';
import { AnchorChecker } from './anchor-checker.js';
import { ChainChecker } from './chain-checker.js';
import { type Finding, type FindingCode, Findings } from './findings.js';
import { AuditKeys, HeadChecker, type HeadContext } from './head-checker.js';
import type { LedgerDescription, LedgerSource, StoredAnchor, StoredHead } from './ledger-source.js';

export interface EpochReport {
  readonly epoch: number;
  readonly entries: number;
  readonly heads: number;
  /** Null: the source had no anchors to compare. */
  readonly anchors: number | null;
  /** First entry that was touched, by the chain alone. */
  readonly firstBadSeq: number | null;
  /** Entries after the last signed head: numbered, not yet vouched for by the token. */
  readonly unsigned: number;
  /** Entries after the last anchor: whoever owns the host can still cut them off unseen. */
  readonly unanchored: number | null;
  readonly lastHeadAt: string | null;
}

export interface AuditReport {
  readonly ok: boolean;
  /** 0 clean, 8 warnings, 9 critical. */
  readonly exitCode: 0 | 8 | 9;
  readonly source: string;
  readonly installation: string | null;
  readonly epochs: readonly EpochReport[];
  readonly unsequenced: number;
  readonly oldestUnsequencedAt: string | null;
  /** SHA-256 of the audit certificates used, hex: compare them with the ceremony's transcript. */
  readonly auditCertificates: readonly string[];
  readonly findings: readonly Finding[];
  /** How many of each, also of those not listed. */
  readonly counts: Partial<Record<FindingCode, number>>;
}

/** @param extraCertificates  PEM the auditor brought along; used instead of the source's own */
export async function verifyLedger(source: LedgerSource, extraCertificates?: readonly string[]): Promise<AuditReport> {
  const description = await source.describe();
  const keys = new AuditKeys(extraCertificates ?? description.auditCertificates);
  const findings = new Findings();
  if (!keys.known) findings.add('NO_CERTIFICATE', 'No audit certificate was given: heads and anchors prove nothing.');
  const epochs: EpochReport[] = [];
  for (const epoch of description.epochs) {
    const context = { epoch, installation: description.installation, keys, findings };
    epochs.push(await verifyEpoch(source, description, context));
  }
  if (epochs.some(({ anchors }) => anchors === null)) {
    findings.add(
      'NO_ANCHORS',
      'No anchors were given: a ledger that was rewritten together with its heads is not seen.',
      {
        severity: 'warning',
      },
    );
  }
  const exitCode = findings.critical > 0 ? 9 : findings.kept.length > 0 ? 8 : 0;
  return {
    ok: findings.critical === 0,
    exitCode,
    source: source.name,
    installation: description.installation,
    epochs,
    unsequenced: description.unsequenced,
    oldestUnsequencedAt: description.oldestUnsequencedAt?.toISOString() ?? null,
    auditCertificates: keys.fingerprints,
    findings: findings.kept,
    counts: Object.fromEntries(findings.counts),
  };
}

async function verifyEpoch(
  source: LedgerSource,
  description: LedgerDescription,
  context: HeadContext,
): Promise<EpochReport> {
  const { epoch, findings } = context;
  const chain = new ChainChecker(epoch, findings);
  const heads = new HeadChecker(context);
  const anchors = new AnchorChecker(context);
  const storedHeads = new Lookahead(source.heads(epoch));
  const anchorRows = source.anchors(epoch);
  const storedAnchors = anchorRows === null ? null : new Lookahead(anchorRows);

  // Heads and anchors of every size that the walk has reached; larger ones wait for `due`.
  let due = 0;
  const judgeUpTo = async (size: number): Promise<void> => {
    while (due <= size) {
      const head = await storedHeads.peek();
      const anchor = (await storedAnchors?.peek()) ?? null;
      const next = Math.min(head?.size ?? Infinity, anchor?.size ?? Infinity);
      due = next;
      if (next > size || next === Infinity) return;
      if (head?.size === next) {
        heads.take(head, chain);
        await storedHeads.drop();
      }
      if (anchor?.size === next) {
        anchors.take(anchor, chain, heads);
        await storedAnchors?.drop();
      } else if (head?.anchoredAt && storedAnchors) anchors.missing(head);
    }
  };

  const numbered = description.sizes.get(epoch) ?? null;
  for await (const entry of source.entries(epoch)) {
    if (numbered !== null && entry.seq > numbered) {
      findings.add(
        'ENTRY_BEYOND_END',
        `Entry ${entry.seq} (${entry.kind}) was added by hand: ${numbered} were numbered.`,
        {
          epoch,
          seq: entry.seq,
          seqTo: entry.seq,
        },
      );
      continue;
    }
    chain.take(entry);
    anchors.note(entry);
    if (due <= chain.size) await judgeUpTo(chain.size);
    noticeMissingHead(entry, heads, context);
  }
  await judgeUpTo(Infinity);
  reportCut({ chain, heads, anchors, numbered, context });
  return {
    epoch,
    entries: chain.size,
    heads: heads.count,
    anchors: storedAnchors === null ? null : anchors.count,
    firstBadSeq: chain.firstBadSeq,
    unsigned: Math.max(0, chain.size - heads.lastSize),
    unanchored: storedAnchors === null ? null : Math.max(0, chain.size - anchors.lastSize),
    lastHeadAt: heads.lastAt?.toISOString() ?? null,
  };
}

/** Each head leaves an entry: a head row that was removed is named by it. */
function noticeMissingHead(entry: NumberedEntry, heads: HeadChecker, { epoch, findings }: HeadContext): void {
  if (entry.kind !== 'head.signed') return;
  const size = /"size":(\d{1,15})/.exec(entry.body)?.[1];
  if (size === undefined || heads.has(Number(size))) return;
  findings.add('HEAD_MISSING', `Entry ${entry.seq} says that a head of size ${size} was signed; it is not here.`, {
    epoch,
    seq: entry.seq,
    seqTo: entry.seq,
  });
}

function reportCut(by: {
  chain: ChainChecker;
  heads: HeadChecker;
  anchors: AnchorChecker;
  numbered: number | null;
  context: HeadContext;
}): void {
  const { chain, heads, anchors, numbered, context } = by;
  const witnesses: [string, number][] = [
    ['the sequencer numbered', numbered ?? 0],
    ['a signed head covers', heads.lastSize],
    ['an anchor shows', anchors.lastSize],
  ];
  const [who, size] = witnesses.reduce((most, one) => (one[1] > most[1] ? one : most));
  if (size <= chain.size) return;
  context.findings.add('LEDGER_CUT', `Entries ${chain.size + 1} to ${size} are gone: ${who} ${size}.`, {
    epoch: context.epoch,
    seq: chain.size + 1,
    seqTo: size,
  });
}

/** One row ahead in an ordered stream. */
class Lookahead<T extends StoredHead | StoredAnchor> {
  readonly #rows: AsyncIterator<T>;
  #next: Promise<IteratorResult<T>> | null = null;

  constructor(rows: AsyncIterable<T>) {
    this.#rows = rows[Symbol.asyncIterator]();
  }

  async peek(): Promise<T | null> {
    this.#next ??= this.#rows.next();
    const { value, done } = await this.#next;
    return done ? null : value;
  }

  async drop(): Promise<void> {
    await this.peek();
    this.#next = null;
  }
}
