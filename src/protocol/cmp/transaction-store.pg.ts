import { byteaArray, textArray, timestamptzArray } from '../../platform/db/binary-array.js';
import { oneOf } from '../../platform/db/set-statement.js';
import type { Transaction } from '../../platform/db/transaction.js';
import {
  CLAIM_STALE_MS,
  OPENINGS_A_MINUTE,
  type Opening,
  type StoredTransaction,
  type TransactionKey,
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

/**
 * One round trip for all that open at the same time: each key's limit is counted, and the rows are made inside it. Keys in
 * order, so that two sets which cross wait for each other instead of deadlocking.
 */
const OPEN = `
  WITH asked AS (
    SELECT a.*, date_trunc('minute', a.at) AS minute,
      row_number() OVER (PARTITION BY a.protection_key, date_trunc('minute', a.at) ORDER BY a.n) AS place,
      count(*) OVER (PARTITION BY a.protection_key, date_trunc('minute', a.at)) AS many
    FROM unnest($1::bytea[], $2::bytea[], $3::text[], $4::bytea[], $5::bytea[], $6::bytea[], $7::text[],
        $8::timestamptz[])
      WITH ORDINALITY
      AS a(transaction_id, protection_key, body_kind, hash, certificate, sender_kid, vendor_chain, at, n)
    WHERE NOT EXISTS (SELECT 1 FROM cmp_transaction t
      WHERE t.transaction_id = a.transaction_id AND t.protection_key = a.protection_key)
  ), rate AS (
    INSERT INTO request_rate (scope, credential, minute, count)
    SELECT 'cmp', protection_key, minute, count(*) FROM asked GROUP BY minute, protection_key
    ORDER BY minute, protection_key
    ON CONFLICT (minute, scope, credential) DO UPDATE SET count = request_rate.count + EXCLUDED.count
    RETURNING credential, minute, count
  ), counted AS (
    SELECT asked.*, rate.count - asked.many + asked.place AS count
    FROM asked JOIN rate ON rate.credential = asked.protection_key AND rate.minute = asked.minute
  ), opened AS (
    INSERT INTO cmp_transaction (transaction_id, protection_key, body_kind, state, first_hash, last_hash,
      protection_certificate, sender_kid, vendor_chain, claimed_at, created_at)
    SELECT transaction_id, protection_key, body_kind, 'open', hash, hash, certificate, sender_kid, vendor_chain::bytea[],
      at, at
    FROM counted WHERE count <= $9 ORDER BY transaction_id, protection_key, n
    ON CONFLICT (transaction_id, protection_key) DO NOTHING RETURNING transaction_id, protection_key
  )
  SELECT counted.n::int AS n, counted.count::int AS count, opened.transaction_id IS NOT NULL AS opened
  FROM counted LEFT JOIN opened USING (transaction_id, protection_key)`;

const CERTIFICATES_MAX = 8;
const ROWS_A_RUN = 5_000;

const open = oneOf(openAll);
const find = oneOf(findAll);
const answer = oneOf(answerAll);
const close = oneOf(closeAll);

export const pgTransactionStore: TransactionStore = {
  open: (tx, opening) => open(tx, opening),
  find: (tx, key) => find(tx, key),
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
  answer: (tx, said) => answer(tx, said),
  close: (tx, ending) => close(tx, ending),
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

async function openAll(tx: Transaction, openings: readonly Opening[]): Promise<('opened' | 'known' | 'too many')[]> {
  const { rows } = await tx.query<{ n: number; count: number; opened: boolean }>(
    OPEN,
    [
      ...columnsOf(openings),
      textArray(openings.map(({ bodyKind }) => bodyKind)),
      byteaArray(openings.map(({ hash }) => hash)),
      byteaArray(openings.map(({ certificate }) => certificate?.der ?? null)),
      byteaArray(openings.map(({ certificate }) => certificate?.keyIdentifier ?? null)),
      textArray(openings.map(({ certificate }) => byteaArrayText(certificate?.vendorChain ?? []))),
      timestamptzArray(openings.map(({ at }) => at)),
      OPENINGS_A_MINUTE,
    ],
    { preparedAs: 'cmp-open' },
  );
  const byPlace = new Map(rows.map((row) => [row.n, row]));
  const taken = new Set<string>();
  return openings.map((opening, index) => {
    const row = byPlace.get(index + 1);
    if (row === undefined) return 'known';
    if (row.count > OPENINGS_A_MINUTE) return 'too many';
    // The same message twice in one set: one of them opened it.
    const name = nameOf(opening);
    if (!row.opened || taken.has(name)) return 'known';
    taken.add(name);
    return 'opened';
  });
}

async function findAll(tx: Transaction, keys: readonly TransactionKey[]): Promise<(StoredTransaction | null)[]> {
  const { rows } = await tx.query<TransactionRow>(
    `SELECT ${COLUMNS} FROM unnest($1::bytea[], $2::bytea[]) AS k(transaction_id, protection_key)
       JOIN cmp_transaction t USING (transaction_id, protection_key)`,
    columnsOf(keys),
    { preparedAs: 'cmp-find' },
  );
  const found = new Map(rows.map(toTransaction).map((known) => [nameOf(known), known]));
  return keys.map((key) => found.get(nameOf(key)) ?? null);
}

type Said = Parameters<TransactionStore['answer']>[1];

async function answerAll(tx: Transaction, answers: readonly Said[]): Promise<boolean[]> {
  const { rows } = await tx.query<{ n: number }>(
    `UPDATE cmp_transaction t
     SET state = a.state, response = a.response, request = a.request, our_nonce = a.our_nonce, our_nonce_at = a.at,
       issuer_id = a.issuer_id, serial = a.serial, not_after = a.not_after
     FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::timestamptz[], $5::text[], $6::bytea[], $7::bytea[],
         $8::bytea[], $9::timestamptz[], $10::smallint[], $11::bytea[], $12::timestamptz[]) WITH ORDINALITY
       AS a(transaction_id, protection_key, hash, claimed_at, state, response, request, our_nonce, at, issuer_id, serial,
         not_after, n)
     WHERE t.transaction_id = a.transaction_id AND t.protection_key = a.protection_key AND t.last_hash = a.hash
       AND t.claimed_at = a.claimed_at AND t.response IS NULL
     RETURNING a.n::int AS n`,
    [
      ...columnsOf(answers),
      byteaArray(answers.map(({ hash }) => hash)),
      timestamptzArray(answers.map(({ claimedAt }) => claimedAt)),
      textArray(answers.map(({ state }) => state)),
      byteaArray(answers.map(({ response }) => response)),
      byteaArray(answers.map(({ request }) => request)),
      byteaArray(answers.map(({ ourNonce }) => ourNonce)),
      timestamptzArray(answers.map(({ at }) => at)),
      answers.map(({ certificate }) => certificate?.issuerId ?? null),
      byteaArray(answers.map(({ certificate }) => certificate?.serial ?? null)),
      timestamptzArray(answers.map(({ certificate }) => certificate?.notAfter ?? null)),
    ],
    { preparedAs: 'cmp-answer' },
  );
  return whichOf(answers, rows);
}

type Ending = Parameters<TransactionStore['close']>[1];

async function closeAll(tx: Transaction, endings: readonly Ending[]): Promise<boolean[]> {
  const { rows } = await tx.query<{ n: number }>(
    `UPDATE cmp_transaction t
     SET state = 'closed', last_hash = c.hash, response = c.response, our_nonce = c.our_nonce, our_nonce_at = c.at
     FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bytea[], $7::timestamptz[])
         WITH ORDINALITY
       AS c(transaction_id, protection_key, hash, recip_nonce, response, our_nonce, at, n)
     WHERE t.transaction_id = c.transaction_id AND t.protection_key = c.protection_key AND t.state = 'unconfirmed'
       AND t.our_nonce = c.recip_nonce
     RETURNING c.n::int AS n`,
    [
      ...columnsOf(endings),
      byteaArray(endings.map(({ hash }) => hash)),
      byteaArray(endings.map(({ recipNonce }) => recipNonce)),
      byteaArray(endings.map(({ response }) => response)),
      byteaArray(endings.map(({ ourNonce }) => ourNonce)),
      timestamptzArray(endings.map(({ at }) => at)),
    ],
    { preparedAs: 'cmp-close' },
  );
  return whichOf(endings, rows);
}

function columnsOf(keys: readonly TransactionKey[]): [Buffer, Buffer] {
  return [
    byteaArray(keys.map(({ transactionId }) => transactionId)),
    byteaArray(keys.map(({ protectionKey }) => protectionKey)),
  ];
}

/** Chains differ in length, so an array of them is no array to PostgreSQL: each is sent as its text. */
function byteaArrayText(values: readonly Buffer[]): string {
  return `{${values.map((value) => `"\\\\x${value.toString('hex')}"`).join(',')}}`;
}

function whichOf(inputs: readonly unknown[], rows: readonly { n: number }[]): boolean[] {
  const done = new Set(rows.map(({ n }) => n));
  return inputs.map((_, index) => done.has(index + 1));
}

function nameOf({ transactionId, protectionKey }: TransactionKey): string {
  return `${transactionId.toString('latin1')}/${protectionKey.toString('latin1')}`;
}

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
