import type { CertificateRecord } from '../model/index.js';
import type { BootstrapReader, OnceGuard } from './factory-deps.js';

export const bootstrapReader: BootstrapReader = {
  ofUnit: async (tx, unitId, at) =>
    // not_after is the partition key: months that are over are not looked into.
    (
      await tx.query<CertificateRecord>(
        `SELECT issuer_id AS "issuerId", serial, purpose, unit_id AS "unitId", machine_id AS "machineId",
           slot_id AS "slotId", generation, spki_hash AS "spkiHash", not_before AS "notBefore", not_after AS "notAfter",
           attempt_id AS "attemptId", issued_at AS "issuedAt", der
         FROM certificate WHERE unit_id = $1 AND purpose = 'bootstrap' AND not_after > $2 ORDER BY issued_at DESC`,
        [unitId, at],
      )
    ).rows,
};

export const onceGuard: OnceGuard = {
  spendOnce: async (tx, hash, expiresAt) => {
    const { rowCount } = await tx.query(
      'INSERT INTO nonce_spent (nonce_hash, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING',
      [hash, expiresAt],
    );
    return rowCount === 1;
  },
};
