import { byteaArray } from '../../platform/db/binary-array.js';
import type { RowSource } from '../../platform/db/row-source.js';
import { oneOf } from '../../platform/db/set-statement.js';
import type { Transaction } from '../../platform/db/transaction.js';
import { entriesFrom } from '../../platform/ledger/entries-from.pg.js';
import {
  type AddedRows,
  type CertificateKey,
  type CredentialStatusReader,
  SERIALS_IN_NOTICE_MAX,
  STATUS_CHANNEL,
  type StatusRow,
  type StatusRowStore,
  type StatusState,
  type StatusSubject,
} from './status-row.js';

export const statusRowStore: StatusRowStore = { lockRows, writeRows, addRows, markDirty };

const state = oneOf(statesByKey);

export const credentialStatusReader: CredentialStatusReader = {
  status: async (tx, certificate) => {
    const found = (await state(tx, certificate)) ?? 'released';
    return found === 'released' ? 'good' : found;
  },
};

async function statesByKey(
  tx: Transaction,
  keys: readonly Pick<StatusSubject, 'issuerId' | 'serial'>[],
): Promise<(StatusState | null)[]> {
  const { rows } = await tx.query<{ n: number; state: StatusState }>(
    `SELECT k.n::int AS n, r.state FROM unnest($1::smallint[], $2::bytea[]) WITH ORDINALITY AS k(issuer_id, serial, n)
       JOIN revoked_certificate r ON r.issuer_id = k.issuer_id AND r.serial = k.serial`,
    [keys.map(({ issuerId }) => issuerId), byteaArray(keys.map(({ serial }) => serial))],
    { preparedAs: 'status-states' },
  );
  const found = new Map(rows.map(({ n, state: known }) => [n, known]));
  return keys.map((_, index) => found.get(index + 1) ?? null);
}

interface Row {
  issuer_id: number;
  serial: Buffer;
  not_after: Date;
  unit_id: number | null;
  state: StatusState;
  reason: number;
  revoked_at: Date;
  entry_der: Buffer;
  changed_at: Date;
}

const COLUMNS =
  'r.issuer_id, r.serial, r.not_after, r.unit_id, r.state, r.reason, r.revoked_at, r.entry_der, r.changed_at';

export function statusRowOf(row: Row): StatusRow {
  return {
    issuerId: row.issuer_id,
    serial: row.serial,
    notAfter: row.not_after,
    unitId: row.unit_id,
    state: row.state,
    reason: row.reason,
    revokedAt: row.revoked_at,
    entryDer: row.entry_der,
    changedAt: row.changed_at,
  };
}

async function lockRows(tx: Transaction, subjects: readonly StatusSubject[]): Promise<StatusRow[]> {
  const { rows } = await tx.query<Row>(
    `SELECT ${COLUMNS} FROM revoked_certificate r
     JOIN unnest($1::smallint[], $2::bytea[]) AS s(issuer_id, serial) USING (issuer_id, serial)
     ORDER BY r.issuer_id, r.serial FOR UPDATE OF r`,
    [subjects.map((s) => s.issuerId), subjects.map((s) => s.serial)],
  );
  return rows.map(statusRowOf);
}

async function writeRows(tx: Transaction, rows: readonly StatusRow[]): Promise<StatusRow[]> {
  const result = await tx.query<Row>(
    `INSERT INTO revoked_certificate AS r
       (issuer_id, serial, not_after, unit_id, state, reason, revoked_at, entry_der, changed_at)
     SELECT * FROM unnest($1::smallint[], $2::bytea[], $3::timestamptz[], $4::int[], $5::text[], $6::smallint[],
                          $7::timestamptz[], $8::bytea[], $9::timestamptz[])
     ON CONFLICT (issuer_id, serial) DO UPDATE SET
       not_after = EXCLUDED.not_after, unit_id = EXCLUDED.unit_id, state = EXCLUDED.state, reason = EXCLUDED.reason,
       revoked_at = EXCLUDED.revoked_at, entry_der = EXCLUDED.entry_der, changed_at = EXCLUDED.changed_at
     WHERE r.state <> 'revoked' AND r.state <> EXCLUDED.state
     RETURNING ${COLUMNS}`,
    [
      rows.map((r) => r.issuerId),
      rows.map((r) => r.serial),
      rows.map((r) => r.notAfter),
      rows.map((r) => r.unitId),
      rows.map((r) => r.state),
      rows.map((r) => r.reason),
      rows.map((r) => r.revokedAt),
      rows.map((r) => r.entryDer),
      rows.map((r) => r.changedAt),
    ],
  );
  return result.rows.map(statusRowOf);
}

async function addRows(
  tx: Transaction,
  source: RowSource,
  { state, reason, at, entry, record }: Parameters<StatusRowStore['addRows']>[2],
): Promise<AddedRows> {
  const params: unknown[] = [...source.params];
  const parameter = (value: unknown, type: string): string => `$${params.push(value)}::${type}`;
  const when = parameter(at, 'timestamptz');
  const der = `${parameter(entry.before, 'bytea')} || serial || ${parameter(entry.after, 'bytea')}`;
  const columns = {
    issuerId: 'issuer_id::text',
    serial: `encode(serial, 'hex')`,
    notAfter: `to_char(not_after AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`,
    unitId: `coalesce(unit_id::text, 'null')`,
  };
  // In key order, so that the index is filled page by page.
  const { rows } = await tx.query<{
    added: number;
    left: number;
    issuer_ids: number[] | null;
    unit_ids: number[] | null;
    serials: Buffer[] | null;
    issuers: number[] | null;
  }>(
    `WITH source AS MATERIALIZED (${source.sql}),
     added AS (
       INSERT INTO revoked_certificate
         (issuer_id, serial, not_after, unit_id, state, reason, revoked_at, entry_der, changed_at)
       SELECT issuer_id, serial, not_after, unit_id, ${parameter(state, 'text')}, ${parameter(reason, 'smallint')}, ${when}, ${der}, ${when}
       FROM source WHERE octet_length(serial) = 16 AND get_byte(serial, 0) BETWEEN 1 AND 127
       ORDER BY issuer_id, serial ON CONFLICT DO NOTHING RETURNING issuer_id, serial, not_after, unit_id),
     told AS (SELECT added.*, source.subject FROM added JOIN source USING (issuer_id, serial)),
     entries AS (${entriesFrom('told', record, columns, params)}),
     named AS (SELECT issuer_id, serial FROM added LIMIT ${SERIALS_IN_NOTICE_MAX + 1})
     SELECT count(*) AS added, (SELECT count(*) FROM source) - count(*) AS left, array_agg(DISTINCT issuer_id) AS issuer_ids,
       array_agg(DISTINCT unit_id) FILTER (WHERE unit_id IS NOT NULL) AS unit_ids,
       (SELECT array_agg(serial) FROM named) AS serials, (SELECT array_agg(issuer_id) FROM named) AS issuers
     FROM added`,
    params,
  );
  const row = rows[0];
  const issuers = row?.issuers ?? [];
  return {
    added: row?.added ?? 0,
    left: row?.left ?? 0,
    issuerIds: row?.issuer_ids ?? [],
    unitIds: row?.unit_ids ?? [],
    some: (row?.serials ?? []).map((serial, index) => ({ issuerId: issuers[index] ?? 0, serial })),
  };
}

async function markDirty(
  tx: Transaction,
  issuerIds: readonly number[],
  changed: readonly CertificateKey[],
): Promise<void> {
  // DO UPDATE, not DO NOTHING: a publisher deletes the mark only if it is the version it saw before reading the entries.
  await tx.query(
    `INSERT INTO crl_dirty (issuer_id, since) SELECT id, clock_timestamp() FROM unnest($1::smallint[]) AS i(id)
     ORDER BY id ON CONFLICT (issuer_id) DO UPDATE SET since = crl_dirty.since`,
    [issuerIds],
  );
  const notice =
    changed.length > SERIALS_IN_NOTICE_MAX
      ? '*'
      : changed.map((row) => `${row.issuerId}:${row.serial.toString('hex')}`).join(' ');
  await tx.query('SELECT pg_notify($1, $2)', [STATUS_CHANNEL, notice]);
}
