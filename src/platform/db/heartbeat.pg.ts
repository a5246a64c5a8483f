import type { Transaction } from './transaction.js';

/**
 * The primary's pulse: one row, once a second. A reader of a replica that holds a newer pulse than some instant has
 * every commit up to that instant (rules 6.1, 6.2).
 *
 * @returns how long ago the pulse before was; a long time is an outage of ours
 */
export async function beatHeart(tx: Transaction): Promise<{ readonly missedMs: number }> {
  const { rows } = await tx.query<{ missedMs: number | null }>(
    `WITH before AS (SELECT at FROM heartbeat WHERE id = 1)
     INSERT INTO heartbeat AS h (id, epoch, at)
     VALUES (1, coalesce((SELECT epoch FROM installation), 1), clock_timestamp())
     ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch, at = greatest(h.at, excluded.at)
     RETURNING (extract(epoch FROM h.at - (SELECT at FROM before)) * 1000)::float8 AS "missedMs"`,
  );
  return { missedMs: rows[0]?.missedMs ?? 0 };
}

/** Null before the first pulse. */
export async function readHeart(tx: Transaction): Promise<{ epoch: number; at: Date; ageMs: number } | null> {
  const { rows } = await tx.query<{ epoch: number; at: Date; ageMs: number }>(
    `SELECT epoch, at, (extract(epoch FROM clock_timestamp() - at) * 1000)::float8 AS "ageMs" FROM heartbeat`,
  );
  return rows[0] ?? null;
}
