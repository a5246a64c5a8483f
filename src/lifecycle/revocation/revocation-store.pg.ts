import type { Transaction } from '../../platform/db/transaction.js';
import type { Selection } from './revocation.js';
import type { BlockedKeyReader, KnownCertificate, RevocationStore, SelectedUnit } from './revocation-store.js';

/** An expired head or head − 1 may still renew this long after notAfter (rules 4), so a revocation must reach it. */
const COMEBACK = `interval '31 days'`;

const COLUMNS = `issuer_id AS "issuerId", serial, not_after AS "notAfter", unit_id AS "unitId", purpose, spki_hash AS "spkiHash"`;

export const revocationStore: RevocationStore = {
  unitIds,

  lockUnits: async (tx, unitIds) =>
    (
      await tx.query<SelectedUnit>(
        `SELECT id, serial_number AS "serialNumber", state, key_protection AS "keyProtection",
           vendor_spki_hash AS "vendorSpkiHash"
         FROM unit WHERE id = ANY($1::int[]) ORDER BY id FOR NO KEY UPDATE`,
        [unitIds],
      )
    ).rows,

  certificatesOfUnits: (tx, unitIds, at) => usable(tx, 'unit_id = ANY($2::int[])', at, unitIds),

  certificatesBy: (tx, by, at) => {
    switch (by.by) {
      case 'key':
        return usable(tx, 'spki_hash = $2::bytea', at, by.spkiHash);
      case 'lineage':
        return usable(tx, 'slot_id IN (SELECT id FROM lineage_slot WHERE lineage_id = $2::bigint)', at, by.lineageId);
      case 'certificate':
        return oneCertificate(tx, by);
    }
  },

  heldOf: async (tx, unitId) =>
    (
      await tx.query<{ issuerId: number; serial: Buffer; notAfter: Date; unitId: number }>(
        `SELECT r.issuer_id AS "issuerId", r.serial, r.not_after AS "notAfter", r.unit_id AS "unitId"
         FROM revoked_certificate r
         WHERE r.unit_id = $1 AND r.state = 'held' AND EXISTS (
           SELECT 1 FROM certificate c WHERE c.not_after = r.not_after AND c.issuer_id = r.issuer_id AND c.serial = r.serial)
         ORDER BY r.issuer_id, r.serial`,
        [unitId],
      )
    ).rows,

  isRevoked: async (tx, { issuerId, serial }) =>
    (
      await tx.query(`SELECT 1 FROM revoked_certificate WHERE issuer_id = $1 AND serial = $2 AND state = 'revoked'`, [
        issuerId,
        serial,
      ])
    ).rowCount > 0,

  isRecorded: async (tx, { issuerId, serial }) =>
    (
      await tx.query(
        `SELECT 1 FROM certificate WHERE issuer_id = $1 AND serial = $2
         UNION ALL SELECT 1 FROM issuance_intent WHERE issuer_id = $1 AND serial = $2`,
        [issuerId, serial],
      )
    ).rowCount > 0,

  isOwnCaKey: async (tx, spkiHash) =>
    (await tx.query('SELECT 1 FROM issuer WHERE spki_hash = $1', [spkiHash])).rowCount > 0,

  blockKeys: async (tx, spkiHashes, { reason, source, at }) => {
    const { rowCount } = await tx.query(
      `INSERT INTO blocked_key (spki_hash, reason, source, at)
       SELECT DISTINCT hash, $2, $3, $4::timestamptz FROM unnest($1::bytea[]) AS k(hash) ORDER BY hash
       ON CONFLICT DO NOTHING`,
      [spkiHashes, reason, source, at],
    );
    // A key that somebody is claiming in an open transaction has a row we cannot see yet; this insert waits for its end,
    // so that what it intends to sign is seen by the query that follows. A blocked key counts as seen (KEY-1).
    await tx.query(
      `INSERT INTO key_seen (spki_hash, unit_id, owner_kind, owner_name, attempt_id, first_seen_at)
       SELECT DISTINCT hash, NULL::int, 'blocked', $2, '00000000-0000-0000-0000-000000000000'::uuid, $3::timestamptz
       FROM unnest($1::bytea[]) AS k(hash) ORDER BY hash ON CONFLICT DO NOTHING`,
      [spkiHashes, source, at],
    );
    return rowCount;
  },

  serialNumbers: async (tx, unitIds) => {
    const { rows } = await tx.query<{ id: number; serial_number: string }>(
      'SELECT id, serial_number FROM unit WHERE id = ANY($1::int[])',
      [unitIds],
    );
    return new Map(rows.map((row) => [row.id, row.serial_number]));
  },

  lastReporter: async (tx, unitId) =>
    (
      await tx.query<{ actor: string }>(
        `SELECT actor FROM unit_history WHERE unit_id = $1 AND to_state = 'LOST' ORDER BY id DESC LIMIT 1`,
        [unitId],
      )
    ).rows[0]?.actor ?? null,

  lockRestrictionUse: async (tx, personId, since) => {
    await tx.query('SELECT 1 FROM person WHERE id = $1 FOR NO KEY UPDATE', [personId]);
    const { rows } = await tx.query<{ used: number }>(
      'SELECT coalesce(sum(units), 0)::int AS used FROM restriction_use WHERE person_id = $1 AND at > $2',
      [personId, since],
    );
    return rows[0]?.used ?? 0;
  },

  addRestrictionUse: async (tx, { personId, at, units, what }) => {
    await tx.query('INSERT INTO restriction_use (person_id, at, units, what) VALUES ($1, $2, $3, $4)', [
      personId,
      at,
      units,
      what,
    ]);
  },
};

export const blockedKeyReader: BlockedKeyReader = {
  isBlockedKey: async (tx, spkiHash) =>
    (await tx.query('SELECT 1 FROM blocked_key WHERE spki_hash = $1', [spkiHash])).rowCount > 0,
};

async function unitIds(tx: Transaction, selection: Selection): Promise<number[] | null> {
  const ids = async (sql: string, params: readonly unknown[]) =>
    (await tx.query<{ id: number }>(`${sql} ORDER BY id`, params)).rows.map(({ id }) => id);
  switch (selection.by) {
    case 'unit':
      return ids('SELECT id FROM unit WHERE id = $1', [selection.unitId]);
    case 'units':
      return ids('SELECT id FROM unit WHERE id = ANY($1::int[])', [selection.unitIds]);
    case 'batch':
      return ids('SELECT id FROM unit WHERE batch_id = $1', [selection.batchId]);
    case 'model':
      return ids(
        `SELECT unit.id FROM unit JOIN batch ON batch.id = unit.batch_id
         WHERE unit.model = $1 AND ($2::text IS NULL OR batch.firmware_sha256 = $2)`,
        [selection.model, selection.firmwareSha256 ?? null],
      );
    case 'factory-credential':
      // Which credential a certificate was issued for stands in the ledger alone; its batch bounds the search.
      return ids(
        `WITH candidates AS (
           SELECT unit.id, 'unit:' || unit.serial_number AS subject FROM factory_credential c
           JOIN unit ON unit.batch_id = c.batch_id WHERE c.id = $1)
         SELECT DISTINCT c.id FROM candidates c JOIN (
           SELECT subject, kind, body FROM ledger UNION ALL SELECT subject, kind, body FROM ledger_inbox) e
           ON e.subject = c.subject AND e.kind = 'certificate.intended'
          AND (e.body::json->>'credentialId')::int = $1`,
        [selection.credentialId],
      );
    case 'certificate':
    case 'key':
    case 'lineage':
      return null;
  }
}

/** @param where  a condition on the columns that certificate and issuance_intent share, over parameter $2 */
async function usable(tx: Transaction, where: string, at: Date, value: unknown): Promise<KnownCertificate[]> {
  const { rows } = await tx.query<KnownCertificate>(
    `SELECT ${COLUMNS} FROM certificate c WHERE ${where} AND c.not_after > $1
     UNION
     SELECT ${COLUMNS} FROM certificate c
       WHERE ${where} AND c.not_after > $1::timestamptz - ${COMEBACK} AND c.not_after <= $1 AND EXISTS (
         SELECT 1 FROM lineage_slot s JOIN lineage l ON l.id = s.lineage_id AND l.state <> 'closed'
         WHERE s.id = c.slot_id AND s.state IN ('pending', 'confirmed') AND NOT EXISTS (
           SELECT 1 FROM lineage_slot n WHERE n.lineage_id = s.lineage_id AND n.generation > s.generation + 1
             AND n.state IN ('pending', 'confirmed')))
     UNION
     SELECT ${COLUMNS} FROM issuance_intent i WHERE ${where} AND i.state = 'signing' AND i.not_after > $1`,
    [at, value],
  );
  return rows;
}

async function oneCertificate(
  tx: Transaction,
  { issuerId, serial }: { issuerId: number; serial: Buffer },
): Promise<KnownCertificate[]> {
  const { rows } = await tx.query<KnownCertificate>(
    `SELECT ${COLUMNS} FROM certificate WHERE issuer_id = $1 AND serial = $2
     UNION SELECT ${COLUMNS} FROM issuance_intent WHERE issuer_id = $1 AND serial = $2 AND state = 'signing'`,
    [issuerId, serial],
  );
  return rows;
}
