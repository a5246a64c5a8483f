import { byteaArray } from '../../platform/db/bytea-array.js';
import {
  CLAIM_STALE_MS,
  OPENINGS_A_MINUTE,
  type StoredTransaction,
  type TransactionStore,
} from './transaction-store.js';

interface TransactionRow {
  transaction_id: Buffer;
  protection_key: Buffer;
  body_kind: string;
  state: StoredTransaction['state'];
  first_hash: Buffer;
  last_hash: Buffer;
  response: Buffer | null;
  request: Buffer | null;
  our_nonce: Buffer | null;
  our_nonce_at: Date | null;
  issuer_id: number | null;
  serial: Buffer | null;
  not_after: Date | null;
  claimed_at: Date;
}

const COLUMNS = `transaction_id, protection_key, body_kind, state, first_hash, last_hash, response, request,
  our_nonce, our_nonce_at, issuer_id, serial, not_after, claimed_at`;

/** One round trip on the way of every renewal: the limit is counted, and the row is made inside it. */
const OPEN = `
  WITH rate AS (
    INSERT INTO request_rate (scope, credential, minute, count)
    SELECT 'cmp', $2::bytea, date_trunc('minute', $8::timestamptz), 1
    WHERE NOT EXISTS (SELECT 1 FROM cmp_transaction WHERE transaction_id = $1 AND protection_key = $2)
    ON CONFLICT (minute, scope, credential) DO UPDATE SET count = request_rate.count + 1 RETURNING count
  ), opened AS (
    INSERT INTO cmp_transaction (transaction_id, protection_key, body_kind, state, first_hash, last_hash,
      protection_certificate, sender_kid, vendor_chain, claimed_at, created_at)
    SELECT $1::bytea, $2::bytea, $3::text, 'open', $4::bytea, $4, $5::bytea, $6::bytea, $7::bytea[], $8, $8
    FROM rate WHERE count <= $9
    ON CONFLICT (transaction_id, protection_key) DO NOTHING RETURNING 1
  )
  SELECT (SELECT count FROM rate) AS count, EXISTS (SELECT 1 FROM opened) AS opened`;

const CERTIFICATES_MAX = 8;
const ROWS_A_RUN = 5_000;

export const pgTransactionStore: TransactionStore = {
  open: async (tx, { transactionId, protectionKey, bodyKind, hash, certificate, at }) => {
    const { rows } = await tx.query<{ count: number | null; opened: boolean }>(OPEN, [
      transactionId,
      protectionKey,
      bodyKind,
      hash,
      certificate?.der ?? null,
      certificate?.keyIdentifier ?? null,
      byteaArray(certificate?.vendorChain ?? []),
      at,
      OPENINGS_A_MINUTE,
    ]);
    const { count = null, opened = false } = rows[0] ?? {};
    if (opened) return 'opened';
    return count !== null && count > OPENINGS_A_MINUTE ? 'too many' : 'known';
  },
  find: async (tx, { transactionId, protectionKey }) => {
    const { rows } = await tx.query<TransactionRow>(
      `SELECT ${COLUMNS} FROM cmp_transaction WHERE transaction_id = $1 AND protection_key = $2`,
      [transactionId, protectionKey],
    );
    return rows[0] === undefined ? null : toTransaction(rows[0]);
  },
  openedWith: async (tx, { transactionId, keyIdentifier }) => {
    const { rows } = await tx.query<{ der: Buffer; vendor_chain: Buffer[] }>(
      `SELECT protection_certificate AS der, vendor_chain FROM cmp_transaction
       WHERE transaction_id = $1 AND sender_kid IS NOT DISTINCT FROM $2 AND protection_certificate IS NOT NULL
       ORDER BY created_at LIMIT $3`,
      [transactionId, keyIdentifier, CERTIFICATES_MAX],
    );
    return rows.map(({ der, vendor_chain: [, ...others] }) => ({ der, others }));
  },
  vendorCertificates: async (tx, keyIdentifier) => {
    const { rows } = await tx.query<{ vendor_chain: Buffer[] }>(
      `SELECT vendor_chain FROM cmp_transaction WHERE sender_kid = $1 AND vendor_chain <> '{}'
       ORDER BY created_at DESC LIMIT $2`,
      [keyIdentifier, CERTIFICATES_MAX],
    );
    return rows.flatMap(({ vendor_chain: [der, ...others] }) => (der === undefined ? [] : [{ der, others }]));
  },
  takeOver: async (tx, { transactionId, protectionKey, seenClaimedAt, at }) => {
    const { rowCount } = await tx.query(
      `UPDATE cmp_transaction SET claimed_at = $4
       WHERE transaction_id = $1 AND protection_key = $2 AND response IS NULL AND claimed_at = $3
         AND state IN ('open', 'waiting')`,
      [transactionId, protectionKey, seenClaimedAt, at],
    );
    return rowCount === 1;
  },
  claimPoll: async (tx, { transactionId, protectionKey, hash, recipNonce, at }) => {
    const { rows } = await tx.query<TransactionRow>(
      `UPDATE cmp_transaction SET last_hash = $3, response = NULL, claimed_at = $5
       WHERE transaction_id = $1 AND protection_key = $2 AND state = 'waiting' AND our_nonce = $4
         AND last_hash <> $3 AND (response IS NOT NULL OR claimed_at < $6)
       RETURNING ${COLUMNS}`,
      [transactionId, protectionKey, hash, recipNonce, at, new Date(at.getTime() - CLAIM_STALE_MS)],
    );
    return rows[0] === undefined ? null : toTransaction(rows[0]);
  },
  answer: async (tx, answer) => {
    const { certificate } = answer;
    const { rowCount } = await tx.query(
      `UPDATE cmp_transaction
       SET state = $5, response = $6, request = $7, our_nonce = $8, our_nonce_at = $9, issuer_id = $10, serial = $11,
         not_after = $12
       WHERE transaction_id = $1 AND protection_key = $2 AND last_hash = $3 AND claimed_at = $4 AND response IS NULL`,
      [
        answer.transactionId,
        answer.protectionKey,
        answer.hash,
        answer.claimedAt,
        answer.state,
        answer.response,
        answer.request,
        answer.ourNonce,
        answer.at,
        certificate?.issuerId ?? null,
        certificate?.serial ?? null,
        certificate?.notAfter ?? null,
      ],
    );
    return rowCount === 1;
  },
  close: async (tx, { transactionId, protectionKey, hash, recipNonce, response, ourNonce, at }) => {
    const { rowCount } = await tx.query(
      `UPDATE cmp_transaction
       SET state = 'closed', last_hash = $3, response = $5, our_nonce = $6, our_nonce_at = $7
       WHERE transaction_id = $1 AND protection_key = $2 AND state = 'unconfirmed' AND our_nonce = $4`,
      [transactionId, protectionKey, hash, recipNonce, response, ourNonce, at],
    );
    return rowCount === 1;
  },
  forgetAnswers: async (tx, { from, until }) => {
    const { rows } = await tx.query<{ seen: number; newest: Date | null }>(
      `WITH old AS (
         SELECT ctid, created_at FROM cmp_transaction WHERE created_at >= $1 AND created_at < $2
         ORDER BY created_at LIMIT $3
       ), forgotten AS (
         UPDATE cmp_transaction
         SET response = NULL, request = NULL,
           protection_certificate = NULL,
           state = CASE state WHEN 'unconfirmed' THEN state ELSE 'closed' END
         WHERE ctid = ANY(ARRAY(SELECT ctid FROM old))
           AND (response IS NOT NULL OR request IS NOT NULL OR state IN ('open', 'waiting'))
       )
       SELECT count(*)::int AS seen, max(created_at) AS newest FROM old`,
      [from, until, ROWS_A_RUN],
    );
    const { seen = 0, newest = null } = rows[0] ?? {};
    if (seen < ROWS_A_RUN || newest === null) return until;
    // So many of one instant that the next run would see only them again: on, all the same.
    return newest.getTime() > from.getTime() ? newest : new Date(from.getTime() + 1);
  },
  removeBefore: async (tx, before) => {
    const { rowCount } = await tx.query(
      `DELETE FROM cmp_transaction
       WHERE ctid = ANY(ARRAY(SELECT ctid FROM cmp_transaction WHERE created_at < $1 ORDER BY created_at LIMIT $2))`,
      [before, ROWS_A_RUN],
    );
    return rowCount;
  },
};

function toTransaction(row: TransactionRow): StoredTransaction {
  const { issuer_id: issuerId, serial, not_after: notAfter } = row;
  return {
    transactionId: row.transaction_id,
    protectionKey: row.protection_key,
    bodyKind: row.body_kind,
    state: row.state,
    firstHash: row.first_hash,
    lastHash: row.last_hash,
    response: row.response,
    request: row.request,
    ourNonce: row.our_nonce,
    ourNonceAt: row.our_nonce_at,
    certificate: issuerId === null || serial === null || notAfter === null ? null : { issuerId, serial, notAfter },
    claimedAt: row.claimed_at,
  };
}
