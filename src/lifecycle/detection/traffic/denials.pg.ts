import type { DeniedHour, DeniedUnit, Newcomer } from './denials.js';
import { type RawColumns, rawOf } from './raw-columns.js';
import type { UnitTraffic } from './traffic-store.js';

export const denials: Pick<UnitTraffic, 'denied' | 'denials' | 'newcomers'> = {
  denied: async (tx, { from, until }, { afterUnitId, limit }) => {
    const { rows } = await tx.query<{ unitId: number; at: Date }>(
      `SELECT unit_id AS "unitId", max(at) AS at FROM decision
       WHERE at > $1 AND at <= $2 AND unit_id > $3 AND verdict = 'deny' GROUP BY unit_id ORDER BY unit_id LIMIT $4`,
      [from, until, afterUnitId, limit],
    );
    return rows;
  },

  denials: async (tx, suspects) => {
    const { rows } = await tx.query<
      Omit<DeniedUnit, 'hours'> & Omit<DeniedHour, 'raw' | 'reasons'> & RawColumns & { reasons: string }
    >(
      `SELECT u.id AS "unitId", u.serial_number AS "serialNumber", h.*
       FROM unnest($1::int[], $2::timestamptz[]) AS a(unit_id, at) JOIN unit u ON u.id = a.unit_id
       CROSS JOIN LATERAL (
         SELECT date_trunc('hour', d.at, 'UTC') AS hour, max(d.at) AS "lastAt", count(*)::int AS denials,
           string_agg(DISTINCT array_to_string(d.reasons, ' '), ' ') AS reasons,
           array_remove(array_agg(DISTINCT m.name), NULL) AS gateways,
           (array_agg(d.id ORDER BY d.at DESC))[1:20] AS ids, (array_agg(d.at::text ORDER BY d.at DESC))[1:20] AS ats
         FROM (SELECT * FROM decision
           WHERE unit_id = a.unit_id AND at > a.at - interval '7 days' AND at <= a.at AND verdict = 'deny'
           ORDER BY at DESC LIMIT ${DENIALS_READ_MAX}) AS d LEFT JOIN machine m ON m.id = d.gateway_id
         GROUP BY 1) AS h
       ORDER BY u.id, h.hour`,
      [suspects.map(({ unitId }) => unitId), suspects.map(({ at }) => at)],
    );
    const units = new Map<number, DeniedUnit & { hours: DeniedHour[] }>();
    for (const { unitId, serialNumber, ids, ats, reasons, ...hour } of rows) {
      const unit = units.get(unitId) ?? { unitId, serialNumber, hours: [] };
      unit.hours.push({ ...hour, reasons: [...new Set(reasons.split(' '))], raw: rawOf({ ids, ats }) });
      units.set(unitId, unit);
    }
    return [...units.values()];
  },

  newcomers: async (tx, { from, until }, limit) => {
    const { rows } = await tx.query<Omit<Newcomer, 'raw'> & { id: number; atText: string }>(
      `SELECT DISTINCT ON (d.unit_id) d.id, d.at, d.at::text AS "atText", u.id AS "unitId", u.serial_number AS "serialNumber",
         m.name AS gateway, past.gateways AS before,
         CASE WHEN d.line_sure AND NOT EXISTS (SELECT 1 FROM decision p WHERE ${BEFORE} AND p.line_id = d.line_id)
           THEN (SELECT name FROM line WHERE id = d.line_id) END AS "newLine"
       FROM (SELECT * FROM decision
         WHERE at > $1 AND at <= $2 AND unit_id IS NOT NULL AND key_proved AND stage = 'ike' AND verdict <> 'deny'
         LIMIT $3) AS d
       JOIN unit u ON u.id = d.unit_id JOIN machine m ON m.id = d.gateway_id
       CROSS JOIN LATERAL (
         SELECT array_agg(DISTINCT g.name ORDER BY g.name) AS gateways FROM decision p JOIN machine g ON g.id = p.gateway_id
         WHERE ${BEFORE}) AS past
       -- The gateway where it is is found at once, as a rule; the others are read only of those who are new there.
       WHERE NOT EXISTS (SELECT 1 FROM decision p WHERE ${BEFORE} AND p.gateway_id = d.gateway_id)
         AND past.gateways IS NOT NULL
       ORDER BY d.unit_id, d.at`,
      [from, until, limit],
    );
    return rows.map(({ id, atText, ...newcomer }) => ({ ...newcomer, raw: [{ id, at: atText }] }));
  },
};

const DENIALS_READ_MAX = 5_000;

const BEFORE = `p.unit_id = d.unit_id AND p.at < d.at AND p.at > d.at - interval '7 days' AND p.verdict <> 'deny'`;
