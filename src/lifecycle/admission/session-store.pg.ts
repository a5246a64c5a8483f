import { byteaArray, int4Array, int8Array, textArray, timestamptzArray } from '../../platform/db/binary-array.js';
import type { SessionStore } from './session-store.js';

/** A connector that runs for months has a stream of millions: gaps are looked for among its newest numbers. */
const LOOKED_BACK = 5_000;

export const sessionStore: SessionStore = {
  unitsByFqdn: async (tx, fqdns) => {
    const { rows } = await tx.query<{ id: number; fqdn: string }>(
      'SELECT id, fqdn FROM unit WHERE fqdn = ANY($1::text[])',
      [fqdns],
    );
    return new Map(rows.map(({ id, fqdn }) => [fqdn, id]));
  },

  addEvents: async (tx, { gatewayId, stream, events, receivedAt }) => {
    const { rows } = await tx.query<{ seq: number }>(
      `INSERT INTO session_event (gateway_id, stream, seq, session, kind, unit_id, address, at, received_at)
       SELECT $1, $2, seq, session, kind, unit_id, address::inet, at, $3
       FROM unnest($4::bigint[], $5::bytea[], $6::text[], $7::int[], $8::text[], $9::timestamptz[])
         AS e(seq, session, kind, unit_id, address, at)
       ORDER BY e.seq ON CONFLICT DO NOTHING RETURNING seq`,
      [gatewayId, stream, receivedAt, ...columnsOf(events)],
    );
    return new Set(rows.map(({ seq }) => seq));
  },

  applyEvents: async (tx, gatewayId, events) => {
    await tx.query(
      `INSERT INTO unit_session AS s (gateway_id, session, unit_id, address, up_at, seen_at, down_at)
       SELECT $1, session, min(unit_id), (array_agg(address::inet ORDER BY at DESC))[1],
         min(at) FILTER (WHERE kind = 'up'), max(at), max(at) FILTER (WHERE kind = 'down')
       FROM unnest($2::bigint[], $3::bytea[], $4::text[], $5::int[], $6::text[], $7::timestamptz[])
         AS e(seq, session, kind, unit_id, address, at)
       GROUP BY session ORDER BY session
       ON CONFLICT (gateway_id, session) DO UPDATE SET
         address = CASE WHEN EXCLUDED.seen_at >= s.seen_at THEN EXCLUDED.address ELSE s.address END,
         up_at = least(s.up_at, EXCLUDED.up_at),
         seen_at = greatest(s.seen_at, EXCLUDED.seen_at),
         down_at = greatest(s.down_at, EXCLUDED.down_at)
       WHERE s.unit_id = EXCLUDED.unit_id`,
      [gatewayId, ...columnsOf(events)],
    );
  },

  missing: async (tx, gatewayId, stream, rangesMax) => {
    const { rows } = await tx.query<{ from: number; to: number }>(
      `WITH behind AS (SELECT greatest(0, max(seq) - ${LOOKED_BACK}) AS seq FROM session_event WHERE gateway_id = $1 AND stream = $2)
       SELECT previous + 1 AS "from", seq - 1 AS "to" FROM (
         SELECT seq, lag(seq, 1, (SELECT seq FROM behind)) OVER (ORDER BY seq) AS previous
         FROM session_event WHERE gateway_id = $1 AND stream = $2 AND seq > (SELECT seq FROM behind)) AS e
       WHERE seq > previous + 1 ORDER BY seq DESC LIMIT $3`,
      [gatewayId, stream, rangesMax],
    );
    return rows.map(({ from, to }) => [from, to]);
  },

  unitsInTwoPlaces: async (tx, unitIds) => {
    const { rows } = await tx.query<{ unit_id: number }>(
      `SELECT unit_id FROM unit_session WHERE unit_id = ANY($1::int[]) AND down_at IS NULL
       GROUP BY unit_id HAVING count(DISTINCT (gateway_id, address)) > 1 ORDER BY unit_id`,
      [unitIds],
    );
    return rows.map((row) => row.unit_id);
  },

  openProbe: async (tx, { unitId, nonce, askAt, endsAt, sessionsMax }) => {
    await tx.query(
      `WITH probe AS (
         INSERT INTO session_probe (unit_id, nonce, ask_at, ends_at, state) VALUES ($1, $2, $3, $4, 'open')
         ON CONFLICT DO NOTHING RETURNING id)
       INSERT INTO session_probe_answer (probe_id, gateway_id, session)
       SELECT probe.id, s.gateway_id, s.session FROM probe, (
         SELECT gateway_id, session FROM unit_session WHERE unit_id = $1 AND down_at IS NULL
         ORDER BY seen_at DESC LIMIT $5) AS s`,
      [unitId, nonce, askAt, endsAt, sessionsMax],
    );
  },

  endOverdue: async (tx, now) => {
    await tx.query(
      `UPDATE session_probe SET state = 'unanswered', closed_at = $1 WHERE id IN (
         SELECT id FROM session_probe WHERE state = 'open' AND ends_at <= $1 ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED)`,
      [now],
    );
  },

  questionsFor: async (tx, gatewayId, now, max) => {
    const { rows } = await tx.query<{ id: string; session: Buffer; nonce: Buffer; askBefore: Date }>(
      `SELECT p.id::text AS id, a.session, p.nonce, p.ends_at AS "askBefore"
       FROM session_probe_answer a JOIN session_probe p ON p.id = a.probe_id
       WHERE a.gateway_id = $1 AND a.answered_at IS NULL AND p.state = 'open' AND p.ask_at <= $2 AND p.ends_at > $2
       ORDER BY p.id LIMIT $3`,
      [gatewayId, now, max],
    );
    return rows;
  },

  probe: async (tx, id) => {
    const { rows } = await tx.query<NonNullable<Awaited<ReturnType<SessionStore['probe']>>>>(
      `SELECT p.unit_id AS "unitId", u.serial_number AS "serialNumber", p.nonce, p.state, p.ask_at AS "askAt", p.ends_at AS "endsAt"
       FROM session_probe p JOIN unit u ON u.id = p.unit_id WHERE p.id = $1 FOR UPDATE OF p`,
      [id],
    );
    return rows[0] ?? null;
  },

  hasLatecomer: async (tx, id) => {
    const { rowCount } = await tx.query(
      `SELECT FROM session_probe p JOIN unit_session s ON s.unit_id = p.unit_id AND s.down_at IS NULL
       WHERE p.id = $1 AND NOT EXISTS (SELECT FROM session_probe_answer a
         WHERE a.probe_id = p.id AND a.gateway_id = s.gateway_id AND a.session = s.session) LIMIT 1`,
      [id],
    );
    return rowCount === 1;
  },

  answer: async (tx, { id, gatewayId, session, alive, at }) => {
    const { rowCount } = await tx.query(
      `UPDATE session_probe_answer SET alive = $4, answered_at = $5
       WHERE probe_id = $1 AND gateway_id = $2 AND session = $3 AND answered_at IS NULL`,
      [id, gatewayId, session, alive, at],
    );
    if (rowCount === 1 && !alive) {
      // Gone without a word, as after a power cut: its gateway has just looked.
      await tx.query(
        'UPDATE unit_session SET down_at = $3 WHERE gateway_id = $1 AND session = $2 AND down_at IS NULL',
        [gatewayId, session, at],
      );
    }
    return rowCount === 1;
  },

  probedSessions: async (tx, id) => {
    const { rows } = await tx.query<Awaited<ReturnType<SessionStore['probedSessions']>>[number]>(
      `SELECT a.gateway_id AS "gatewayId", m.name AS gateway, encode(a.session, 'hex') AS "sessionHex", host(s.address) AS address,
         a.alive, EXISTS (SELECT 1 FROM decision d WHERE d.unit_id = s.unit_id AND d.gateway_id = a.gateway_id
           AND d.key_proved AND d.verdict <> 'deny' AND d.at > s.seen_at - interval '31 days') AS "keyProved"
       FROM session_probe_answer a JOIN unit_session s USING (gateway_id, session) JOIN machine m ON m.id = a.gateway_id
       WHERE a.probe_id = $1 ORDER BY a.gateway_id, a.session`,
      [id],
    );
    return rows;
  },

  closeProbe: async (tx, id, state, at) => {
    await tx.query('UPDATE session_probe SET state = $2, closed_at = $3 WHERE id = $1', [id, state, at]);
  },
};

function columnsOf(events: Parameters<SessionStore['applyEvents']>[2]): unknown[] {
  return [
    int8Array(events.map(({ seq }) => seq)),
    byteaArray(events.map(({ session }) => session)),
    textArray(events.map(({ kind }) => kind)),
    int4Array(events.map(({ unitId }) => unitId)),
    textArray(events.map(({ address }) => address)),
    timestamptzArray(events.map(({ at }) => at)),
  ];
}
