import type { Transaction } from '../../platform/db/transaction.js';

/** What one credential did with one operation under one idempotency key (rules 8.2). */
export interface IdempotencyScope {
  /** SHA-256 of the presented certificate's SPKI. */
  readonly credential: Buffer;
  readonly operation: string;
  readonly key: string;
}

/** The counters, spent nonces and idempotency keys that every server shares through PostgreSQL. */
export interface RequestGuard {
  /** Counts one request; returns how many this minute holds. */
  countRequest(tx: Transaction, request: { scope: string; credential: Buffer; at: Date }): Promise<number>;
  /** False when it was spent before. */
  spendNonce(tx: Transaction, nonce: { hash: Buffer; expiresAt: Date }): Promise<boolean>;
  /** Hash of the request that used the key; null when none did. */
  requestUnderKey(tx: Transaction, scope: IdempotencyScope): Promise<Buffer | null>;
  /**
   * `claimed`: first use. `same`: used by the same request. `other`: used by another one. Waits for a concurrent
   * transaction that is claiming the same key.
   */
  claimKey(
    tx: Transaction,
    claim: IdempotencyScope & { requestHash: Buffer; attemptId: string | null; at: Date },
  ): Promise<'claimed' | 'same' | 'other'>;
}
