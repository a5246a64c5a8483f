import {
  OPENINGS_A_MINUTE,
  type StoredTransaction,
  type TransactionStore,
} from '../../../src/protocol/cmp/transaction-store.js';

export interface MemoryStore extends TransactionStore {
  /** Forgets everything but these. */
  reset(transactions: readonly StoredTransaction[]): void;
}

/** Transactions of one process and one message: what the contract of the real store says, without time-outs. */
export function memoryStore(): MemoryStore {
  const rows = new Map<string, StoredTransaction>();
  const nameOf = (key: { transactionId: Buffer; protectionKey: Buffer }): string =>
    `${key.transactionId.toString('hex')} ${key.protectionKey.toString('hex')}`;
  const change = (
    key: { transactionId: Buffer; protectionKey: Buffer },
    fits: (row: StoredTransaction) => boolean,
    changed: Partial<StoredTransaction>,
  ): StoredTransaction | null => {
    const row = rows.get(nameOf(key));
    if (row === undefined || !fits(row)) return null;
    const next = { ...row, ...changed };
    rows.set(nameOf(key), next);
    return next;
  };
  return {
    reset: (transactions) => {
      rows.clear();
      for (const row of transactions) rows.set(nameOf(row), row);
    },
    open: async (_, { transactionId, protectionKey, bodyKind, hash, at }) => {
      const key = nameOf({ transactionId, protectionKey });
      if (rows.has(key)) return 'known';
      if (rows.size >= OPENINGS_A_MINUTE) return 'too many';
      rows.set(key, {
        ...{ transactionId, protectionKey, bodyKind, state: 'open', firstHash: hash, lastHash: hash, claimedAt: at },
        ...{ response: null, request: null, ourNonce: null, ourNonceAt: null, certificate: null },
      });
      return 'opened';
    },
    find: async (_, key) => rows.get(nameOf(key)) ?? null,
    openedWith: async () => [],
    vendorCertificates: async () => [],
    takeOver: async (_, { seenClaimedAt, at, ...key }) =>
      change(key, (row) => row.response === null && row.claimedAt === seenClaimedAt, { claimedAt: at }) !== null,
    claimPoll: async (_, { hash, recipNonce, at, ...key }) =>
      change(key, (row) => row.state === 'waiting' && row.ourNonce?.equals(recipNonce) === true, {
        lastHash: hash,
        response: null,
        claimedAt: at,
      }),
    answer: async (_, { hash, claimedAt, at, ...answered }) =>
      change(answered, (row) => row.lastHash.equals(hash) && row.claimedAt === claimedAt && row.response === null, {
        ...answered,
        ourNonceAt: at,
      }) !== null,
    close: async (_, { hash, recipNonce, response, ourNonce, at, ...key }) =>
      change(key, (row) => row.state === 'unconfirmed' && row.ourNonce?.equals(recipNonce) === true, {
        ...{ state: 'closed', lastHash: hash, response, ourNonce, ourNonceAt: at },
      }) !== null,
    forgetAnswers: async (_, { until }) => until,
    removeBefore: async () => 0,
  };
}
