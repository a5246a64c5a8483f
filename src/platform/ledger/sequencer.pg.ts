import { byteaArray, int8Array } from '../db/binary-array.js';
import type { Lease, Leases } from '../db/lease.js';
import type { Transaction, Transactor } from '../db/transaction.js';
import { FemtoError } from '../errors.js';
import { type ChainState, emptyChain, extendChain, packFrontier, unpackFrontier } from './entry-hash.js';
import { LEDGER_CHANNEL, SEQUENCE_ENTRIES_MAX, type SequencedBatch, type Sequencer } from './sequencer.js';

export function makeSequencer(deps: { transactor: Transactor; leases: Leases }): Sequencer {
  return { sequenceOnce: (lease) => deps.transactor.run((tx) => sequence(tx, deps.leases, lease)) };
}

interface InboxRow {
  readonly id: number;
  readonly kind: string;
  readonly subject: string;
  readonly at_micros: number;
  readonly body: string;
}

async function sequence(tx: Transaction, leases: Leases, lease: Lease): Promise<SequencedBatch> {
  await leases.check(tx, lease);
  // READ COMMITTED sees committed rows only; ids give the order among them and are never used as a position.
  const { rows } = await tx.query<InboxRow>(
    `SELECT id, kind, subject, (extract(epoch FROM at) * 1000000)::bigint AS at_micros, body
     FROM ledger_inbox ORDER BY id LIMIT $1`,
    [SEQUENCE_ENTRIES_MAX],
  );
  const before = await readChain(tx, lease.fence);
  if (rows.length === 0) return { taken: 0, epoch: before.epoch, size: before.size };
  const contents = rows.map(({ kind, subject, at_micros, body }) => ({ kind, subject, atMicros: at_micros, body }));
  const { state, entries } = extendChain(before, contents);
  const ids = rows.map(({ id }) => id);
  // Moved inside the database: the texts that were hashed are the ones that stay, in the same snapshot rules.
  const copied = await tx.query(
    `WITH n AS (SELECT * FROM unnest($2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[]) AS n(id, seq, prev_hash, hash)),
       taken AS (DELETE FROM ledger_inbox i USING n WHERE i.id = n.id
         RETURNING n.seq, i.kind, i.subject, i.at, i.body, n.prev_hash, n.hash)
     INSERT INTO ledger (epoch, seq, kind, subject, at, body, prev_hash, hash)
     SELECT $1, seq, kind, subject, at, body, prev_hash, hash FROM taken ORDER BY seq`,
    [
      state.epoch,
      int8Array(ids),
      int8Array(entries.map(({ seq }) => seq)),
      byteaArray(entries.map(({ prevHash }) => prevHash)),
      byteaArray(entries.map(({ hash }) => hash)),
    ],
  );
  const moved = await tx.query(
    `UPDATE ledger_frontier SET size = $2, fence = $3, frontier = $4 WHERE epoch = $1 AND size = $5 AND fence <= $3`,
    [state.epoch, state.size, lease.fence, packFrontier(state.frontier), before.size],
  );
  if (copied.rowCount !== rows.length || moved.rowCount !== 1) {
    throw new FemtoError('STATE_CONFLICT', 'The ledger moved under the sequencer; another process numbers entries.');
  }
  await tx.query('SELECT pg_notify($1, $2)', [LEDGER_CHANNEL, `${state.epoch}:${state.size}`]);
  return { taken: rows.length, epoch: state.epoch, size: state.size };
}

async function readChain(tx: Transaction, fence: number): Promise<ChainState> {
  const epoch = await currentEpoch(tx);
  await tx.query(
    `INSERT INTO ledger_frontier (epoch, size, fence, frontier) VALUES ($1, 0, $2, '') ON CONFLICT DO NOTHING`,
    [epoch, fence],
  );
  const { rows } = await tx.query<{ size: number; frontier: Buffer; last_hash: Buffer | null; beyond: boolean }>(
    `SELECT f.size, f.frontier,
            (SELECT hash FROM ledger l WHERE l.epoch = f.epoch AND l.seq = f.size) AS last_hash,
            EXISTS (SELECT 1 FROM ledger l WHERE l.epoch = f.epoch AND l.seq > f.size) AS beyond
     FROM ledger_frontier f WHERE f.epoch = $1 FOR UPDATE`,
    [epoch],
  );
  const row = rows[0];
  if (!row) throw new FemtoError('INTERNAL', 'The ledger has no frontier; restore the database.');
  if (row.beyond || (row.size > 0 && !row.last_hash)) {
    throw new FemtoError(
      'INTERNAL',
      `Entry ${row.size} of ledger epoch ${epoch} is not the last one: rows were removed or added by hand. Run femtopki audit verify.`,
      { facts: { epoch, size: row.size } },
    );
  }
  if (!row.last_hash) return emptyChain(epoch);
  return { epoch, size: row.size, lastHash: row.last_hash, frontier: unpackFrontier(row.frontier) };
}

/** The installation's recovery epoch; 1 before the installation has its row. */
export async function currentEpoch(tx: Transaction): Promise<number> {
  const { rows } = await tx.query<{ epoch: number }>('SELECT epoch FROM installation');
  return rows[0]?.epoch ?? 1;
}
