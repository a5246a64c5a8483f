import type { Transaction } from '../db/transaction.js';
import { FemtoError } from '../errors.js';
import type { LedgerCursors, LedgerPage, LedgerPosition } from './cursors.js';
import type { NumberedEntry } from './entry-hash.js';
import { currentEpoch } from './sequencer.pg.js';

export const cursors: LedgerCursors = { readAfter, readFrom, advance, end, backlogAgeMs };

async function end(tx: Transaction): Promise<LedgerPosition> {
  const epoch = await currentEpoch(tx);
  const { rows } = await tx.query<{ size: number }>('SELECT size FROM ledger_frontier WHERE epoch = $1', [epoch]);
  return { epoch, seq: rows[0]?.size ?? 0 };
}

async function readAfter(tx: Transaction, position: LedgerPosition, limit: number): Promise<LedgerPage> {
  const to = await end(tx);
  if (position.epoch !== to.epoch) return { kind: 'resync', reason: 'unknown-epoch', to };
  if (position.seq > to.seq) return { kind: 'resync', reason: 'beyond-end', to };
  const entries = await readEntries(tx, position, limit);
  for (const [index, entry] of entries.entries()) {
    if (entry.seq !== position.seq + 1 + index) return { kind: 'resync', reason: 'gap', to };
  }
  // An end that was read before the rows: rows that should be there and are not are a gap too.
  if (entries.length === 0 && position.seq < to.seq) return { kind: 'resync', reason: 'gap', to };
  const last = entries.at(-1);
  return { kind: 'entries', entries, position: last ? { epoch: last.epoch, seq: last.seq } : position };
}

/** Numbered entries after a position within its epoch, oldest first. */
export async function readEntries(tx: Transaction, after: LedgerPosition, limit: number): Promise<NumberedEntry[]> {
  const { rows } = await tx.query<NumberedEntry>(
    `SELECT epoch, seq, kind, subject, (extract(epoch FROM at) * 1000000)::bigint AS "atMicros", body,
            prev_hash AS "prevHash", hash
     FROM ledger WHERE epoch = $1 AND seq > $2 ORDER BY seq LIMIT $3`,
    [after.epoch, after.seq, limit],
  );
  return rows;
}

async function readFrom(tx: Transaction, name: string, limit: number): Promise<LedgerPage> {
  await tx.query(`INSERT INTO ledger_cursor (name, epoch, seq) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING`, [
    name,
    await currentEpoch(tx),
  ]);
  const { rows } = await tx.query<LedgerPosition>('SELECT epoch, seq FROM ledger_cursor WHERE name = $1 FOR UPDATE', [
    name,
  ]);
  const position = rows[0];
  if (!position) throw new FemtoError('INTERNAL', `The ledger cursor "${name}" was removed while it was read.`);
  return readAfter(tx, position, limit);
}

async function advance(tx: Transaction, name: string, to: LedgerPosition): Promise<void> {
  const { rowCount } = await tx.query(
    `UPDATE ledger_cursor SET epoch = $2, seq = $3 WHERE name = $1 AND (epoch <> $2 OR seq <= $3)`,
    [name, to.epoch, to.seq],
  );
  if (rowCount === 1) return;
  throw new FemtoError('STATE_CONFLICT', `The ledger cursor "${name}" cannot go back to ${to.epoch}:${to.seq}.`);
}

async function backlogAgeMs(tx: Transaction): Promise<number> {
  const { rows } = await tx.query<{ age: number }>(
    `SELECT greatest(0, extract(epoch FROM clock_timestamp() - at) * 1000)::float8 AS age
     FROM ledger_inbox ORDER BY id LIMIT 1`,
  );
  return rows[0]?.age ?? 0;
}
