import { cursors } from '../../platform/ledger/cursors.pg.js';
import type { PrefixRow, SnapshotStore } from './snapshot.js';

const UNITS_A_FETCH = 5_000;

/**
 * Only who may serve now: ACTIVE, an open lineage, a head inside its life that is neither held nor revoked. Keys and order
 * are the database's work, so that the process only joins what comes.
 */
const UNITS = `
  SELECT substr(sha256(convert_to(u.fqdn, 'UTF8')), 1, 16) AS name, coalesce(u.line_id, 0) AS line,
    ${slotKey('h')} AS head, CASE WHEN p.serial IS NOT NULL THEN ${slotKey('p')} END AS previous
  FROM unit u
  JOIN lineage l ON l.unit_id = u.id AND l.state = 'open'
  JOIN LATERAL (
    SELECT generation, state, issuer_id, serial, not_after FROM lineage_slot s
    WHERE s.lineage_id = l.id AND s.state IN ('pending','confirmed') ORDER BY generation DESC LIMIT 1) h ON true
  LEFT JOIN lineage_slot p ON h.state = 'pending' AND p.lineage_id = l.id AND p.generation = h.generation - 1
    AND p.state = 'confirmed' AND p.not_after > $1 AND ${isGood('p')}
  WHERE u.state = 'ACTIVE' AND h.not_after > $1 AND ${isGood('h')}
  ORDER BY 1`;

function slotKey(slot: string): string {
  return `substr(sha256((SELECT key_identifier FROM issuer WHERE id = ${slot}.issuer_id) || ${slot}.serial), 1, 16)`;
}

function isGood(slot: string): string {
  return `NOT EXISTS (SELECT 1 FROM revoked_certificate r
    WHERE r.issuer_id = ${slot}.issuer_id AND r.serial = ${slot}.serial AND r.state <> 'released')`;
}

const NONE = Buffer.alloc(16);

export const snapshotStore: SnapshotStore = {
  begin: async (tx) => {
    await tx.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY');
  },

  position: (tx) => cursors.end(tx),

  units: async function* (tx, now) {
    await tx.query(`DECLARE snapshot_units NO SCROLL CURSOR FOR ${UNITS}`, [now]);
    for (;;) {
      const { rows } = await tx.query<{ name: Buffer; line: number; head: Buffer; previous: Buffer | null }>(
        `FETCH ${UNITS_A_FETCH} FROM snapshot_units`,
      );
      if (rows.length === 0) break;
      yield Buffer.concat(
        rows.flatMap(({ name, line, head, previous }) => {
          const lineId = Buffer.alloc(4);
          lineId.writeUInt32BE(line);
          return [name, lineId, head, previous ?? NONE];
        }),
      );
    }
    await tx.query('CLOSE snapshot_units');
  },

  // As the resolver looks: the longest prefix, and of equal ones the newest.
  prefixes: async (tx, now) => {
    const { rows } = await tx.query<PrefixRow>(
      `SELECT DISTINCT ON (masklen(prefix), prefix) family(prefix) AS family, masklen(prefix) AS bits,
         substr(inet_send(prefix), 5) AS address, authoritative, line_id AS "lineId"
       FROM line_prefix WHERE valid_from <= $1 AND (valid_to IS NULL OR valid_to > $1)
       ORDER BY masklen(prefix) DESC, prefix, valid_from DESC`,
      [now],
    );
    return rows;
  },
};
