import type { Transaction } from '../../platform/db/transaction.js';
import { isOurSerialShape, serialIssuedAfter } from '../../x509/serial.js';
import type { CertificateRecord } from '../model/index.js';
import type { CertificateKey, CertificateReader } from './issuance.js';

const COLUMNS = `issuer_id AS "issuerId", serial, purpose, unit_id AS "unitId", machine_id AS "machineId",
  slot_id AS "slotId", generation, spki_hash AS "spkiHash", not_before AS "notBefore", not_after AS "notAfter",
  attempt_id AS "attemptId", issued_at AS "issuedAt", der`;

/** Leaves of 31 days and the hour of the serial: two partitions instead of all. */
const SHORT_LIFE_DAYS = 33;
const DAY_MS = 86_400_000;

export const certificateReader: CertificateReader = {
  record,
  async bySerial(tx, issuerId, serial) {
    if (!isOurSerialShape(serial)) return null;
    const from = serialIssuedAfter(serial);
    const to = new Date(from.getTime() + SHORT_LIFE_DAYS * DAY_MS);
    const near = await one(
      tx,
      `SELECT ${COLUMNS} FROM certificate
       WHERE issuer_id = $1 AND serial = $2 AND not_after >= $3 AND not_after < $4`,
      [issuerId, serial, from, to],
    );
    // Bootstrap certificates live for years.
    return (
      near ??
      one(tx, `SELECT ${COLUMNS} FROM certificate WHERE issuer_id = $1 AND serial = $2 AND not_after >= $3`, [
        issuerId,
        serial,
        to,
      ])
    );
  },
  async byAttempt(tx, attemptId) {
    const { rows } = await tx.query<{ issuerId: number; serial: Buffer; notAfter: Date }>(
      `SELECT issuer_id AS "issuerId", serial, not_after AS "notAfter" FROM issuance_intent
       WHERE attempt_id = $1 AND state = 'issued'`,
      [attemptId],
    );
    const [intent] = rows;
    if (intent === undefined) return null;
    return record(tx, intent);
  },
  async bySpki(tx, spkiHash) {
    const { rows } = await tx.query<CertificateRecord>(
      `SELECT ${COLUMNS} FROM certificate WHERE spki_hash = $1 ORDER BY issued_at DESC`,
      [spkiHash],
    );
    return rows;
  },
  async unexpiredOfUnit(tx, unitId, at) {
    const { rows } = await tx.query<CertificateRecord>(
      `SELECT ${COLUMNS} FROM certificate WHERE unit_id = $1 AND not_after >= $2 ORDER BY issued_at DESC`,
      [unitId, at],
    );
    return rows;
  },
};

function record(tx: Transaction, { issuerId, serial, notAfter }: CertificateKey): Promise<CertificateRecord | null> {
  return one(tx, `SELECT ${COLUMNS} FROM certificate WHERE not_after = $1 AND issuer_id = $2 AND serial = $3`, [
    notAfter,
    issuerId,
    serial,
  ]);
}

async function one(tx: Transaction, sql: string, params: readonly unknown[]): Promise<CertificateRecord | null> {
  const { rows } = await tx.query<CertificateRecord>(sql, params);
  return rows[0] ?? null;
}
