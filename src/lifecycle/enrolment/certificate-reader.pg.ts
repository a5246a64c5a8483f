import type { CertificateRecord } from '../model/index.js';
import type { CertificateReader } from './credential.js';

interface CertificateRow {
  not_after: Date;
  issuer_id: number;
  serial: Buffer;
  purpose: CertificateRecord['purpose'];
  unit_id: number | null;
  machine_id: number | null;
  slot_id: number | null;
  generation: number | null;
  spki_hash: Buffer;
  not_before: Date;
  attempt_id: string;
  issued_at: Date;
  der: Buffer;
}

const COLUMNS = `not_after, issuer_id, serial, purpose, unit_id, machine_id, slot_id, generation, spki_hash, not_before,
  attempt_id, issued_at, der`;

export const pgCertificateReader: CertificateReader = {
  record: async (tx, { issuerId, serial, notAfter }) => {
    // notAfter names the partition, so that one index is looked at and not every month's.
    const { rows } = await tx.query<CertificateRow>(
      `SELECT ${COLUMNS} FROM certificate WHERE not_after = $1 AND issuer_id = $2 AND serial = $3`,
      [notAfter, issuerId, serial],
    );
    return rows[0] === undefined ? null : toRecord(rows[0]);
  },
};

function toRecord(row: CertificateRow): CertificateRecord {
  return {
    issuerId: row.issuer_id,
    serial: row.serial,
    purpose: row.purpose,
    unitId: row.unit_id,
    machineId: row.machine_id,
    slotId: row.slot_id,
    generation: row.generation,
    spkiHash: row.spki_hash,
    notBefore: row.not_before,
    notAfter: row.not_after,
    attemptId: row.attempt_id,
    issuedAt: row.issued_at,
    der: row.der,
  };
}
