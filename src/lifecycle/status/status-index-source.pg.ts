import type { IssuedGroup, PageEnd, RowGroup, StatusIndexSource } from './status-index-source.js';

/**
 * One row a group, its serials as one value: a million of rows each parsed into its own objects would cost the process
 * that answers OCSP meanwhile seconds. Times are carried as text where they are a key: a Date would lose microseconds.
 */
export const statusIndexSource: StatusIndexSource = {
  issued: async (tx, keptFrom, after, limit) => {
    const { rows } = await tx.query<GroupRow & { day: number; serials: Buffer | null; others: string[] | null }>(
      ISSUED,
      [limit, ...(after.length > 0 ? after : [keptFrom, -1, EMPTY])],
      { preparedAs: 'status-index-issued' },
    );
    const groups = rows.map(
      ({ issuer_id, day, serials, others }): IssuedGroup => ({
        issuerId: issuer_id,
        expiryDay: day,
        serials: serials ?? EMPTY,
        otherHex: others ?? [],
      }),
    );
    return { groups, end: endOf(rows, limit) };
  },

  rows: async (tx, keptFrom, after, limit) => {
    const { rows } = await tx.query<GroupRow & { records: Buffer | null; others: RowGroup['others'] | null }>(ROWS, [
      limit,
      keptFrom,
      ...(after.length > 0 ? after : [-1, EMPTY]),
    ]);
    const groups = rows.map(
      ({ issuer_id, records, others }): RowGroup => ({
        issuerId: issuer_id,
        records: records ?? EMPTY,
        others: others ?? [],
      }),
    );
    return { groups, end: endOf(rows, limit) };
  },

  oldestOpenIntent: async (tx) =>
    (await tx.query<{ at: Date | null }>(`SELECT min(created_at) AS at FROM issuance_intent WHERE state = 'signing'`))
      .rows[0]?.at ?? null,
};

interface GroupRow {
  readonly issuer_id: number;
  readonly taken: number;
  readonly page_end: unknown[];
  readonly end_serial: Buffer;
}

function endOf(rows: readonly GroupRow[], limit: number): PageEnd {
  const [first] = rows;
  return first === undefined || first.taken < limit ? null : [...first.page_end, first.end_serial];
}

const EMPTY = Buffer.alloc(0);

const ISSUED = `WITH page AS (
    SELECT not_after, issuer_id, serial FROM certificate
    WHERE not_after >= $2::timestamptz AND (not_after, issuer_id, serial) > ($2::timestamptz, $3::smallint, $4::bytea)
    ORDER BY not_after, issuer_id, serial LIMIT $1),
  last AS (
    SELECT count(*) OVER () AS taken, json_build_array(not_after::text, issuer_id) AS page_end, serial AS end_serial
    FROM page ORDER BY not_after DESC, issuer_id DESC, serial DESC LIMIT 1)
  SELECT p.issuer_id, floor(extract(epoch FROM p.not_after) / 86400)::integer AS day,
    string_agg(p.serial, ''::bytea) FILTER (WHERE octet_length(p.serial) = 16) AS serials,
    array_agg(encode(p.serial, 'hex')) FILTER (WHERE octet_length(p.serial) <> 16) AS others,
    (SELECT taken FROM last) AS taken, (SELECT page_end FROM last) AS page_end, (SELECT end_serial FROM last) AS end_serial
  FROM page p GROUP BY 1, 2`;

const REVOKED_MS = 'floor(extract(epoch FROM p.revoked_at) * 1000)::bigint';
const DAY = 'floor(extract(epoch FROM p.not_after) / 86400)::integer';
const STATE = `CASE p.state WHEN 'held' THEN 0 WHEN 'released' THEN 2 ELSE 1 END`;

const ROWS = `WITH page AS (
    SELECT issuer_id, serial, not_after, state, reason, revoked_at FROM revoked_certificate
    WHERE (issuer_id, serial) > ($3::smallint, $4::bytea) AND not_after >= $2::timestamptz
    ORDER BY issuer_id, serial LIMIT $1),
  last AS (
    SELECT count(*) OVER () AS taken, json_build_array(issuer_id) AS page_end, serial AS end_serial
    FROM page ORDER BY issuer_id DESC, serial DESC LIMIT 1)
  SELECT p.issuer_id,
    string_agg(p.serial || int8send(${REVOKED_MS}) || int4send(${DAY}) || int2send(p.reason) || int2send((${STATE})::smallint), ''::bytea)
      FILTER (WHERE octet_length(p.serial) = 16) AS records,
    json_agg(json_build_object('serialHex', encode(p.serial, 'hex'), 'revokedAtMs', ${REVOKED_MS}, 'expiryDay', ${DAY},
      'reason', p.reason, 'state', ${STATE})) FILTER (WHERE octet_length(p.serial) <> 16) AS others,
    (SELECT taken FROM last) AS taken, (SELECT page_end FROM last) AS page_end, (SELECT end_serial FROM last) AS end_serial
  FROM page p GROUP BY p.issuer_id`;
