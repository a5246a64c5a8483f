import pg from 'pg';
import {
  boolArray,
  byteaArray,
  int4Array,
  int8Array,
  textArray,
  timestamptzArray,
  uuidArray,
} from '../../platform/db/binary-array.js';
import type { QueryOptions, Transaction } from '../../platform/db/transaction.js';
import type { CertificateRecord } from '../model/index.js';
import type {
  AbandonedAttempt,
  ConfirmedPredecessor,
  Intent,
  IntentState,
  IssuanceStore,
  KeyClaim,
  KeyHolder,
  LockedUnit,
  SlotClaim,
  StaleAttempt,
} from './issuance-store.js';

/** Every statement takes whole columns by UNNEST: a flush of 256 costs as many round trips as one row. */
export const issuanceStore: IssuanceStore = {
  lockUnits: async (tx, unitIds) => {
    const { rows } = await tx.query<LockedUnit & { id: number }>(
      `SELECT id, serial_number AS "serialNumber", state, revocation_epoch AS "revocationEpoch"
       FROM unit WHERE id = ANY($1::int[]) ORDER BY id FOR NO KEY UPDATE`,
      [int4Array(unitIds)],
      few('lock-units', unitIds.length),
    );
    return new Map(rows.map((row) => [row.id, row]));
  },

  blockedKeys: async (tx, spkiHashes) => {
    const { rows } = await tx.query<{ hash: string }>(
      `SELECT encode(spki_hash, 'hex') AS hash FROM blocked_key WHERE spki_hash = ANY($1::bytea[])`,
      [byteaArray(spkiHashes)],
      few('blocked-keys', spkiHashes.length),
    );
    return new Set(rows.map(({ hash }) => hash));
  },

  claimKeys,
  takeOverKey: async (tx, claim, fromAttemptId) => {
    const { rowCount } = await tx.query(
      `UPDATE key_seen SET attempt_id = $3 WHERE spki_hash = $1 AND attempt_id = $2`,
      [claim.spkiHash, fromAttemptId, claim.attemptId],
    );
    return rowCount === 1;
  },
  releaseKeys: async (tx, claims) => {
    await tx.query(
      `DELETE FROM key_seen k USING unnest($1::bytea[], $2::uuid[]) AS c(spki_hash, attempt_id)
       WHERE k.spki_hash = c.spki_hash AND k.attempt_id = c.attempt_id`,
      [byteaArray(claims.map((claim) => claim.spkiHash)), claims.map((claim) => claim.attemptId)],
    );
  },

  closeLineage: async (tx, { lineageId, unitId, at }) => {
    const { rowCount } = await tx.query(
      `UPDATE lineage SET state = 'closed', closed_at = $3, close_reason = 'new activation'
       WHERE id = $1 AND unit_id = $2 AND state <> 'closed'
         AND NOT EXISTS (SELECT 1 FROM lineage_slot s WHERE s.lineage_id = $1 AND s.state = 'signing')`,
      [lineageId, unitId, at],
    );
    return rowCount === 1;
  },
  openLineages: async (tx, unitIds, at) => {
    await tx.query(
      `INSERT INTO lineage (unit_id, state, opened_at) SELECT unit_id, 'open', $2 FROM unnest($1::int[]) AS u(unit_id)
       ON CONFLICT (unit_id) WHERE state <> 'closed' DO NOTHING`,
      [int4Array(unitIds), at],
      few('open-lineages', unitIds.length),
    );
    const { rows } = await tx.query<{ id: number; unitId: number }>(
      `SELECT id, unit_id AS "unitId" FROM lineage WHERE unit_id = ANY($1::int[]) AND state = 'open'`,
      [int4Array(unitIds)],
      few('live-lineages', unitIds.length),
    );
    return new Map(rows.map(({ id, unitId }) => [unitId, id]));
  },
  displaceSlot: async (tx, { slotId, lineageId, generation, newSpkiHash, at }) => {
    const { rows } = await tx.query<{ same: boolean }>(
      `UPDATE lineage_slot SET state = 'displaced', displaced_at = $5
       WHERE id = $1 AND lineage_id = $2 AND generation = $3
         AND (state = 'pending' OR (state = 'confirmed' AND spki_hash = $4))
       RETURNING spki_hash = $4 AS same`,
      [slotId, lineageId, generation, newSpkiHash, at],
    );
    if (rows[0] === undefined) return 'not-pending';
    if (rows[0].same) return 'same-key';
    // The hour is counted on the row, so two servers cannot both spend it (rules 4).
    const { rowCount } = await tx.query(
      `UPDATE lineage SET last_soft_at = $2::timestamptz
       WHERE id = $1 AND (last_soft_at IS NULL OR last_soft_at <= $2::timestamptz - interval '1 hour')`,
      [lineageId, at],
    );
    return rowCount === 1 ? 'soft' : 'too-soon';
  },
  claimSlots,
  removeSlots: async (tx, slotIds) => {
    await tx.query(`DELETE FROM lineage_slot WHERE id = ANY($1::bigint[]) AND state = 'signing'`, [slotIds]);
  },
  confirmPredecessors: async (tx, claims, at) => {
    const { rows } = await tx.query<ConfirmedPredecessor>(
      `UPDATE lineage_slot p SET state = 'confirmed', confirmed_at = $3, confirmed_by = 'renewal'
       FROM unnest($1::bigint[], $2::int[]) AS c(lineage_id, generation)
       WHERE p.lineage_id = c.lineage_id AND p.generation = c.generation - 1 AND p.state = 'pending'
       RETURNING p.id AS "slotId", p.lineage_id AS "lineageId", p.unit_id AS "unitId", p.generation,
         p.issuer_id AS "issuerId", p.serial`,
      [claims.map((claim) => claim.lineageId), claims.map((claim) => claim.generation), at],
      few('confirm-predecessors', claims.length),
    );
    return rows;
  },

  insertIntents,
  recordIssued,
  attemptStates: async (tx, createdAt, attemptIds) => {
    const { rows } = await tx.query<{ id: string; state: IntentState }>(
      `SELECT attempt_id AS id, state FROM issuance_intent WHERE created_at = $1 AND attempt_id = ANY($2::uuid[])`,
      [createdAt, attemptIds],
    );
    return new Map(rows.map(({ id, state }) => [id, state]));
  },

  staleAttempts: async (tx, before, limit) => {
    const { rows } = await tx.query<StaleAttempt>(
      `SELECT ${STALE_COLUMNS} FROM issuance_intent i
       WHERE state = 'signing' AND created_at < $1 ORDER BY created_at LIMIT $2`,
      [before, limit],
    );
    return rows;
  },
  abandon,

  conditions: async (tx) => {
    const { rows } = await tx.query<{ now: Date; issuingStopped: string | null }>(
      `SELECT clock_timestamp() AS now, (SELECT issuing_stopped FROM installation) AS "issuingStopped"`,
    );
    const [row] = rows;
    if (row === undefined) throw new Error('the database gave no time');
    return row;
  },
  stopIssuing: async (tx, reason) => {
    await tx.query(`UPDATE installation SET issuing_stopped = $1 WHERE issuing_stopped IS NULL`, [reason]);
  },
  faultOf: (thrown) => {
    if (!(thrown instanceof pg.DatabaseError)) return 'unknown';
    return ROW_FAULT.test(thrown.code ?? '') ? 'row' : 'transaction';
  },
};

/** Data exceptions, constraint violations and what a trigger raises; everything else is the database's own trouble. */
const ROW_FAULT = /^(22|23|P0)/;

/**
 * Planning costs more than a few rows do, so their plans are kept. For many rows a plan must know how many there are, and a
 * kept one does not.
 */
function few(name: string, rows: number): QueryOptions {
  return rows <= FEW_ROWS_MAX ? { preparedAs: `issuance-${name}` } : {};
}

const FEW_ROWS_MAX = 32;

const STALE_COLUMNS = `i.attempt_id AS "attemptId", i.created_at AS "createdAt", i.issuer_id AS "issuerId", i.serial,
  i.purpose, i.unit_id AS "unitId", i.machine_id AS "machineId", i.not_after AS "notAfter", i.slot_id AS "slotId"`;

async function claimKeys(tx: Transaction, claims: readonly KeyClaim[]): Promise<Map<string, KeyHolder>> {
  const columns = [
    byteaArray(claims.map((claim) => claim.spkiHash)),
    int4Array(claims.map((claim) => claim.unitId)),
    textArray(claims.map((claim) => claim.ownerKind)),
    textArray(claims.map((claim) => claim.ownerName)),
    uuidArray(claims.map((claim) => claim.attemptId)),
    timestamptzArray(claims.map((claim) => claim.at)),
  ];
  // In key order, so that two flushes with crossed keys wait for each other instead of deadlocking.
  const { rows: mine } = await tx.query<{ id: string }>(
    `INSERT INTO key_seen (spki_hash, unit_id, owner_kind, owner_name, attempt_id, first_seen_at)
     SELECT spki_hash, unit_id, owner_kind, owner_name, attempt_id, at
     FROM unnest($1::bytea[], $2::int[], $3::text[], $4::text[], $5::uuid[], $6::timestamptz[]) WITH ORDINALITY
       AS c(spki_hash, unit_id, owner_kind, owner_name, attempt_id, at, n)
     ORDER BY spki_hash, n
     ON CONFLICT (spki_hash) DO NOTHING RETURNING attempt_id AS id`,
    columns,
    few('claim-keys', claims.length),
  );
  if (mine.length === claims.length) return new Map();
  const won = new Set(mine.map(({ id }) => id));
  const lost = claims.filter((claim) => !won.has(claim.attemptId));
  const { rows: holders } = await tx.query<KeyHolder & { hash: string }>(
    `SELECT encode(k.spki_hash, 'hex') AS hash, k.attempt_id AS "attemptId", k.unit_id AS "unitId",
       k.owner_kind AS "ownerKind", k.owner_name AS "ownerName",
       (SELECT i.state FROM issuance_intent i WHERE i.attempt_id = k.attempt_id) AS "attemptState"
     FROM key_seen k WHERE k.spki_hash = ANY($1::bytea[])`,
    [lost.map((claim) => claim.spkiHash)],
  );
  const byHash = new Map(holders.map((holder) => [holder.hash, holder]));
  return new Map(
    lost.map((claim) => {
      const holder = byHash.get(claim.spkiHash.toString('hex'));
      if (holder === undefined) throw new Error('a seen key went away; key_seen rows are never deleted once committed');
      return [claim.attemptId, holder];
    }),
  );
}

async function claimSlots(tx: Transaction, claims: readonly SlotClaim[]): Promise<Map<string, number>> {
  const { rows } = await tx.query<{ id: number; attemptId: string }>(
    `INSERT INTO lineage_slot (lineage_id, unit_id, generation, state, spki_hash, issuer_id, serial, not_before, not_after,
       attempt_id, preissued, renew_from, renew_until, created_at)
     SELECT c.lineage_id, c.unit_id, c.generation, 'signing', c.spki_hash, c.issuer_id, c.serial, c.not_before,
       c.not_after, c.attempt_id, c.preissued, c.renew_from, c.renew_until, c.at
     FROM unnest($1::bigint[], $2::int[], $3::int[], $4::bytea[], $5::int[], $6::bytea[], $7::timestamptz[],
         $8::timestamptz[], $9::uuid[], $10::boolean[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[])
         WITH ORDINALITY
       AS c(lineage_id, unit_id, generation, spki_hash, issuer_id, serial, not_before, not_after, attempt_id, preissued,
         renew_from, renew_until, at, n)
     JOIN lineage l ON l.id = c.lineage_id AND l.unit_id = c.unit_id AND l.state = 'open'
     WHERE c.generation = 1 OR EXISTS (
       SELECT 1 FROM lineage_slot p WHERE p.lineage_id = c.lineage_id AND p.generation = c.generation - 1
         AND (p.state = 'confirmed' OR (p.state = 'pending' AND NOT c.preissued)))
     ORDER BY c.lineage_id, c.n
     ON CONFLICT (lineage_id, generation, void_id) DO NOTHING
     RETURNING id, attempt_id AS "attemptId"`,
    [
      int8Array(claims.map((claim) => claim.lineageId)),
      int4Array(claims.map((claim) => claim.unitId)),
      int4Array(claims.map((claim) => claim.generation)),
      byteaArray(claims.map((claim) => claim.spkiHash)),
      int4Array(claims.map((claim) => claim.issuerId)),
      byteaArray(claims.map((claim) => claim.serial)),
      timestamptzArray(claims.map((claim) => claim.notBefore)),
      timestamptzArray(claims.map((claim) => claim.notAfter)),
      uuidArray(claims.map((claim) => claim.attemptId)),
      boolArray(claims.map((claim) => claim.preissued)),
      timestamptzArray(claims.map((claim) => claim.renewFrom)),
      timestamptzArray(claims.map((claim) => claim.renewUntil)),
      timestamptzArray(claims.map((claim) => claim.at)),
    ],
    few('claim-slots', claims.length),
  );
  return new Map(rows.map(({ id, attemptId }) => [attemptId, id]));
}

async function insertIntents(tx: Transaction, intents: readonly Intent[]): Promise<void> {
  await tx.query(
    `INSERT INTO issuance_intent (attempt_id, created_at, issuer_id, serial, purpose, unit_id, machine_id, spki_hash,
       not_after, tbs, tbs_hash, slot_id, revocation_epoch, state)
     SELECT *, 'signing' FROM unnest($1::uuid[], $2::timestamptz[], $3::int[], $4::bytea[], $5::text[], $6::int[],
       $7::int[], $8::bytea[], $9::timestamptz[], $10::bytea[], $11::bytea[], $12::bigint[], $13::int[])`,
    [
      uuidArray(intents.map((intent) => intent.attemptId)),
      timestamptzArray(intents.map((intent) => intent.createdAt)),
      int4Array(intents.map((intent) => intent.issuerId)),
      byteaArray(intents.map((intent) => intent.serial)),
      textArray(intents.map((intent) => intent.purpose)),
      int4Array(intents.map((intent) => intent.unitId)),
      int4Array(intents.map((intent) => intent.machineId)),
      byteaArray(intents.map((intent) => intent.spkiHash)),
      timestamptzArray(intents.map((intent) => intent.notAfter)),
      byteaArray(intents.map((intent) => intent.tbs)),
      byteaArray(intents.map((intent) => intent.tbsHash)),
      int8Array(intents.map((intent) => intent.slotId)),
      int4Array(intents.map((intent) => intent.revocationEpoch)),
    ],
    few('insert-intents', intents.length),
  );
}

async function recordIssued(
  tx: Transaction,
  createdAt: Date,
  certificates: readonly CertificateRecord[],
): Promise<Set<string>> {
  // One created_at for a whole flush: the planner sees a single partition. A kept plan would have to hold all of them.
  const { rows } = await tx.query<{ id: string }>(
    `UPDATE issuance_intent SET state = 'issued', decided_at = $3
     WHERE created_at = $1 AND attempt_id = ANY($2::uuid[]) AND state = 'signing' RETURNING attempt_id AS id`,
    [createdAt, uuidArray(certificates.map((certificate) => certificate.attemptId)), certificates[0]?.issuedAt],
  );
  const signing = new Set(rows.map(({ id }) => id));
  const recorded = certificates.filter((certificate) => signing.has(certificate.attemptId));
  if (recorded.length === 0) return signing;
  await settleSlots(tx, recorded);
  await tx.query(
    `INSERT INTO certificate (not_after, issuer_id, serial, purpose, unit_id, machine_id, slot_id, generation, spki_hash,
       not_before, attempt_id, issued_at, der)
     SELECT * FROM unnest($1::timestamptz[], $2::int[], $3::bytea[], $4::text[], $5::int[], $6::int[], $7::bigint[],
       $8::int[], $9::bytea[], $10::timestamptz[], $11::uuid[], $12::timestamptz[], $13::bytea[])`,
    [
      timestamptzArray(recorded.map((certificate) => certificate.notAfter)),
      int4Array(recorded.map((certificate) => certificate.issuerId)),
      byteaArray(recorded.map((certificate) => certificate.serial)),
      textArray(recorded.map((certificate) => certificate.purpose)),
      int4Array(recorded.map((certificate) => certificate.unitId)),
      int4Array(recorded.map((certificate) => certificate.machineId)),
      int8Array(recorded.map((certificate) => certificate.slotId)),
      int4Array(recorded.map((certificate) => certificate.generation)),
      byteaArray(recorded.map((certificate) => certificate.spkiHash)),
      timestamptzArray(recorded.map((certificate) => certificate.notBefore)),
      uuidArray(recorded.map((certificate) => certificate.attemptId)),
      timestamptzArray(recorded.map((certificate) => certificate.issuedAt)),
      byteaArray(recorded.map((certificate) => certificate.der)),
    ],
    few('insert-certificates', recorded.length),
  );
  return signing;
}

async function settleSlots(tx: Transaction, certificates: readonly CertificateRecord[]): Promise<void> {
  const slotIds = certificates.flatMap(({ slotId }) => (slotId === null ? [] : [slotId]));
  if (slotIds.length === 0) return;
  // With the slot comes its marker for the rotation worker: what is in use is always looked at again.
  const { rowCount } = await tx.query(
    `WITH settled AS (
       UPDATE lineage_slot SET state = 'pending' WHERE id = ANY($1::bigint[]) AND state = 'signing' RETURNING id, renew_from)
     INSERT INTO renewal_due (due_at, slot_id) SELECT renew_from, id FROM settled`,
    [int8Array(slotIds)],
    few('settle-slots', slotIds.length),
  );
  // Intent and slot always move together; a difference means that somebody else writes slots.
  if (rowCount !== slotIds.length) throw new Error('an intent was signing while its slot was not');
}

async function abandon(tx: Transaction, attempts: readonly StaleAttempt[], at: Date): Promise<AbandonedAttempt[]> {
  const { rows } = await tx.query<AbandonedAttempt>(
    `UPDATE issuance_intent i SET state = 'abandoned', decided_at = $3
     FROM unnest($1::timestamptz[], $2::uuid[]) AS a(created_at, attempt_id)
     WHERE i.created_at = a.created_at AND i.attempt_id = a.attempt_id AND i.state = 'signing'
       AND i.created_at >= $4 AND i.created_at <= $5
     RETURNING ${STALE_COLUMNS},
       (SELECT serial_number FROM unit u WHERE u.id = i.unit_id) AS "unitSerialNumber"`,
    [
      attempts.map((attempt) => attempt.createdAt),
      attempts.map((attempt) => attempt.attemptId),
      at,
      extreme(attempts, Math.min),
      extreme(attempts, Math.max),
    ],
  );
  await tx.query(`UPDATE lineage_slot SET state = 'abandoned' WHERE id = ANY($1::bigint[]) AND state = 'signing'`, [
    rows.flatMap(({ slotId }) => (slotId === null ? [] : [slotId])),
  ]);
  return rows;
}

/** Bounds that let the planner skip every other month's partition. */
function extreme(attempts: readonly StaleAttempt[], pick: (...ms: number[]) => number): Date {
  return new Date(pick(...attempts.map(({ createdAt }) => createdAt.getTime())));
}
