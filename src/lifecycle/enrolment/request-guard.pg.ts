import type { Transaction } from '../../platform/db/transaction.js';
import type { IdempotencyScope, RequestGuard } from './request-guard.js';

const MINUTE_MS = 60_000;

export const pgRequestGuard: RequestGuard = {
  countRequest: async (tx, { scope, credential, at }) => {
    const minute = new Date(Math.floor(at.getTime() / MINUTE_MS) * MINUTE_MS);
    const { rows } = await tx.query<{ count: number }>(
      `INSERT INTO request_rate (scope, credential, minute, count) VALUES ($1, $2, $3, 1)
       ON CONFLICT (minute, scope, credential) DO UPDATE SET count = request_rate.count + 1 RETURNING count`,
      [scope, credential, minute],
    );
    return rows[0]?.count ?? 1;
  },

  spendNonce: async (tx, { hash, expiresAt }) => {
    const { rowCount } = await tx.query(
      'INSERT INTO nonce_spent (nonce_hash, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING',
      [hash, expiresAt],
    );
    return rowCount === 1;
  },

  requestUnderKey,

  claimKey: async (tx, { credential, operation, key, requestHash, attemptId, at }) => {
    const { rowCount } = await tx.query(
      `INSERT INTO idempotency (credential, operation, key, request_hash, attempt_id, created_at)
       VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
      [credential, operation, key, requestHash, attemptId, at],
    );
    if (rowCount === 1) return 'claimed';
    const known = await requestUnderKey(tx, { credential, operation, key });
    return known?.equals(requestHash) === true ? 'same' : 'other';
  },
};

async function requestUnderKey(tx: Transaction, scope: IdempotencyScope): Promise<Buffer | null> {
  const { rows } = await tx.query<{ request_hash: Buffer }>(
    'SELECT request_hash FROM idempotency WHERE credential = $1 AND operation = $2 AND key = $3',
    [scope.credential, scope.operation, scope.key],
  );
  return rows[0]?.request_hash ?? null;
}
