import { FemtoError } from '../errors.js';
import type { Lease, Leases } from './lease.js';
import type { Transaction, Transactor } from './transaction.js';

/** @param transactor any pool of the process; each call is one short statement */
export function makeLeases(transactor: Transactor): Leases {
  return {
    acquire: (name, holder, ttlMs) => acquire(transactor.read, { name, holder, ttlMs }),
    renew: (lease, ttlMs) => renew(transactor.read, lease, ttlMs),
    release: (lease) => release(transactor.read, lease),
    check,
  };
}

// clock_timestamp(), not now(): a statement that waited for a row lock must judge by the time it got the lock.
async function acquire(
  tx: Transaction,
  { name, holder, ttlMs }: { name: string; holder: string; ttlMs: number },
): Promise<Lease | null> {
  const { rows } = await tx.query<{ fence: number }>(
    `INSERT INTO lease (name, holder, fence, expires_at)
     VALUES ($1, $2, 1, clock_timestamp() + $3 * interval '1 millisecond')
     ON CONFLICT (name) DO UPDATE
       SET fence = CASE WHEN lease.holder = $2 AND lease.expires_at > clock_timestamp() THEN lease.fence ELSE lease.fence + 1 END,
           holder = $2,
           expires_at = clock_timestamp() + $3 * interval '1 millisecond'
       WHERE lease.expires_at <= clock_timestamp() OR lease.holder = $2
     RETURNING fence`,
    [name, holder, ttlMs],
  );
  return rows[0] ? { name, holder, fence: rows[0].fence } : null;
}

async function renew(tx: Transaction, lease: Lease, ttlMs: number): Promise<boolean> {
  const { rowCount } = await tx.query(
    `UPDATE lease SET expires_at = clock_timestamp() + $4 * interval '1 millisecond'
     WHERE name = $1 AND holder = $2 AND fence = $3 AND expires_at > clock_timestamp()`,
    [lease.name, lease.holder, lease.fence, ttlMs],
  );
  return rowCount === 1;
}

async function release(tx: Transaction, lease: Lease): Promise<void> {
  await tx.query(`UPDATE lease SET expires_at = clock_timestamp() WHERE name = $1 AND holder = $2 AND fence = $3`, [
    lease.name,
    lease.holder,
    lease.fence,
  ]);
}

// FOR SHARE blocks a takeover (an UPDATE of this row) until the caller's transaction ends: check and write are one.
async function check(tx: Transaction, lease: Lease): Promise<void> {
  const { rowCount } = await tx.query(
    `SELECT 1 FROM lease WHERE name = $1 AND holder = $2 AND fence = $3 AND expires_at > clock_timestamp() FOR SHARE`,
    [lease.name, lease.holder, lease.fence],
  );
  if (rowCount === 1) return;
  throw new FemtoError('STATE_CONFLICT', `The lease "${lease.name}" was lost; another process carries on.`, {
    facts: { lease: lease.name, fence: lease.fence },
  });
}
