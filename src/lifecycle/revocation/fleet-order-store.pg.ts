import { byteaArray } from '../../platform/db/binary-array.js';
import type { Transaction } from '../../platform/db/transaction.js';
import type { FleetAct, FleetOrder, FleetOrderState } from './fleet-order.js';
import type { FleetOrderStore } from './fleet-order-store.js';
import { isAmong, usableCertificates } from './usable-certificates.pg.js';

interface Row {
  id: number;
  request: string;
  request_hash: Buffer;
  count: number;
  requested_by: number;
  request_signature: Buffer;
  approval_id: number | null;
  state: FleetOrderState;
  done_count: number;
  unit_count: number;
  certificate_count: number;
  key_count: number;
  passed_count: number;
  last_error: string | null;
  created_at: Date;
  started_at: Date | null;
  finished_at: Date | null;
}

const COLUMNS = `id, request, request_hash, cardinality(serial_numbers) AS count, requested_by, request_signature, approval_id,
  state, done_count, unit_count, certificate_count, key_count, passed_count, last_error, created_at, started_at, finished_at`;

export const fleetOrderStore: FleetOrderStore = {
  insert: async (tx, order) =>
    (
      await tx.query<{ id: number }>(
        `INSERT INTO fleet_order (request, request_hash, serial_numbers, requested_by, request_signature, approval_id, state,
           created_at, started_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, CASE WHEN $7 = 'running' THEN $8::timestamptz END)
         ON CONFLICT (request_hash) DO NOTHING RETURNING id`,
        [
          order.request,
          order.requestHash,
          order.serialNumbers,
          order.requestedBy,
          order.requestSignature,
          order.approvalId,
          order.state,
          order.at,
        ],
      )
    ).rows[0]?.id ?? null,

  byId: async (tx, orderId) => (await orders(tx, 'WHERE id = $1', [orderId]))[0] ?? null,
  byHash: async (tx, hash) => (await orders(tx, 'WHERE request_hash = $1', [hash]))[0] ?? null,
  recent: (tx) => orders(tx, 'ORDER BY id DESC LIMIT 100', []),

  listOf: async (tx, orderId) =>
    (await tx.query<{ list: string[] }>('SELECT serial_numbers AS list FROM fleet_order WHERE id = $1', [orderId]))
      .rows[0]?.list ?? [],

  running: async (tx) =>
    (await tx.query<{ id: number }>(`SELECT id FROM fleet_order WHERE state = 'running' ORDER BY id`)).rows.map(
      ({ id }) => id,
    ),

  start: async (tx, orderId, at) =>
    (
      await tx.query(`UPDATE fleet_order SET state = 'running', started_at = $2 WHERE id = $1 AND state = 'waiting'`, [
        orderId,
        at,
      ])
    ).rowCount === 1,

  lockRunning: async (tx, orderId) => {
    const { rows } = await tx.query<{ done: number; units: number }>(
      `SELECT done_count AS done, unit_count AS units FROM fleet_order WHERE id = $1 AND state = 'running' FOR NO KEY UPDATE SKIP LOCKED`,
      [orderId],
    );
    return rows[0] ?? null;
  },

  isClosed: async (tx, subject) =>
    (
      await tx.query(
        `SELECT 1 FROM ledger WHERE subject = $1 AND kind = 'fleet-order.finished'
         UNION ALL SELECT 1 FROM ledger_inbox WHERE subject = $1 AND kind = 'fleet-order.finished'`,
        [subject],
      )
    ).rowCount > 0,

  advance: async (tx, orderId, { done, units, certificates, blockedKeys, passedOver, isLast, at }) => {
    await tx.query(
      `UPDATE fleet_order SET done_count = $2, unit_count = unit_count + $3, certificate_count = certificate_count + $4,
         key_count = key_count + $5, passed_count = passed_count + $6, last_error = NULL,
         state = CASE WHEN $7 THEN 'done' ELSE state END, finished_at = CASE WHEN $7 THEN $8::timestamptz END
       WHERE id = $1`,
      [orderId, done, units, certificates, blockedKeys, passedOver, isLast, at],
    );
  },

  writeError: async (tx, orderId, sentence) => {
    await tx.query('UPDATE fleet_order SET last_error = $2 WHERE id = $1', [orderId, sentence]);
  },

  serialNumbersOf: async (tx, unitIds) =>
    (
      await tx.query<{ serial: string }>('SELECT serial_number AS serial FROM unit WHERE id = ANY($1::int[])', [
        unitIds,
      ])
    ).rows.map(({ serial }) => serial),

  countChanges: async (tx, act, unitIds, { at, moving }) => {
    const certificates = `certificates AS MATERIALIZED (
      SELECT k.unit_id, k.issuer_id, ${CHANGES[act]} AS changes
      FROM (${act === 'release' ? HELD : usableCertificates(isAmong('unit_id', '$2::int[]'))}) AS k
      LEFT JOIN revoked_certificate r ON r.issuer_id = k.issuer_id AND r.serial = k.serial)`;
    const mayRelease = act === 'release' ? 'false' : 'EXISTS (SELECT 1 FROM changing c WHERE c.unit_id = u.id)';
    const [byState, byCa] = [
      await tx.query<{ state: string; units: number; changing: number }>(
        `WITH ${certificates}, changing AS MATERIALIZED (SELECT DISTINCT unit_id FROM certificates WHERE changes)
         SELECT state, count(*) AS units, count(*) FILTER (WHERE state = ANY($3::text[]) OR ${mayRelease}) AS changing
         FROM unit u WHERE id = ANY($2::int[]) GROUP BY state ORDER BY state`,
        [at, unitIds, moving],
      ),
      await tx.query<{ ca: string; certificates: number; changing: number }>(
        `WITH ${certificates}
         SELECT i.label AS ca, count(*) AS certificates,
           count(*) FILTER (WHERE c.changes AND ($4 OR u.state = ANY($3::text[]))) AS changing
         FROM certificates c JOIN issuer i ON i.id = c.issuer_id JOIN unit u ON u.id = c.unit_id
         GROUP BY i.label ORDER BY i.label`,
        [at, unitIds, moving, act !== 'release'],
      ),
    ];
    return { byState: byState.rows, byCa: byCa.rows };
  },

  changeable: async (tx, act, certificates) =>
    (
      await tx.query<{ ca: string; unitId: number | null; changes: boolean }>(
        `SELECT i.label AS ca, s.unit_id AS "unitId",
           ${CHANGES[act]} AND ($4 OR u.id IS NULL OR u.state IN ('BOOTSTRAPPED', 'ACTIVE', 'DORMANT')) AS changes
         FROM unnest($1::smallint[], $2::bytea[], $3::int[]) AS s(issuer_id, serial, unit_id)
         JOIN issuer i ON i.id = s.issuer_id LEFT JOIN unit u ON u.id = s.unit_id
         LEFT JOIN revoked_certificate r ON r.issuer_id = s.issuer_id AND r.serial = s.serial`,
        [
          certificates.map(({ issuerId }) => issuerId),
          byteaArray(certificates.map(({ serial }) => serial)),
          certificates.map(({ unitId }) => unitId),
          act !== 'release',
        ],
      )
    ).rows,

  gatewaysOf: async (tx, unitIds, since) =>
    (
      await tx.query<{ gateway: string; units: number }>(
        `SELECT m.name AS gateway, count(DISTINCT d.unit_id) AS units
         FROM unnest($1::int[]) AS u(id) JOIN decision d ON d.unit_id = u.id AND d.at > $2 AND d.verdict <> 'deny'
         JOIN machine m ON m.id = d.gateway_id GROUP BY m.name`,
        [unitIds, since],
      )
    ).rows,
};

/** As set-status decides it, of a certificate's row `r`, which may be missing. */
const CHANGES: Readonly<Record<FleetAct, string>> = {
  revoke: `r.state IS DISTINCT FROM 'revoked'`,
  hold: `coalesce(r.state, 'released') = 'released'`,
  release: `coalesce(r.state, '') = 'held'`,
};

/** What a release gives back: issued certificates on hold, expired ones too. */
const HELD = `SELECT h.unit_id, h.issuer_id, h.serial FROM revoked_certificate h
  WHERE h.unit_id = ANY($2::int[]) AND h.state = 'held' AND $1::timestamptz IS NOT NULL AND EXISTS (SELECT 1 FROM certificate c
    WHERE c.not_after = h.not_after AND c.issuer_id = h.issuer_id AND c.serial = h.serial)`;

async function orders(tx: Transaction, where: string, params: readonly unknown[]): Promise<FleetOrder[]> {
  const { rows } = await tx.query<Row>(`SELECT ${COLUMNS} FROM fleet_order ${where}`, params);
  return rows.map((row) => ({
    id: row.id,
    request: row.request,
    requestHash: row.request_hash,
    count: row.count,
    requestedBy: row.requested_by,
    requestSignature: row.request_signature,
    approvalId: row.approval_id,
    state: row.state,
    progress: {
      done: row.done_count,
      units: row.unit_count,
      certificates: row.certificate_count,
      blockedKeys: row.key_count,
      passedOver: row.passed_count,
    },
    lastError: row.last_error,
    createdAt: row.created_at,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
  }));
}
