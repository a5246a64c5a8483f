import { byteaArray, int4Array, textArray, timestamptzArray } from '../../platform/db/binary-array.js';
import type { SlotState, UnitState } from '../model/index.js';
import type { AdmissionReader, KnownFacts, KnownSlot, KnownUnit } from './facts.js';

/**
 * One statement for all who ask at once, planned once a connection. It reads the tables of other rooms and writes none:
 * room by room it would be ten statements each, and what they see would be of ten instants.
 */
export const factsReader: AdmissionReader = {
  facts: async (tx, asked, at) => {
    const { rows } = await tx.query<Row>(
      FACTS,
      [
        int4Array(asked.map(({ issuerId }) => issuerId)),
        byteaArray(asked.map(({ shown }) => shown.serial)),
        timestamptzArray(asked.map(({ shown }) => shown.notAfter)),
        byteaArray(asked.map(({ shown }) => shown.whole?.spki.spkiHash ?? NO_KEY)),
        byteaArray(asked.map(({ shown }) => shown.der)),
        textArray(asked.map(({ address }) => address)),
        at,
      ],
      { preparedAs: 'admission-facts' },
    );
    const [first] = rows;
    if (first === undefined || rows.length !== asked.length) throw new Error('facts do not answer what was asked');
    return {
      known: rows.map(knownOf),
      position: { epoch: first.epoch, seq: first.seq },
      policyVersion: first.policyVersion,
      stateAgeMs: first.stateAgeMs,
    };
  },
};

/** A key that nobody has: the record's own is asked about. */
const NO_KEY = Buffer.alloc(0);

interface Row {
  readonly epoch: number;
  readonly seq: number;
  readonly policyVersion: number | null;
  readonly stateAgeMs: number | null;
  readonly serialKnown: boolean;
  readonly recorded: boolean | null;
  readonly status: 'held' | 'revoked' | 'released' | null;
  readonly keyBlocked: boolean;
  readonly unitId: number | null;
  readonly serialNumber: string;
  readonly fqdn: string;
  readonly unitState: UnitState;
  readonly model: string;
  readonly batch: string;
  readonly unitLineId: number | null;
  readonly region: string | null;
  readonly cell: string | null;
  readonly lastContactAt: Date | null;
  readonly mayMove: boolean;
  readonly slotId: number | null;
  readonly lineageId: number;
  readonly lineageState: KnownSlot['lineageState'];
  readonly generation: number;
  readonly slotState: SlotState;
  readonly slotSpkiHash: Buffer;
  readonly confirmedAt: Date | null;
  readonly lastUsedAt: Date | null;
  readonly slotLineId: number | null;
  readonly hasOthers: boolean;
  readonly lineId: number | null;
  readonly lineName: string;
  readonly authoritative: boolean;
}

/**
 * The longest prefix that holds the address, by the ordered index: the greatest one that is not behind the address either
 * holds it, or what holds it holds both. Two or three steps; the GiST index takes thirty pages where every unit has a
 * prefix of its own.
 */
const VALID = 'p.valid_from <= $7 AND (p.valid_to IS NULL OR p.valid_to > $7)';
const LINE_OF_ADDRESS = `
    WITH RECURSIVE nearest AS (
      (SELECT p.prefix, p.line_id, p.authoritative FROM line_prefix p
       WHERE p.prefix <= a.address::cidr AND ${VALID} ORDER BY p.prefix DESC, p.valid_from DESC LIMIT 1)
      UNION ALL
      SELECT wider.* FROM nearest n CROSS JOIN LATERAL (
        SELECT p.prefix, p.line_id, p.authoritative FROM line_prefix p
        WHERE p.prefix <= CASE WHEN family(n.prefix) = family(a.address) THEN inet_merge(n.prefix, a.address) END
          AND ${VALID} ORDER BY p.prefix DESC, p.valid_from DESC LIMIT 1) wider
      WHERE NOT n.prefix >>= a.address)
    SELECT line_id, authoritative FROM nearest WHERE prefix >>= a.address`;

const FACTS = `
  WITH asked AS (
    SELECT issuer_id::smallint, serial, not_after, spki_hash, der, address::inet, n
    FROM unnest($1::int[], $2::bytea[], $3::timestamptz[], $4::bytea[], $5::bytea[], $6::text[])
      WITH ORDINALITY AS a(issuer_id, serial, not_after, spki_hash, der, address, n))
  SELECT coalesce((SELECT epoch FROM installation), 1) AS epoch,
    coalesce((SELECT size FROM ledger_frontier WHERE epoch = coalesce((SELECT epoch FROM installation), 1)), 0) AS seq,
    (SELECT version FROM network_policy WHERE state = 'active') AS "policyVersion",
    (SELECT (extract(epoch FROM clock_timestamp() - h.at) * 1000)::int FROM heartbeat h) AS "stateAgeMs",
    c.serial IS NOT NULL AS "serialKnown", c.der = a.der AS recorded, r.state AS status,
    b.spki_hash IS NOT NULL AS "keyBlocked",
    u.id AS "unitId", u.serial_number AS "serialNumber", u.fqdn, u.state AS "unitState", u.model, batch.name AS batch,
    u.line_id AS "unitLineId", own.region, cell.id AS cell, u.last_contact_at AS "lastContactAt",
    u.line_id IS DISTINCT FROM p.line_id AND EXISTS (
      SELECT 1 FROM relocation_order o
      WHERE o.unit_id = u.id AND o.state = 'open' AND o.line_id = p.line_id AND o.expires_at > $7) AS "mayMove",
    s.id AS "slotId", s.lineage_id AS "lineageId", l.state AS "lineageState", s.generation, s.state AS "slotState",
    s.spki_hash AS "slotSpkiHash", s.confirmed_at AS "confirmedAt", s.last_used_at AS "lastUsedAt",
    s.line_id AS "slotLineId", EXISTS (
      SELECT 1 FROM lineage_slot o
      WHERE o.lineage_id = s.lineage_id AND o.generation >= s.generation AND o.id <> s.id) AS "hasOthers",
    p.line_id AS "lineId", found.name AS "lineName", p.authoritative
  FROM asked a
  LEFT JOIN certificate c ON c.not_after = a.not_after AND c.issuer_id = a.issuer_id AND c.serial = a.serial
  LEFT JOIN revoked_certificate r ON r.issuer_id = a.issuer_id AND r.serial = a.serial
  LEFT JOIN blocked_key b ON b.spki_hash = CASE WHEN c.der = a.der THEN c.spki_hash ELSE a.spki_hash END
  LEFT JOIN unit u ON u.id = c.unit_id
  LEFT JOIN batch ON batch.id = u.batch_id
  LEFT JOIN line own ON own.id = u.line_id
  LEFT JOIN cell ON cell.unit_id = u.id
  LEFT JOIN lineage_slot s ON s.issuer_id = a.issuer_id AND s.serial = a.serial
  LEFT JOIN lineage l ON l.id = s.lineage_id
  LEFT JOIN LATERAL (${LINE_OF_ADDRESS}) p ON true
  LEFT JOIN line found ON found.id = p.line_id
  ORDER BY a.n`;

function knownOf(row: Row): KnownFacts {
  const recorded = row.recorded === true;
  return {
    serialKnown: row.serialKnown,
    recorded,
    status: row.status === null || row.status === 'released' ? 'good' : row.status,
    keyBlocked: row.keyBlocked,
    // Whoever shows other bytes under a serial of ours is told and charged nothing of the unit's.
    unit: recorded ? unitOf(row) : null,
    slot: recorded ? slotOf(row) : null,
    line: row.lineId === null ? null : { lineId: row.lineId, name: row.lineName, authoritative: row.authoritative },
  };
}

function unitOf(row: Row): KnownUnit | null {
  if (row.unitId === null) return null;
  const { serialNumber, fqdn, model, batch, region, cell, lastContactAt, mayMove } = row;
  return {
    id: row.unitId,
    serialNumber,
    fqdn,
    state: row.unitState,
    model,
    batch,
    lineId: row.unitLineId,
    region,
    cell,
    lastContactAt,
    mayMove,
  };
}

function slotOf(row: Row): KnownSlot | null {
  if (row.slotId === null) return null;
  const { lineageId, lineageState, generation, confirmedAt, lastUsedAt, hasOthers } = row;
  return {
    id: row.slotId,
    lineageId,
    lineageState,
    generation,
    state: row.slotState,
    spkiHash: row.slotSpkiHash,
    confirmedAt,
    lastUsedAt,
    lineId: row.slotLineId,
    hasOthers,
  };
}
