import { byteaArray } from '../../platform/db/binary-array.js';
import type { RowSource } from '../../platform/db/row-source.js';
import type { Transaction } from '../../platform/db/transaction.js';
import type { CertificateReference, UnitSelection } from './revocation.js';
import type { BlockedKeyReader, KnownCertificate, RevocationStore, SelectedUnit } from './revocation-store.js';
import { isAmong, usableCertificates } from './usable-certificates.pg.js';

const COLUMNS = `issuer_id AS "issuerId", serial, not_after AS "notAfter", unit_id AS "unitId", purpose, spki_hash AS "spkiHash"`;

export const revocationStore: RevocationStore = {
  unitIds,

  batchesNamed: async (tx, name) =>
    (
      await tx.query<{ id: number; maker: string }>(
        'SELECT batch.id, maker.name AS maker FROM batch JOIN maker ON maker.id = maker_id WHERE batch.name = $1 ORDER BY 2',
        [name],
      )
    ).rows,

  factoryCredentialNamed: async (tx, name) =>
    (await tx.query<{ id: number }>('SELECT id FROM factory_credential WHERE name = $1', [name])).rows[0]?.id ?? null,

  lockUnits: async (tx, unitIds) =>
    (
      await tx.query<SelectedUnit>(
        `SELECT id, serial_number AS "serialNumber", state, key_protection AS "keyProtection",
           vendor_spki_hash AS "vendorSpkiHash"
         FROM unit WHERE id = ANY($1::int[]) ORDER BY id FOR NO KEY UPDATE`,
        [unitIds],
      )
    ).rows,

  certificatesOfUnits: (tx, unitIds, at) => usable(tx, isAmong('unit_id', '$2::int[]'), at, unitIds),

  usableOfUnits: (unitIds, at) => ({
    // The subject row by row, by key: joined, it would be a scan of all units or, badly estimated, each with each.
    sql: `SELECT issuer_id, serial, not_after, unit_id, spki_hash,
        (SELECT 'unit:' || u.serial_number FROM unit u WHERE u.id = s.unit_id) AS subject
      FROM (${usableCertificates(isAmong('unit_id', '$2::int[]'))}) AS s`,
    params: [at, unitIds],
  }),

  certificatesBy: (tx, by, at) => {
    switch (by.by) {
      case 'key':
        return usable(tx, 'spki_hash = $2::bytea', at, by.spkiHash);
      case 'lineage':
        return ofLineage(tx, at, by.lineageId);
      case 'certificate':
        return oneCertificate(tx, by);
    }
  },

  certificatesOfKeys: (tx, spkiHashes, at) =>
    usable(tx, isAmong('spki_hash', '$2::bytea[]'), at, byteaArray(spkiHashes)),

  heldByThemselves: async (tx, certificates) =>
    (
      await tx.query<CertificateReference>(
        `SELECT r.issuer_id AS "issuerId", r.serial, r.not_after AS "notAfter", r.unit_id AS "unitId"
         FROM unnest($1::smallint[], $2::bytea[]) AS s(issuer_id, serial)
         JOIN revoked_certificate r USING (issuer_id, serial) LEFT JOIN unit u ON u.id = r.unit_id
         WHERE r.state = 'held' AND (u.id IS NULL OR u.state IN ('BOOTSTRAPPED', 'ACTIVE', 'DORMANT'))`,
        [certificates.map(({ issuerId }) => issuerId), byteaArray(certificates.map(({ serial }) => serial))],
      )
    ).rows,

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

  ownCasOfKeys: async (tx, spkiHashes) =>
    (
      await tx.query<{ label: string }>('SELECT label FROM issuer WHERE spki_hash = ANY($1::bytea[]) ORDER BY label', [
        byteaArray(spkiHashes),
      ])
    ).rows.map(({ label }) => label),

  blockedAmong: async (tx, spkiHashes) =>
    new Set(
      (
        await tx.query<{ hex: string }>(
          `SELECT encode(spki_hash, 'hex') AS hex FROM blocked_key WHERE spki_hash = ANY($1::bytea[])`,
          [byteaArray(spkiHashes)],
        )
      ).rows.map(({ hex }) => hex),
    ),

  unitsOfVendorKeys: async (tx, spkiHashes) =>
    (
      await tx.query<{ id: number; spkiHash: Buffer }>(
        `SELECT id, vendor_spki_hash AS "spkiHash" FROM unit WHERE vendor_spki_hash = ANY($1::bytea[]) ORDER BY id`,
        [byteaArray(spkiHashes)],
      )
    ).rows,

  firstOwners: async (tx, spkiHashes) =>
    new Map(
      (
        await tx.query<{ hex: string; owner: string }>(
          `SELECT encode(spki_hash, 'hex') AS hex, owner_kind || ' ' || owner_name AS owner FROM key_seen
           WHERE spki_hash = ANY($1::bytea[]) AND owner_kind <> 'blocked'`,
          [byteaArray(spkiHashes)],
        )
      ).rows.map(({ hex, owner }) => [hex, owner]),
    ),

  blockKeys: async (tx, keys, { reason, source, at }) => {
    const isList = Array.isArray(keys);
    const params = isList ? [byteaArray(keys)] : [...(keys as RowSource).params];
    const hashes = isList
      ? 'SELECT DISTINCT hash FROM unnest($1::bytea[]) AS k(hash)'
      : `SELECT DISTINCT spki_hash AS hash FROM (${(keys as RowSource).sql}) AS s`;
    const more = (n: number): string => `$${params.length + n}`;
    const { rowCount } = await tx.query(
      `INSERT INTO blocked_key (spki_hash, reason, source, at)
       SELECT hash, ${more(1)}, ${more(2)}, ${more(3)}::timestamptz FROM (${hashes}) AS k ORDER BY hash ON CONFLICT DO NOTHING`,
      [...params, reason, source, at],
    );
    // A key that somebody is claiming in an open transaction has a row we cannot see yet; this insert waits for its end,
    // so that what it intends to sign is seen by the query that follows. A blocked key counts as seen (KEY-1).
    await tx.query(
      `INSERT INTO key_seen (spki_hash, unit_id, owner_kind, owner_name, attempt_id, first_seen_at)
       SELECT hash, NULL::int, 'blocked', ${more(1)}, '00000000-0000-0000-0000-000000000000'::uuid, ${more(2)}::timestamptz
       FROM (${hashes}) AS k ORDER BY hash ON CONFLICT DO NOTHING`,
      [...params, source, at],
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

async function unitIds(
  tx: Transaction,
  selection: UnitSelection,
  within: readonly string[] | null = null,
): Promise<number[]> {
  const ids = async (condition: string, ...params: readonly unknown[]) => {
    // Two texts, because an "is it null or" would cost the index on serial numbers.
    const among = within === null ? '' : `AND unit.serial_number = ANY($${params.length + 1}::text[])`;
    const sql = `SELECT unit.id FROM unit JOIN batch ON batch.id = unit.batch_id WHERE ${condition} ${among} ORDER BY unit.id`;
    return (await tx.query<{ id: number }>(sql, within === null ? params : [...params, within])).rows.map(
      ({ id }) => id,
    );
  };
  switch (selection.by) {
    case 'unit':
      return ids('unit.id = $1', selection.unitId);
    case 'units':
      return ids('unit.id = ANY($1::int[])', selection.unitIds);
    case 'serial-numbers':
      return ids('unit.serial_number = ANY($1::text[])', selection.serialNumbers);
    case 'batch':
      return ids('unit.batch_id = $1', selection.batchId);
    case 'model':
      return selection.firmwareSha256 === undefined
        ? ids('unit.model = $1', selection.model)
        : ids('unit.model = $1 AND batch.firmware_sha256 = $2', selection.model, selection.firmwareSha256);
    case 'factory-credential':
      // Which credential a certificate was issued for stands in the ledger alone; its batch bounds the search.
      return ids(
        `unit.batch_id = (SELECT batch_id FROM factory_credential WHERE id = $1) AND (
           EXISTS (SELECT 1 FROM ledger e WHERE e.subject = 'unit:' || unit.serial_number
             AND e.kind = 'certificate.intended' AND (e.body::json->>'credentialId')::int = $1)
           OR 'unit:' || unit.serial_number IN (SELECT subject FROM ledger_inbox e
             WHERE e.kind = 'certificate.intended' AND (e.body::json->>'credentialId')::int = $1))`,
        selection.credentialId,
      );
  }
}

async function usable(tx: Transaction, where: string, at: Date, value: unknown): Promise<KnownCertificate[]> {
  const { rows } = await tx.query<KnownCertificate>(`SELECT ${COLUMNS} FROM (${usableCertificates(where)}) AS usable`, [
    at,
    value,
  ]);
  return rows;
}

/** By the slots' own keys: the certificates' partitions have no index over slots. */
async function ofLineage(tx: Transaction, at: Date, lineageId: number): Promise<KnownCertificate[]> {
  const { rows } = await tx.query<{ spki_hash: Buffer }>(
    'SELECT DISTINCT spki_hash FROM lineage_slot WHERE lineage_id = $1',
    [lineageId],
  );
  const ofKeys = await usable(
    tx,
    isAmong('spki_hash', '$2::bytea[]'),
    at,
    byteaArray(rows.map((row) => row.spki_hash)),
  );
  return ofKeys.filter(({ purpose }) => purpose === 'operational');
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
