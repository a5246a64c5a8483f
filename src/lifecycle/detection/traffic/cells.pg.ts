import type { ClaimedCell, ClaimingUnit } from './cell-conflict.js';
import { type RawColumns, rawOf } from './raw-columns.js';
import type { UnitTraffic } from './traffic-store.js';

export const cells: Pick<UnitTraffic, 'claimers' | 'claimed'> = {
  claimers: async (tx, { from, until }, { afterUnitId, limit }) => {
    const { rows } = await tx.query<{ unitId: number; at: Date }>(
      // With whoever was refused with the same cell within the day: one more on a cell is news about all of them.
      `SELECT o.unit_id AS "unitId", max(o.at) AS at
       FROM (SELECT DISTINCT cell FROM decision WHERE at > $1 AND at <= $2 AND unit_id IS NOT NULL AND ${REFUSED}) AS c
       CROSS JOIN LATERAL (
         SELECT unit_id, at FROM decision
         WHERE cell = c.cell AND at > $2::timestamptz - interval '24 hours' AND at <= $2 AND ${REFUSED}
         ORDER BY at DESC LIMIT ${CLAIMS_READ_MAX}) AS o
       WHERE o.unit_id > $3 GROUP BY o.unit_id ORDER BY o.unit_id LIMIT $4`,
      [from, until, afterUnitId, limit],
    );
    return rows;
  },

  claimed: async (tx, suspects) => {
    const { rows } = await tx.query<Omit<ClaimingUnit, 'cells'> & Omit<ClaimedCell, 'raw'> & RawColumns>(
      `SELECT u.id AS "unitId", u.serial_number AS "serialNumber", c.cell, c.own AS "isOwn", c.proved AS "keyProved",
         c.first_at AS "firstAt", c.last_at AS "lastAt", c.gateways, c.ids, c.ats,
         (SELECT o.serial_number FROM cell k JOIN unit o ON o.id = k.unit_id WHERE k.id = c.cell AND o.id <> u.id) AS owner,
         ARRAY(${OTHERS}) AS others, ${NEIGHBOURS} AS neighbours
       FROM unnest($1::int[], $2::timestamptz[]) AS a(unit_id, at) JOIN unit u ON u.id = a.unit_id
       CROSS JOIN LATERAL (
         SELECT d.cell, bool_or(${WAS_OWN_CELL}) AS own, bool_or(d.key_proved) AS proved, min(d.at) AS first_at,
           max(d.at) AS last_at, array_remove(array_agg(DISTINCT m.name), NULL) AS gateways,
           (array_agg(d.id ORDER BY d.at))[1:20] AS ids, (array_agg(d.at::text ORDER BY d.at))[1:20] AS ats
         FROM (SELECT * FROM decision
           WHERE unit_id = a.unit_id AND at > a.at - interval '24 hours' AND cell IS NOT NULL
           ORDER BY at DESC LIMIT ${CLAIMS_READ_MAX}) AS d LEFT JOIN machine m ON m.id = d.gateway_id
         GROUP BY d.cell ORDER BY min(d.at) LIMIT ${CELLS_SHOWN_MAX}) AS c
       ORDER BY u.id, c.first_at`,
      [suspects.map(({ unitId }) => unitId), suspects.map(({ at }) => at)],
    );
    const units = new Map<number, ClaimingUnit & { cells: ClaimedCell[] }>();
    for (const { unitId, serialNumber, ids, ats, ...claim } of rows) {
      const unit = units.get(unitId) ?? { unitId, serialNumber, cells: [] };
      unit.cells.push({ ...claim, raw: rawOf({ ids, ats }) });
      units.set(unitId, unit);
    }
    return [...units.values()];
  },
};

const REFUSED = `cell IS NOT NULL AND 'CELL_MISMATCH' = ANY(reasons)`;
const CLAIMS_READ_MAX = 2_000;
const CELLS_SHOWN_MAX = 20;

/** It has it now, or it was taken from it after it was claimed. */
const WAS_OWN_CELL = `EXISTS (SELECT 1 FROM cell k WHERE k.id = d.cell AND k.unit_id = u.id) OR EXISTS (
  SELECT 1 FROM binding_history b
  WHERE b.unit_id = u.id AND b.what = 'cell' AND b.action = 'released' AND b.value = d.cell AND b.at >= d.at)`;

/** Whoever was refused with it: who had it a moment ago is none of them. */
const OTHERS = `SELECT DISTINCT o.serial_number FROM (
    SELECT x.unit_id FROM decision x
    WHERE x.cell = c.cell AND x.at > a.at - interval '24 hours' AND x.key_proved AND x.unit_id <> u.id AND ${REFUSED}
    ORDER BY x.at DESC LIMIT ${CLAIMS_READ_MAX}) AS x
  JOIN unit o ON o.id = x.unit_id ORDER BY 1 LIMIT ${CELLS_SHOWN_MAX}`;

const NEIGHBOURS = `coalesce((SELECT json_agg(json_build_object('cell', n.id, 'unit', o.serial_number) ORDER BY n.id) FROM (
    (SELECT k.id, k.unit_id FROM cell k WHERE k.id < c.cell ORDER BY k.id DESC LIMIT 3) UNION ALL
    (SELECT k.id, k.unit_id FROM cell k WHERE k.id > c.cell ORDER BY k.id LIMIT 3)) AS n
  LEFT JOIN unit o ON o.id = n.unit_id), '[]')`;
