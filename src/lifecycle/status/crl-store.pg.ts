import type { Snapshot, Transaction } from '../../platform/db/transaction.js';
import {
  CRL_CHANNEL,
  type CrlStanding,
  type CrlStore,
  type ListedPage,
  type ListedPart,
  type NewCrl,
  type StatusWitness,
} from './crl-store.js';

export const crlStore: CrlStore = {
  standings,
  der,
  newestOf,
  newerThan,
  listedPage,
  listedParts,
  giveNumber,
  record,
  clearDirty,
  markPublished,
  dropBytes,
  witnesses,
};

interface StandingRow {
  id: number;
  label: string;
  key_label: string;
  subject_der: Buffer;
  key_identifier: Buffer;
  certificate_der: Buffer;
  crl_number_last: number;
  dirty: string | null;
  number: number | null;
  this_update: Date;
  next_update: Date;
  entry_count: number;
  sha256: Buffer;
  published_at: Date | null;
}

// xmin is the row's version: unlike a time it can never be equal for two writers.
async function standings(tx: Transaction, now: Date): Promise<CrlStanding[]> {
  const { rows } = await tx.query<StandingRow>(
    `SELECT i.id, i.label, i.key_label, i.subject_der, i.key_identifier, i.certificate_der, i.crl_number_last,
       d.xmin::text AS dirty, c.number, c.this_update, c.next_update, c.entry_count, c.sha256, c.published_at
     FROM issuer i LEFT JOIN crl_dirty d ON d.issuer_id = i.id LEFT JOIN LATERAL (
       SELECT number, this_update, next_update, entry_count, sha256, published_at FROM crl
       WHERE issuer_id = i.id ORDER BY number DESC LIMIT 1) c ON true
     WHERE i.kind IN ('device-ca', 'bootstrap-ca', 'services-ca') AND i.state <> 'offline' AND i.not_after > $1 ORDER BY i.id`,
    [now],
    { preparedAs: 'crl-standings' },
  );
  return rows.map((row) => ({
    issuer: {
      id: row.id,
      label: row.label,
      keyLabel: row.key_label,
      subjectDer: row.subject_der,
      keyIdentifier: row.key_identifier,
      certificateDer: row.certificate_der,
      numberLast: row.crl_number_last,
    },
    newest:
      row.number === null
        ? null
        : {
            number: row.number,
            thisUpdate: row.this_update,
            nextUpdate: row.next_update,
            entryCount: row.entry_count,
            sha256: row.sha256,
            publishedAt: row.published_at,
          },
    dirty: row.dirty,
  }));
}

const SLICE_BYTES = 1_048_576;

async function der(
  tx: Transaction,
  { issuerId, number }: { issuerId: number; number: number },
): Promise<Buffer | null> {
  const slices: Buffer[] = [];
  for (let at = 1; ; at += SLICE_BYTES) {
    const { rows } = await tx.query<{ slice: Buffer | null }>(
      'SELECT substring(der FROM $3 FOR $4) AS slice FROM crl WHERE issuer_id = $1 AND number = $2',
      [issuerId, number, at, SLICE_BYTES],
      { preparedAs: 'crl-slice' },
    );
    const slice = rows[0]?.slice ?? null;
    // Dropped between two slices, as the newest never is.
    if (slice === null) return null;
    slices.push(slice);
    if (slice.length < SLICE_BYTES) return slices.length === 1 ? slice : Buffer.concat(slices);
  }
}

async function newestOf(
  tx: Transaction,
  issuerId: number,
): Promise<{ number: number; thisUpdate: Date; bytes: number } | null> {
  const { rows } = await tx.query<{ number: number; this_update: Date; bytes: number }>(
    `SELECT number, this_update, octet_length(der) AS bytes FROM crl WHERE issuer_id = $1 AND der IS NOT NULL
     ORDER BY number DESC LIMIT 1`,
    [issuerId],
  );
  const [row] = rows;
  return row ? { number: row.number, thisUpdate: row.this_update, bytes: row.bytes } : null;
}

async function newerThan(
  tx: Transaction,
  known: ReadonlyMap<string, bigint>,
): Promise<{ label: string; issuerId: number; number: number }[]> {
  const { rows } = await tx.query<{ label: string; issuer_id: number; number: number }>(
    `SELECT i.label, i.id AS issuer_id, c.number FROM issuer i
     JOIN LATERAL (SELECT number FROM crl WHERE issuer_id = i.id ORDER BY number DESC LIMIT 1) c ON true
     LEFT JOIN unnest($1::text[], $2::bigint[]) AS k(label, number) ON k.label = i.label
     WHERE c.number > coalesce(k.number, 0)`,
    [[...known.keys()], [...known.values()].map(String)],
    { preparedAs: 'crl-newer' },
  );
  return rows.map((row) => ({ label: row.label, issuerId: row.issuer_id, number: row.number }));
}

const EMPTY = Buffer.alloc(0);

// One value a page: a million rows each parsed into an object of its own would take seconds. The aggregates are fed in the
// order of the subquery; whoever takes the page checks that it is.
async function listedPage(
  tx: Transaction,
  { issuerId, expiringAfter, after, limit }: Parameters<CrlStore['listedPage']>[1],
): Promise<ListedPage> {
  const { rows } = await tx.query<{ entries: Buffer | null; not_afters: Buffer | null; taken: number }>(
    `SELECT string_agg(entry_der, ''::bytea) AS entries, count(*) AS taken,
       string_agg(int4send(ceil(extract(epoch FROM not_after))::integer), ''::bytea) AS not_afters
     FROM (
       SELECT entry_der, not_after FROM revoked_certificate
       WHERE issuer_id = $1 AND serial > $2 AND state <> 'released' AND not_after > $3 ORDER BY serial LIMIT $4) AS page`,
    [issuerId, after, expiringAfter, limit],
    { preparedAs: 'crl-listed-page' },
  );
  const [row] = rows;
  return {
    entriesDer: row?.entries ?? EMPTY,
    notAfters: row?.not_afters ?? EMPTY,
    isFull: row !== undefined && row.taken >= limit,
  };
}

/** 256 pages of eight kilobytes: some ten thousand rows, half a megabyte of entries. */
const PART_PAGES = 256;
/** 32 megabytes in one statement, which a slow disk reads within a statement's limit. */
const STATEMENT_PAGES = 4_096;

async function listedParts(snapshot: Snapshot, expiringAfter: Date, take: (part: ListedPart) => void): Promise<void> {
  // No row that the snapshot sees lies behind what the table has now.
  const { rows } = await snapshot.query<{ pages: number }>(
    `SELECT pg_relation_size('revoked_certificate') / current_setting('block_size')::bigint AS pages`,
  );
  const pages = rows[0]?.pages ?? 0;
  for (let from = 0; from < pages; from += STATEMENT_PAGES) {
    const last = Math.min(pages, from + STATEMENT_PAGES) - 1;
    await snapshot.binaryRows(
      `SELECT part.* FROM generate_series(${from}, ${last}, ${PART_PAGES}) AS page, LATERAL (
         SELECT issuer_id::integer, string_agg(entry_der, ''::bytea), string_agg(timestamptz_send(not_after), ''::bytea)
         FROM revoked_certificate
         WHERE ctid >= format('(%s,0)', page)::tid AND ctid < format('(%s,0)', page + ${PART_PAGES})::tid
           AND state <> 'released' AND not_after > '${expiringAfter.toISOString()}'
         GROUP BY issuer_id) AS part`,
      ([issuerId, entriesDer, notAfters]) => {
        if (!issuerId || !entriesDer || !notAfters) throw new Error('a part of the list has no value');
        take({
          issuerId: issuerId.readInt32BE(),
          entriesDer: Buffer.from(entriesDer),
          notAfters: secondsOf(notAfters),
        });
      },
    );
  }
}

/** @param times  as timestamptz_send writes them: i64 big-endian, microseconds since 2000 */
function secondsOf(times: Buffer): Buffer {
  const seconds = Buffer.allocUnsafe(times.length / 2);
  for (let at = 0; at < times.length; at += 8) {
    const micros = times.readInt32BE(at) * 0x1_0000_0000 + times.readUInt32BE(at + 4);
    seconds.writeUInt32BE(Math.ceil(micros / 1e6) + SECONDS_TO_2000, at / 2);
  }
  return seconds;
}

const SECONDS_TO_2000 = 946_684_800;

async function giveNumber(tx: Transaction, issuerId: number, above: number): Promise<number> {
  const { rows } = await tx.query<{ given: number }>(
    `UPDATE issuer SET crl_number_given = greatest(crl_number_given, crl_number_last, $2) + 1 WHERE id = $1
     RETURNING crl_number_given AS given`,
    [issuerId, above],
    { preparedAs: 'crl-give-number' },
  );
  return rows[0]?.given ?? 0;
}

async function record(tx: Transaction, crl: NewCrl): Promise<void> {
  await tx.query(
    `WITH added AS (
       INSERT INTO crl (issuer_id, number, this_update, next_update, entry_count, sha256, der, tbs_sha256, fence)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING issuer_id, number)
     SELECT pg_notify($10, i.label || ':' || added.number) FROM added JOIN issuer i ON i.id = added.issuer_id`,
    [
      ...[crl.issuerId, crl.number, crl.thisUpdate, crl.nextUpdate, crl.entryCount, crl.sha256, crl.der],
      ...[crl.tbsSha256, crl.lease.fence, CRL_CHANNEL],
    ],
  );
}

async function dropBytes(tx: Transaction, issuerId: number, belowNumber: number): Promise<void> {
  await tx.query(
    'UPDATE crl SET der = NULL WHERE issuer_id = $1 AND number < $2 AND der IS NOT NULL AND tbs_sha256 IS NOT NULL',
    [issuerId, belowNumber],
  );
}

async function clearDirty(tx: Transaction, issuerId: number, token: string): Promise<void> {
  await tx.query('DELETE FROM crl_dirty WHERE issuer_id = $1 AND xmin::text = $2', [issuerId, token]);
}

async function markPublished(tx: Transaction, issuerId: number, number: number, at: Date): Promise<void> {
  await tx.query('UPDATE crl SET published_at = $3 WHERE issuer_id = $1 AND number = $2 AND published_at IS NULL', [
    issuerId,
    number,
    at,
  ]);
}

// Subjects as revocation writes them; the unit of a serial comes from the record of what was issued, never from the row
// whose absence is to be explained.
async function witnesses(tx: Transaction, issuerId: number, serials: readonly Buffer[]): Promise<StatusWitness[]> {
  const { rows } = await tx.query<{ kind: StatusWitness['kind']; at: Date; body: string }>(
    `WITH asked AS (SELECT serial FROM unnest($2::bytea[]) AS s(serial)),
     subjects AS (
       SELECT 'certificate:' || encode(serial, 'hex') AS subject FROM asked
       UNION SELECT 'unit:' || u.serial_number FROM asked
         JOIN issuance_intent i ON i.issuer_id = $1 AND i.serial = asked.serial JOIN unit u ON u.id = i.unit_id
       UNION SELECT 'unit:' || u.serial_number FROM asked
         JOIN revoked_certificate r ON r.issuer_id = $1 AND r.serial = asked.serial JOIN unit u ON u.id = r.unit_id)
     SELECT kind, at, body FROM ledger JOIN subjects USING (subject)
       WHERE kind IN ('certificate.revoked', 'certificate.held', 'certificate.released')
     UNION ALL
     SELECT kind, at, body FROM ledger_inbox JOIN subjects USING (subject)
       WHERE kind IN ('certificate.revoked', 'certificate.held', 'certificate.released')`,
    [issuerId, serials],
  );
  return rows.flatMap(({ kind, at, body }) => {
    const fields = JSON.parse(body) as { issuerId?: unknown; serial?: unknown; notAfter?: unknown };
    if (fields.issuerId !== issuerId || typeof fields.serial !== 'string' || typeof fields.notAfter !== 'string')
      return [];
    return [{ kind, at, serialHex: fields.serial, notAfter: new Date(fields.notAfter) }];
  });
}
