import { byteaArray } from '../../platform/db/binary-array.js';
import { oneOf } from '../../platform/db/set-statement.js';
import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Unit, UnitState } from '../model/index.js';
import { moveStates } from './move-states.pg.js';
import type { Profile, RowLock, StateHistoryRow } from './registry.js';
import type { ContactTouch, NewUnit, UnitKey, UnitStore } from './unit-store.js';

const UNIT_COLUMNS = `id, maker_id AS "makerId", batch_id AS "batchId", serial_number AS "serialNumber", eui, fqdn, model,
  profile, state, revocation_epoch AS "revocationEpoch", line_id AS "lineId", vendor_spki_hash AS "vendorSpkiHash"`;

// NO KEY UPDATE: a state change must not make every insert of a row that refers to the unit wait.
const LOCK_CLAUSE: Readonly<Record<RowLock, string>> = { share: 'FOR SHARE', update: 'FOR NO KEY UPDATE' };

const byId = {
  free: oneOf((tx, ids: readonly number[]) => unitsById(tx, ids, '')),
  share: oneOf((tx, ids: readonly number[]) => unitsById(tx, ids, LOCK_CLAUSE.share)),
  update: oneOf((tx, ids: readonly number[]) => unitsById(tx, ids, LOCK_CLAUSE.update)),
} as const;
const bySerialNumber = oneOf(unitsBySerialNumber);
const writeState = oneOf(writeStates);
const appendHistory = oneOf(appendHistories);
const touchContact = oneOf(touchContacts);
const profile = oneOf(profilesByName);

export const unitStore: UnitStore = {
  find: async (tx, by, lock) => {
    if ('id' in by) return byId[lock ?? 'free'](tx, by.id);
    if ('serialNumber' in by && lock === undefined) return bySerialNumber(tx, by.serialNumber);
    const [column, value] = keyOf(by);
    const { rows } = await tx.query<Unit>(
      `SELECT ${UNIT_COLUMNS} FROM unit WHERE ${column} = $1 ${lock === undefined ? '' : LOCK_CLAUSE[lock]}`,
      [value],
    );
    return rows[0] ?? null;
  },

  writeState: (tx, change) => writeState(tx, change),

  moveStates,

  appendHistory: (tx, rows) => appendHistory(tx, rows),

  history: async (tx, unitId) => {
    const { rows } = await tx.query<StateHistoryRow>(
      `SELECT from_state AS "from", to_state AS "to", actor, reason, evidence, at
       FROM unit_history WHERE unit_id = $1 ORDER BY id`,
      [unitId],
    );
    return rows;
  },

  raiseRevocationEpoch: async (tx, unitIds) => {
    // Locked in id order first: two bulk revocations that overlap wait for each other instead of deadlocking.
    await tx.query(
      `WITH locked AS (SELECT id FROM unit WHERE id = ANY($1::int[]) ORDER BY id FOR NO KEY UPDATE)
       UPDATE unit SET revocation_epoch = revocation_epoch + 1 FROM locked WHERE unit.id = locked.id`,
      [unitIds],
    );
  },

  touchContact: (tx, touch) => touchContact(tx, touch),

  writeProfile: async (tx, unitId, profile) => {
    await tx.query('UPDATE unit SET profile = $2 WHERE id = $1', [unitId, profile]);
  },

  writeLine: async (tx, unitId, lineId) => {
    await tx.query('UPDATE unit SET line_id = $2 WHERE id = $1', [unitId, lineId]);
  },

  profile: (tx, name) => profile(tx, name),

  taken: async (tx, rows) => {
    const query = async (sql: string, values: readonly string[] | Buffer) =>
      (await tx.query<{ value: string }>(sql, [values])).rows.map(({ value }) => value);
    return {
      serialNumbers: await query(
        'SELECT serial_number AS value FROM unit WHERE serial_number = ANY($1::text[])',
        rows.map((row) => row.serialNumber),
      ),
      euis: await query(
        'SELECT eui AS value FROM unit WHERE eui = ANY($1::text[])',
        rows.map((row) => row.eui),
      ),
      hardware: await query(
        `SELECT product_class || '/' || hardware_id AS value FROM unit
         WHERE product_class || '/' || hardware_id = ANY($1::text[])`,
        rows.map(hardwareKey),
      ),
      vendorKeys: await query(
        `SELECT encode(k.hash, 'hex') AS value FROM unnest($1::bytea[]) AS k(hash)
         WHERE EXISTS (SELECT 1 FROM key_seen WHERE spki_hash = k.hash)
            OR EXISTS (SELECT 1 FROM unit WHERE vendor_spki_hash = k.hash)
            OR EXISTS (SELECT 1 FROM machine WHERE spki_hash = k.hash)
            OR EXISTS (SELECT 1 FROM issuer WHERE spki_hash = k.hash)`,
        byteaArray(rows.flatMap(({ vendorSpkiHash }) => vendorSpkiHash ?? [])),
      ),
    };
  },

  insert: insertUnits,

  reworkAllowed: async (tx, unitId) => {
    const { rows } = await tx.query<{ allowed: boolean }>(
      'SELECT rework_allowed AS allowed FROM unit WHERE id = $1 FOR NO KEY UPDATE',
      [unitId],
    );
    return rows[0]?.allowed === true;
  },

  writeRework: async (tx, unitId, allowed) => {
    await tx.query('UPDATE unit SET rework_allowed = $2 WHERE id = $1', [unitId, allowed]);
  },
};

async function insertUnits(
  tx: Transaction,
  batch: { makerId: number; batchId: number; at: Date },
  rows: readonly NewUnit[],
): Promise<number[]> {
  const { rows: inserted } = await tx.query<{ id: number; state: UnitState }>(
    `INSERT INTO unit (maker_id, batch_id, state_changed_at, serial_number, eui, fqdn, product_class, hardware_id, model,
       vendor_spki_hash, state, state_reason)
     SELECT $1, $2, $3, serial_number, eui, fqdn, product_class, hardware_id, model, vendor_spki_hash, state, 'manifest accepted'
     FROM unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bytea[], $11::text[])
       WITH ORDINALITY AS t (serial_number, eui, fqdn, product_class, hardware_id, model, vendor_spki_hash, state, n)
     ORDER BY n RETURNING id`,
    [
      batch.makerId,
      batch.batchId,
      batch.at,
      rows.map((row) => row.serialNumber),
      rows.map((row) => row.eui),
      rows.map((row) => row.fqdn),
      rows.map((row) => row.productClass),
      rows.map((row) => row.hardwareId),
      rows.map((row) => row.model),
      rows.map((row) => row.vendorSpkiHash),
      rows.map((row) => row.state),
    ],
  );
  const ids = inserted.map(({ id }) => id);
  await seeVendorKeys(tx, rows, ids, batch.at);
  return ids;
}

/** In key order, as issuance claims its keys: two that cross wait for each other instead of deadlocking. */
async function seeVendorKeys(
  tx: Transaction,
  rows: readonly NewUnit[],
  ids: readonly number[],
  at: Date,
): Promise<void> {
  const seen = rows.flatMap(({ vendorSpkiHash, fqdn }, index) =>
    vendorSpkiHash === null ? [] : [{ vendorSpkiHash, fqdn, unitId: ids[index] ?? null }],
  );
  if (seen.length === 0) return;
  const { rowCount } = await tx.query(
    `INSERT INTO key_seen (spki_hash, unit_id, owner_kind, owner_name, attempt_id, first_seen_at)
     SELECT hash, unit_id, 'vendor', fqdn, '00000000-0000-0000-0000-000000000000'::uuid, $4
     FROM unnest($1::bytea[], $2::int[], $3::text[]) AS k(hash, unit_id, fqdn) ORDER BY hash
     ON CONFLICT (spki_hash) DO NOTHING`,
    [byteaArray(seen.map((row) => row.vendorSpkiHash)), seen.map((row) => row.unitId), seen.map((row) => row.fqdn), at],
  );
  if (rowCount === seen.length) return;
  throw new FemtoError('KEY_IN_USE', 'A vendor key of this manifest has been seen in the meantime; submit it anew.');
}

function hardwareKey(row: NewUnit): string {
  return `${row.productClass}/${row.hardwareId}`;
}

/** In id order: two sets that cross wait for each other instead of deadlocking. */
async function unitsById(tx: Transaction, ids: readonly number[], lock: string): Promise<(Unit | null)[]> {
  const { rows } = await tx.query<Unit>(
    `SELECT ${UNIT_COLUMNS} FROM unit WHERE id = ANY($1::int[]) ORDER BY id ${lock}`,
    [ids],
    { preparedAs: `units ${lock}`.trim().replaceAll(' ', '-') },
  );
  const found = new Map(rows.map((row) => [row.id, row]));
  return ids.map((id) => found.get(id) ?? null);
}

async function unitsBySerialNumber(tx: Transaction, serialNumbers: readonly string[]): Promise<(Unit | null)[]> {
  const { rows } = await tx.query<Unit>(
    `SELECT ${UNIT_COLUMNS} FROM unit WHERE serial_number = ANY($1::text[])`,
    [serialNumbers],
    { preparedAs: 'units-by-serial-number' },
  );
  const found = new Map(rows.map((row) => [row.serialNumber, row]));
  return serialNumbers.map((serialNumber) => found.get(serialNumber) ?? null);
}

async function writeStates(
  tx: Transaction,
  changes: readonly Parameters<UnitStore['writeState']>[1][],
): Promise<undefined[]> {
  await tx.query(
    `UPDATE unit SET state = c.state, state_reason = c.reason, state_changed_at = c.at
     FROM unnest($1::int[], $2::text[], $3::text[], $4::timestamptz[]) AS c(id, state, reason, at) WHERE unit.id = c.id`,
    [
      changes.map(({ unitId }) => unitId),
      changes.map(({ to }) => to),
      changes.map(({ reason }) => reason),
      changes.map(({ at }) => at),
    ],
    { preparedAs: 'units-write-state' },
  );
  return changes.map(() => undefined);
}

async function appendHistories(
  tx: Transaction,
  sets: readonly Parameters<UnitStore['appendHistory']>[1][],
): Promise<undefined[]> {
  const rows = sets.flat();
  await tx.query(
    `INSERT INTO unit_history (unit_id, from_state, to_state, actor, reason, evidence, at)
     SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[])`,
    [
      rows.map((row) => row.unitId),
      rows.map((row) => row.from),
      rows.map((row) => row.to),
      rows.map((row) => row.actor),
      rows.map((row) => row.reason),
      rows.map((row) => row.evidence),
      rows.map((row) => row.at),
    ],
    { preparedAs: 'units-append-history' },
  );
  return sets.map(() => undefined);
}

async function touchContacts(tx: Transaction, touches: readonly ContactTouch[]): Promise<undefined[]> {
  await tx.query(
    `UPDATE unit u SET last_contact_at = t.at
     FROM unnest($1::int[], $2::timestamptz[], $3::int[], $4::bigint[], $5::int[]) AS t(id, at, step_ms, lineage_id, line_id)
     WHERE u.id = t.id
       AND (u.last_contact_at IS NULL OR u.last_contact_at + make_interval(secs => t.step_ms / 1000.0) <= t.at)
       -- A renewal alone: from its own line, or where nobody ever knew its certificates on that line.
       AND (t.lineage_id IS NULL OR u.line_id IS NULL OR t.line_id = u.line_id OR (t.line_id IS NULL AND NOT EXISTS (
         SELECT 1 FROM lineage_slot s WHERE s.lineage_id = t.lineage_id AND s.line_id = u.line_id)))`,
    [
      touches.map(({ unitId }) => unitId),
      touches.map(({ at }) => at),
      touches.map(({ stepMs }) => stepMs),
      touches.map(({ renewal }) => renewal?.lineageId ?? null),
      touches.map(({ renewal }) => renewal?.lineId ?? null),
    ],
    { preparedAs: 'units-touch' },
  );
  return touches.map(() => undefined);
}

async function profilesByName(tx: Transaction, names: readonly string[]): Promise<(Profile | null)[]> {
  const { rows } = await tx.query<Profile>(
    `SELECT name, life_seconds AS "lifeSeconds", renewal_mode AS "renewalMode", comeback_days AS "comebackDays"
     FROM profile WHERE name = ANY($1::text[])`,
    [[...new Set(names)]],
    { preparedAs: 'profiles' },
  );
  const found = new Map(rows.map((row) => [row.name, row]));
  return names.map((name) => found.get(name) ?? null);
}

function keyOf(by: Exclude<UnitKey, { id: number }>): [string, string | number | Buffer] {
  if ('serialNumber' in by) return ['serial_number', by.serialNumber];
  if ('fqdn' in by) return ['fqdn', by.fqdn];
  if ('vendorSpkiHash' in by) return ['vendor_spki_hash', by.vendorSpkiHash];
  return ['line_id', by.lineId];
}
