import { byteaArray, timestamptzArray } from '../../platform/db/binary-array.js';
import { oneOf } from '../../platform/db/set-statement.js';
import type { Transaction } from '../../platform/db/transaction.js';
import type { CertificateKey } from '../issuance/index.js';
import type { CertificateRecord, Unit } from '../model/index.js';
import type { CredentialReader, RecordedCredential } from './credential.js';

const credential = oneOf(credentials);

/** Record, unit and status of a presented certificate in one statement: every message and every handshake asks for them. */
export const pgCredentialReader: CredentialReader = { credential: (tx, key) => credential(tx, key) };

type Row = CertificateRecord & {
  readonly n: number;
  readonly status: 'held' | 'revoked' | 'released' | null;
  readonly u_id: number | null;
  readonly u_maker: number;
  readonly u_batch: number;
  readonly u_serial: string;
  readonly u_eui: string;
  readonly u_fqdn: string;
  readonly u_model: string;
  readonly u_profile: string;
  readonly u_state: Unit['state'];
  readonly u_epoch: number;
  readonly u_line: number | null;
  readonly u_vendor: Buffer | null;
};

async function credentials(tx: Transaction, keys: readonly CertificateKey[]): Promise<(RecordedCredential | null)[]> {
  const { rows } = await tx.query<Row>(
    `SELECT k.n::int AS n, c.issuer_id AS "issuerId", c.serial, c.purpose, c.unit_id AS "unitId",
       c.machine_id AS "machineId", c.slot_id AS "slotId", c.generation, c.spki_hash AS "spkiHash",
       c.not_before AS "notBefore", c.not_after AS "notAfter", c.attempt_id AS "attemptId", c.issued_at AS "issuedAt",
       c.der, r.state AS status, u.id AS u_id, u.maker_id AS u_maker, u.batch_id AS u_batch, u.serial_number AS u_serial,
       u.eui AS u_eui, u.fqdn AS u_fqdn, u.model AS u_model, u.profile AS u_profile, u.state AS u_state,
       u.revocation_epoch AS u_epoch, u.line_id AS u_line, u.vendor_spki_hash AS u_vendor
     FROM unnest($1::timestamptz[], $2::smallint[], $3::bytea[]) WITH ORDINALITY AS k(not_after, issuer_id, serial, n)
       JOIN certificate c ON c.not_after = k.not_after AND c.issuer_id = k.issuer_id AND c.serial = k.serial
       LEFT JOIN unit u ON u.id = c.unit_id
       LEFT JOIN revoked_certificate r ON r.issuer_id = c.issuer_id AND r.serial = c.serial
     WHERE c.not_after BETWEEN $4 AND $5`,
    [
      timestamptzArray(keys.map(({ notAfter }) => notAfter)),
      keys.map(({ issuerId }) => issuerId),
      byteaArray(keys.map(({ serial }) => serial)),
      // not_after is the partition key: with bounds the planner looks into one or two months and not into all.
      new Date(Math.min(...keys.map(({ notAfter }) => notAfter.getTime()))),
      new Date(Math.max(...keys.map(({ notAfter }) => notAfter.getTime()))),
    ],
  );
  const found = new Map(rows.map((row) => [row.n, row]));
  return keys.map((_, index) => credentialOf(found.get(index + 1)));
}

function credentialOf(row: Row | undefined): RecordedCredential | null {
  if (row === undefined) return null;
  const status = row.status === null || row.status === 'released' ? 'good' : row.status;
  return { record: recordOf(row), unit: row.u_id === null ? null : unitOf(row, row.u_id), status };
}

function recordOf(row: Row): CertificateRecord {
  const { issuerId, serial, purpose, unitId, machineId, slotId, generation } = row;
  const { spkiHash, notBefore, notAfter, attemptId, issuedAt, der } = row;
  const about = { issuerId, serial, purpose, unitId, machineId, slotId, generation };
  return { ...about, spkiHash, notBefore, notAfter, attemptId, issuedAt, der };
}

function unitOf(row: Row, id: number): Unit {
  return {
    id,
    makerId: row.u_maker,
    batchId: row.u_batch,
    serialNumber: row.u_serial,
    eui: row.u_eui,
    fqdn: row.u_fqdn,
    model: row.u_model,
    profile: row.u_profile,
    state: row.u_state,
    revocationEpoch: row.u_epoch,
    lineId: row.u_line,
    vendorSpkiHash: row.u_vendor,
  };
}
