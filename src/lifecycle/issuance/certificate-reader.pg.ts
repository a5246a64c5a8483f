import { byteaArray } from '../../platform/db/binary-array.js';
import { oneOf } from '../../platform/db/set-statement.js';
import type { Transaction } from '../../platform/db/transaction.js';
import type { CertificateRecord } from '../model/index.js';
import type { CertificateKey, CertificateReader } from './issuance.js';

const COLUMNS = `issuer_id AS "issuerId", serial, purpose, unit_id AS "unitId", machine_id AS "machineId",
  slot_id AS "slotId", generation, spki_hash AS "spkiHash", not_before AS "notBefore", not_after AS "notAfter",
  attempt_id AS "attemptId", issued_at AS "issuedAt", der`;

/** A key has one certificate, or two after a lost answer. */
const OF_ONE_KEY_MAX = 4;

const record = oneOf(recordsByKey);

export const certificateReader: CertificateReader = {
  record: (tx, key) => record(tx, key),
  byAttempt: async (tx, attemptId) => {
    const { rows } = await tx.query<CertificateKey>(
      `SELECT issuer_id AS "issuerId", serial, not_after AS "notAfter" FROM issuance_intent
       WHERE attempt_id = $1 AND state = 'issued'`,
      [attemptId],
    );
    const [intent] = rows;
    return intent === undefined ? null : record(tx, intent);
  },
  ofUnitByKeyIdentifier: async (tx, { unitId, keyIdentifier, at }) => {
    const { rows } = await tx.query<CertificateRecord>(
      `SELECT ${COLUMNS} FROM certificate
       WHERE unit_id = $1 AND not_after >= $2 AND position($3::bytea IN der) > 0 ORDER BY issued_at DESC LIMIT $4`,
      [unitId, at, keyIdentifier, OF_ONE_KEY_MAX],
    );
    return rows;
  },
  bootstrapsOfUnit: async (tx, unitId, at) => {
    // not_after is the partition key: months that are over are not looked into.
    const { rows } = await tx.query<CertificateRecord>(
      `SELECT ${COLUMNS} FROM certificate
       WHERE unit_id = $1 AND purpose = 'bootstrap' AND not_after > $2 ORDER BY issued_at DESC`,
      [unitId, at],
    );
    return rows;
  },
};

async function recordsByKey(tx: Transaction, keys: readonly CertificateKey[]): Promise<(CertificateRecord | null)[]> {
  const { rows } = await tx.query<CertificateRecord & { n: number }>(
    `SELECT k.n::int AS n, ${COLUMNS}
     FROM unnest($1::timestamptz[], $2::smallint[], $3::bytea[]) WITH ORDINALITY AS k(k_not_after, k_issuer_id, k_serial, n)
       JOIN certificate ON not_after = k_not_after AND issuer_id = k_issuer_id AND serial = k_serial
     WHERE not_after >= $4 AND not_after <= $5`,
    [
      keys.map(({ notAfter }) => notAfter),
      keys.map(({ issuerId }) => issuerId),
      byteaArray(keys.map(({ serial }) => serial)),
      extreme(keys, Math.min),
      extreme(keys, Math.max),
    ],
  );
  const found = new Map(rows.map(({ n, ...record }) => [n, record]));
  return keys.map((_, index) => found.get(index + 1) ?? null);
}

/** Bounds that let the planner skip every other month's partition, which it can where it plans for these very values. */
function extreme(keys: readonly CertificateKey[], pick: (...ms: number[]) => number): Date {
  return new Date(pick(...keys.map(({ notAfter }) => notAfter.getTime())));
}
