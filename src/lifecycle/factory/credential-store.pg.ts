import type { FactoryCredential, FactoryCredentialStore } from './factory-credential.js';

const COLUMNS = `id, maker_id AS "makerId", batch_id AS "batchId", name, site, kind, spki_hash AS "spkiHash",
  token_spki_der AS "tokenSpkiDer", cidrs::text[] AS cidrs, hour_from AS "hourFrom", hour_to AS "hourTo", quota, used,
  violations, state, not_before AS "notBefore", expires_at AS "expiresAt"`;

export const factoryCredentialStore: FactoryCredentialStore = {
  find: async (tx, by) => {
    const [column, value] = 'id' in by ? ['id', by.id] : ['name', by.name];
    const { rows } = await tx.query<FactoryCredential>(
      `SELECT ${COLUMNS} FROM factory_credential WHERE ${column} = $1`,
      [value],
    );
    return rows[0] ?? null;
  },

  ofStation: async (tx, spkiHash) =>
    (
      await tx.query<FactoryCredential>(
        `SELECT ${COLUMNS} FROM factory_credential WHERE spki_hash = $1 AND kind = 'mtls' ORDER BY id DESC`,
        [spkiHash],
      )
    ).rows,

  list: async (tx, { makerId, batchId }) =>
    (
      await tx.query<FactoryCredential>(
        `SELECT ${COLUMNS} FROM factory_credential
         WHERE ($1::int IS NULL OR maker_id = $1) AND ($2::int IS NULL OR batch_id = $2) ORDER BY id`,
        [makerId ?? null, batchId ?? null],
      )
    ).rows,

  add: async (tx, credential) => {
    const { rows } = await tx.query<FactoryCredential>(
      `INSERT INTO factory_credential (maker_id, batch_id, name, site, kind, spki_hash, token_spki_der, cidrs, hour_from,
         hour_to, quota, not_before, expires_at, created_by)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8::cidr[], $9, $10, $11, $12, $13, $14)
       ON CONFLICT (name) DO NOTHING RETURNING ${COLUMNS}`,
      [
        credential.makerId,
        credential.batchId,
        credential.name,
        credential.site,
        credential.kind,
        credential.spkiHash,
        credential.tokenSpkiDer,
        credential.cidrs,
        credential.hourFrom,
        credential.hourTo,
        credential.quota,
        credential.notBefore,
        credential.expiresAt,
        credential.createdBy,
      ],
    );
    return rows[0] ?? null;
  },

  revoke: async (tx, credentialId) => {
    await tx.query(`UPDATE factory_credential SET state = 'revoked' WHERE id = $1`, [credentialId]);
  },

  takeQuota: async (tx, credentialId, at) => {
    const { rowCount } = await tx.query(
      `UPDATE factory_credential SET used = used + 1
       WHERE id = $1 AND used < quota AND state = 'active' AND expires_at > $2`,
      [credentialId, at],
    );
    return rowCount === 1;
  },

  countViolation: async (tx, credentialId, violationsMax) => {
    const { rows } = await tx.query<{ violations: number; state: string }>(
      `UPDATE factory_credential SET violations = violations + 1,
         state = CASE WHEN state = 'active' AND violations + 1 >= $2 THEN 'frozen' ELSE state END
       WHERE id = $1 RETURNING violations, state`,
      [credentialId, violationsMax],
    );
    const violations = rows[0]?.violations ?? 0;
    return { violations, frozenNow: violations === violationsMax && rows[0]?.state === 'frozen' };
  },
};
