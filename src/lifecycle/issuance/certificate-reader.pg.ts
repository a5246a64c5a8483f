import type { Transaction } from '../../platform/db/transaction.js';
import type { CertificateRecord } from '../model/index.js';
import type { CertificateKey, CertificateReader } from './issuance.js';

const COLUMNS = `issuer_id AS "issuerId", serial, purpose, unit_id AS "unitId", machine_id AS "machineId",
  slot_id AS "slotId", generation, spki_hash AS "spkiHash", not_before AS "notBefore", not_after AS "notAfter",
  attempt_id AS "attemptId", issued_at AS "issuedAt", der`;

/** A key has one certificate, or two after a lost answer. */
const OF_ONE_KEY_MAX = 4;

export const certificateReader: CertificateReader = {
  record,
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

async function record(
  tx: Transaction,
  { issuerId, serial, notAfter }: CertificateKey,
): Promise<CertificateRecord | null> {
  const { rows } = await tx.query<CertificateRecord>(
    `SELECT ${COLUMNS} FROM certificate WHERE not_after = $1 AND issuer_id = $2 AND serial = $3`,
    [notAfter, issuerId, serial],
  );
  return rows[0] ?? null;
}
