import type { LineSighting, MovedUnit } from './movement.js';
import { type RawColumns, rawOf } from './raw-columns.js';
import type { UnitTraffic } from './traffic-store.js';

export const moves: Pick<UnitTraffic, 'movers' | 'moved'> = {
  movers: async (tx, { from, until }, { afterUnitId, limit }) => {
    const { rows } = await tx.query<{ unitId: number; at: Date }>(
      `SELECT unit_id AS "unitId", max(at) AS at FROM (
         SELECT d.unit_id, d.at FROM decision d JOIN unit u ON u.id = d.unit_id
         WHERE d.at > $1 AND d.at <= $2 AND d.unit_id > $3 AND d.line_sure AND d.line_id IS DISTINCT FROM u.line_id
         UNION ALL
         SELECT e.unit_id, e.at FROM (
           SELECT unit_id, address, max(at) AS at FROM session_event
           WHERE received_at > $1 AND received_at <= $2 AND unit_id > $3 AND kind <> 'down' GROUP BY unit_id, address) e
         JOIN unit u ON u.id = e.unit_id CROSS JOIN LATERAL (${lineOf('e.address', 'e.at')}) p
         WHERE p.authoritative AND p.line_id IS DISTINCT FROM u.line_id) AS away
       GROUP BY unit_id ORDER BY unit_id LIMIT $4`,
      [from, until, afterUnitId, limit],
    );
    return rows;
  },

  moved: async (tx, suspects) => {
    const { rows } = await tx.query<Omit<MovedUnit, 'sightings'> & Omit<LineSighting, 'raw'> & RawColumns>(
      `SELECT u.id AS "unitId", u.serial_number AS "serialNumber", s.line, s.region, s.home AS "isHome",
         s.proved AS "keyProved", s.first_at AS "firstAt", s.last_at AS "lastAt", s.address, s.gateways, s.ids, s.ats
       FROM unnest($1::int[], $2::timestamptz[]) AS a(unit_id, at) JOIN unit u ON u.id = a.unit_id
       CROSS JOIN LATERAL (
         SELECT l.name AS line, l.region, bool_or(${WAS_OWN_LINE}) AS home, bool_or(t.proved) AS proved,
           min(t.at) AS first_at, max(t.at) AS last_at, host((array_agg(t.address ORDER BY t.at))[1]) AS address,
           array_agg(DISTINCT m.name) AS gateways,
           (array_agg(t.id ORDER BY t.at) FILTER (WHERE t.id IS NOT NULL))[1:4] AS ids,
           (array_agg(t.at::text ORDER BY t.at) FILTER (WHERE t.id IS NOT NULL))[1:4] AS ats
         FROM (
           SELECT d.id, d.at, d.line_id, d.address, d.gateway_id, d.key_proved AS proved FROM decision d
           WHERE d.unit_id = a.unit_id AND d.at > a.at - interval '24 hours' AND d.at <= a.at AND d.line_sure
             -- Whoever is refused at home was not there for certain, unless by its key.
             AND (d.key_proved OR d.verdict <> 'deny' OR d.line_id IS DISTINCT FROM u.line_id)
           UNION ALL
           -- Sessions that nobody asked about, as while we were dark: their gateway's word, and no proof of a key.
           SELECT NULL, s.seen_at, p.line_id, s.address, s.gateway_id, false FROM unit_session s
           CROSS JOIN LATERAL (${lineOf('s.address', 's.seen_at')}) p
           WHERE s.unit_id = a.unit_id AND s.seen_at > a.at - interval '24 hours' AND s.seen_at <= a.at AND p.authoritative
         ) AS t JOIN line l ON l.id = t.line_id JOIN machine m ON m.id = t.gateway_id
         GROUP BY l.id, date_trunc('hour', t.at)) AS s
       ORDER BY u.id, s.first_at`,
      [suspects.map(({ unitId }) => unitId), suspects.map(({ at }) => at)],
    );
    const units = new Map<number, MovedUnit & { sightings: LineSighting[] }>();
    for (const { unitId, serialNumber, ids, ats, ...sighting } of rows) {
      const unit = units.get(unitId) ?? { unitId, serialNumber, sightings: [] };
      unit.sightings.push({ ...sighting, raw: rawOf({ ids, ats }) });
      units.set(unitId, unit);
    }
    return [...units.values()];
  },
};

/** The longest prefix that holds an address at an instant, as admission's own reading has it. */
function lineOf(address: string, at: string): string {
  return `SELECT p.line_id, p.authoritative FROM line_prefix p
    WHERE p.prefix >>= ${address} AND p.valid_from <= ${at} AND (p.valid_to IS NULL OR p.valid_to > ${at})
    ORDER BY masklen(p.prefix) DESC, p.valid_from DESC LIMIT 1`;
}

/** Bound to it now, or released from it after it was seen there. */
const WAS_OWN_LINE = `l.id = u.line_id OR EXISTS (SELECT 1 FROM binding_history b
  WHERE b.unit_id = u.id AND b.what = 'line' AND b.action = 'released' AND b.value = l.name AND b.at >= t.at)`;
