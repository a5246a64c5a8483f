import type { Transaction } from '../../platform/db/transaction.js';
import type { LedgerPosition } from '../../platform/ledger/cursors.js';
import { type FeedEntry, type FeedEvent, type FeedPage, positionText } from './feed.js';
import type { FeedRow, FeedStore } from './feed-store.js';

/** Ledger rows that one page looks through: an index scan of some milliseconds, however quiet the feed has been. */
const WINDOW_ROWS = 20_000;
/** Of entries as JSON. Signed and in base64url a page stays below 256 KiB. */
const ENTRIES_BYTES_MAX = 184_320;

export interface FeedReading {
  readonly store: FeedStore;
  readonly end: (tx: Transaction) => Promise<LedgerPosition>;
}

/**
 * The next page after a position that the reader keeps itself.
 *
 * Only numbered rows are read: a transaction that commits late gets its number late, so it is never behind a reader.
 * Every row between `from` and `to` is counted, so that a missing one is a resync and not a revocation nobody heard of.
 */
export async function readFeed(
  { store, end: readEnd }: FeedReading,
  tx: Transaction,
  from: LedgerPosition,
  limit: number,
): Promise<FeedPage> {
  const end = await readEnd(tx);
  const resync = async (reason: Extract<FeedPage, { kind: 'resync' }>['reason']): Promise<FeedPage> => {
    const to = await store.coveredByCrls(tx, end);
    return { kind: 'resync', reason, from, to, crls: await store.crls(tx) };
  };
  if (from.epoch !== end.epoch) return resync('unknown-epoch');
  if (from.seq > end.seq) return resync('beyond-end');
  const windowEnd = Math.min(end.seq, from.seq + WINDOW_ROWS);
  const rows = await store.entries(tx, from, windowEnd, limit);
  const read = await readRows(store, tx, rows);
  if (read === null) return resync('unreadable');
  const entries = withinBytes(read);
  // Where the page was cut, whatever follows its last entry has not been looked at.
  const isCut = entries.length < read.length || rows.length === limit;
  const toSeq = isCut ? (rows[entries.length - 1]?.seq ?? from.seq) : windowEnd;
  if ((await store.countNumbered(tx, from, toSeq)) !== toSeq - from.seq) return resync('gap');
  return { kind: 'entries', from, to: { epoch: from.epoch, seq: toSeq }, end, entries };
}

/** Null where a row names no certificate that can be told: it could mean any of them. */
export async function readRows(
  store: FeedStore,
  tx: Transaction,
  rows: readonly FeedRow[],
): Promise<FeedEntry[] | null> {
  const facts = rows.map(({ body }) => JSON.parse(body) as Readonly<Record<string, unknown>>);
  const issuers = await store.issuerKeys(tx, numbers(facts.map(({ issuerId }) => issuerId)));
  const units = await store.unitNames(tx, numbers(facts.map(({ unitId }) => unitId)));
  const entries: FeedEntry[] = [];
  for (const [index, row] of rows.entries()) {
    const { issuerId, serial, unitId, reason } = facts[index] ?? {};
    const issuer = issuers.get(Number(issuerId));
    if (issuer === undefined || typeof serial !== 'string') return null;
    entries.push({
      position: positionText(row),
      event: row.kind.slice('certificate.'.length) as FeedEvent,
      issuer,
      serial,
      unit: units.get(Number(unitId)) ?? null,
      reason: String(reason),
      at: row.at.toISOString(),
    });
  }
  return entries;
}

/** Never less than one entry, or a reader would stand still. */
function withinBytes(entries: readonly FeedEntry[]): FeedEntry[] {
  let bytes = 0;
  const over = entries.findIndex((entry, index) => {
    bytes += Buffer.byteLength(JSON.stringify(entry)) + 1;
    return index > 0 && bytes > ENTRIES_BYTES_MAX;
  });
  return entries.slice(0, over === -1 ? entries.length : over);
}

function numbers(values: readonly unknown[]): number[] {
  return [...new Set(values.filter((value) => typeof value === 'number'))];
}
