import { byteaArray } from '../../platform/db/binary-array.js';
import { oneOf } from '../../platform/db/set-statement.js';
import type { Transaction } from '../../platform/db/transaction.js';
import type { Machine } from './machine.js';
import type { MachineStore } from './machine-store.js';

const COLUMNS = `id, kind, name, maker_id AS "makerId", dns_name AS "dnsName", state, spki_der AS "spkiDer",
  spki_hash AS "spkiHash", requested_by AS "requestedBy", approved_by AS "approvedBy", issuer_id AS "issuerId", serial,
  not_after AS "notAfter", renew_requested_at AS "renewRequestedAt"`;

const bySpkiHash = oneOf(machinesBySpkiHash);

export const machineStore: MachineStore = {
  find: async (tx, by, lock) => {
    if ('spkiHash' in by && lock === undefined) return bySpkiHash(tx, by.spkiHash);
    const [column, value] = 'id' in by ? ['id', by.id] : 'name' in by ? ['name', by.name] : ['spki_hash', by.spkiHash];
    const { rows } = await tx.query<Machine>(
      `SELECT ${COLUMNS} FROM machine WHERE ${column} = $1 ${lock === undefined ? '' : 'FOR NO KEY UPDATE'}`,
      [value],
    );
    return rows[0] ?? null;
  },

  list: async (tx, { kind, state, afterId, limit }) =>
    (
      await tx.query<Machine>(
        `SELECT ${COLUMNS} FROM machine
         WHERE id > $1 AND ($2::text IS NULL OR kind = $2) AND ($3::text IS NULL OR state = $3) ORDER BY id LIMIT $4`,
        [afterId, kind ?? null, state ?? null, limit],
      )
    ).rows,

  add: async (tx, machine) => {
    const { rows } = await tx.query<Machine>(
      `INSERT INTO machine (kind, name, maker_id, dns_name, state, spki_der, spki_hash, requested_by, created_at)
       VALUES ($1, $2, $3, $4, 'requested', $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING ${COLUMNS}`,
      [
        machine.kind,
        machine.name,
        machine.makerId,
        machine.dnsName,
        machine.spkiDer,
        machine.spkiHash,
        machine.requestedBy,
        machine.createdAt,
      ],
    );
    return rows[0] ?? null;
  },

  approve: async (tx, machineId, { personId, at }) => {
    await tx.query(`UPDATE machine SET state = 'approved', approved_by = $2, approved_at = $3 WHERE id = $1`, [
      machineId,
      personId,
      at,
    ]);
  },

  disable: async (tx, machineId) => {
    await tx.query(`UPDATE machine SET state = 'disabled' WHERE id = $1`, [machineId]);
  },

  awaiting: async (tx, limit) =>
    (
      await tx.query<Machine>(
        `SELECT ${COLUMNS} FROM machine
         WHERE state = 'approved' AND (serial IS NULL OR renew_requested_at IS NOT NULL) ORDER BY id LIMIT $1`,
        [limit],
      )
    ).rows,

  askRenewal: async (tx, machineId, { spkiDer, spkiHash }, at) => {
    await tx.query('UPDATE machine SET spki_der = $2, spki_hash = $3, renew_requested_at = $4 WHERE id = $1', [
      machineId,
      spkiDer,
      spkiHash,
      at,
    ]);
  },

  recordCertificate: async (tx, machineId, { issuerId, serial, notAfter, spkiHash }) => {
    // A process that restarted meanwhile has asked again for another key: that wish stays open.
    await tx.query(
      `UPDATE machine SET issuer_id = $2, serial = $3, not_after = $4,
         renew_requested_at = CASE WHEN spki_hash = $5 THEN NULL ELSE renew_requested_at END WHERE id = $1`,
      [machineId, issuerId, serial, notAfter, spkiHash],
    );
  },
};

async function machinesBySpkiHash(tx: Transaction, spkiHashes: readonly Buffer[]): Promise<(Machine | null)[]> {
  const { rows } = await tx.query<Machine>(
    `SELECT ${COLUMNS} FROM machine WHERE spki_hash = ANY($1::bytea[])`,
    [byteaArray(spkiHashes)],
    { preparedAs: 'machines-by-key' },
  );
  return spkiHashes.map((hash) => rows.find(({ spkiHash }) => spkiHash.equals(hash)) ?? null);
}
