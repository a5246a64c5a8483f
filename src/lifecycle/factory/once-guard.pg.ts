import type { OnceGuard } from './factory-deps.js';

export const onceGuard: OnceGuard = {
  spendOnce: async (tx, hash, expiresAt) => {
    const { rowCount } = await tx.query(
      'INSERT INTO nonce_spent (nonce_hash, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING',
      [hash, expiresAt],
    );
    return rowCount === 1;
  },
};
