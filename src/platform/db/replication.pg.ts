import type { Transaction } from './transaction.js';

/**
 * A position in the primary's log. Asked for after a commit, it lies at or past that commit: the insert position, because
 * a commit that does not wait for the disk is told of before it is written.
 */
export async function primaryPosition(primary: Transaction): Promise<string> {
  const { rows } = await primary.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn');
  const [row] = rows;
  if (!row) throw new Error('the position query returned no row');
  return row.lsn;
}

/** True when every statement from now on sees what the primary had committed at `position`; false where nothing is replayed. */
export async function hasReplayed(standby: Transaction, position: string): Promise<boolean> {
  const { rows } = await standby.query<{ reached: boolean | null }>(
    'SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn AS reached',
    [position],
  );
  return rows[0]?.reached === true;
}
