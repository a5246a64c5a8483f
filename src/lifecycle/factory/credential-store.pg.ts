import { byteaArray } from '../../platform/db/binary-array.js';
import { oneOf } from '../../platform/db/set-statement.js';
import type { Transaction } from '../../platform/db/transaction.js';
import type { FactoryCredential, FactoryCredentialStore } from './factory-credential.js';

const COLUMNS = `id, maker_id AS "makerId", batch_id AS "batchId", name, site, kind, spki_hash AS "spkiHash",
  token_spki_der AS "tokenSpkiDer", cidrs::text[] AS cidrs, hour_from AS "hourFrom", hour_to AS "hourTo", quota, used,
  violations, state, not_before AS "notBefore", expires_at AS "expiresAt"`;

const ofStation = oneOf(ofStations);
const takeQuota = oneOf(takeQuotas);

export const factoryCredentialStore: FactoryCredentialStore = {
  find: async (tx, by) => {
    const [column, value] = 'id' in by ? ['id', by.id] : ['name', by.name];
    const { rows } = await tx.query<FactoryCredential>(
      `SELECT ${COLUMNS} FROM factory_credential WHERE ${column} = $1`,
      [value],
    );
    return rows[0] ?? null;
  },

  ofStation: (tx, spkiHash) => ofStation(tx, spkiHash),

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

  takeQuota: (tx, credentialId, at) => takeQuota(tx, { credentialId, at }),

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

async function ofStations(tx: Transaction, spkiHashes: readonly Buffer[]): Promise<FactoryCredential[][]> {
  const { rows } = await tx.query<FactoryCredential>(
    `SELECT ${COLUMNS} FROM factory_credential WHERE spki_hash = ANY($1::bytea[]) AND kind = 'mtls' ORDER BY id DESC`,
    [byteaArray(spkiHashes)],
    { preparedAs: 'factory-credentials-of-stations' },
  );
  return spkiHashes.map((hash) => rows.filter(({ spkiHash }) => spkiHash.equals(hash)));
}

/** All that is asked of one credential or none of it: asked one at a time, each takes what is left. */
async function takeQuotas(
  tx: Transaction,
  takes: readonly { readonly credentialId: number; readonly at: Date }[],
): Promise<boolean[]> {
  const counts = new Map<number, number>();
  for (const { credentialId } of takes) counts.set(credentialId, (counts.get(credentialId) ?? 0) + 1);
  const ids = [...counts.keys()].sort((a, b) => a - b);
  const { rows } = await tx.query<{ id: number }>(
    `UPDATE factory_credential c SET used = used + t.taken
     FROM unnest($1::int[], $2::int[]) AS t(id, taken)
     WHERE c.id = t.id AND used + t.taken <= quota AND state = 'active' AND expires_at > $3 RETURNING c.id`,
    [ids, ids.map((id) => counts.get(id)), new Date(Math.max(...takes.map(({ at }) => at.getTime())))],
    { preparedAs: 'factory-credentials-take-quota' },
  );
  const taken = new Set(rows.map(({ id }) => id));
  return takes.map(({ credentialId }) => taken.has(credentialId));
}
