import { oneOf } from '../../platform/db/set-statement.js';
import type { Transaction } from '../../platform/db/transaction.js';
import type { NetworkPolicyDocument } from './network-rule.js';
import type { NetworkPolicyStore, NetworkPolicyVersion, UnitGroups } from './network-store.js';

const FACTS = `version, state, document_sha256 AS "documentSha256", rule_count AS "ruleCount", copied_from AS "copiedFrom",
  reason, proposed_by AS "proposedBy", proposed_at AS "proposedAt", activated_by AS "activatedBy",
  approved_by AS "approvedBy", activated_at AS "activatedAt", retired_at AS "retiredAt"`;

type Row = Omit<NetworkPolicyVersion, 'document'> & { readonly document: string };

/** Renewals that come together all ask in the moment in which the last answer has aged. */
const activeVersion = oneOf(async (tx: Transaction, asked: readonly undefined[]): Promise<(number | null)[]> => {
  const { rows } = await tx.query<{ version: number }>(`SELECT version FROM network_policy WHERE state = 'active'`);
  return asked.map(() => rows[0]?.version ?? null);
});

export const networkPolicyStore: NetworkPolicyStore = {
  add: async (tx, { document, documentSha256, copiedFrom, reason, proposedBy, proposedAt }) => {
    const { rows } = await tx.query<Row>(
      `INSERT INTO network_policy (state, document, document_sha256, rule_count, copied_from, reason, proposed_by, proposed_at)
       VALUES ('proposed', $1, $2, $3, $4, $5, $6, $7) RETURNING ${FACTS}, document`,
      [JSON.stringify(document), documentSha256, document.rules.length, copiedFrom, reason, proposedBy, proposedAt],
    );
    const [row] = rows;
    if (row === undefined) throw new Error('a proposed policy has no row');
    return versionOf(row);
  },

  active: async (tx, lock) => {
    // Between the first version and the next there is no row to lock: the table's own lock makes two activations queue.
    if (lock !== undefined) await tx.query('LOCK TABLE network_policy IN SHARE ROW EXCLUSIVE MODE');
    return one(tx, `SELECT ${FACTS}, document FROM network_policy WHERE state = 'active'`, []);
  },

  activeVersion: (tx) => activeVersion(tx, undefined),

  groupsOf: async (tx, unitId) =>
    (
      await tx.query<UnitGroups>(
        `SELECT b.name AS batch, u.model, l.region FROM unit u JOIN batch b ON b.id = u.batch_id
         LEFT JOIN line l ON l.id = u.line_id WHERE u.id = $1`,
        [unitId],
      )
    ).rows[0] ?? { batch: null, model: null, region: null },

  byVersion: (tx, version) => one(tx, `SELECT ${FACTS}, document FROM network_policy WHERE version = $1`, [version]),

  list: async (tx, limit) =>
    (
      await tx.query<Omit<NetworkPolicyVersion, 'document'>>(
        `SELECT ${FACTS} FROM network_policy ORDER BY version DESC LIMIT $1`,
        [limit],
      )
    ).rows,

  activate: async (tx, { version, activatedBy, approvedBy, at }) => {
    await tx.query(`UPDATE network_policy SET state = 'retired', retired_at = $1 WHERE state = 'active'`, [at]);
    const { rowCount } = await tx.query(
      `UPDATE network_policy SET state = 'active', activated_by = $2, approved_by = $3, activated_at = $4
       WHERE version = $1 AND state = 'proposed'`,
      [version, activatedBy, approvedBy, at],
    );
    return rowCount === 1;
  },
};

async function one(tx: Transaction, sql: string, params: readonly unknown[]): Promise<NetworkPolicyVersion | null> {
  const [row] = (await tx.query<Row>(sql, params)).rows;
  return row === undefined ? null : versionOf(row);
}

function versionOf(row: Row): NetworkPolicyVersion {
  return { ...row, document: JSON.parse(row.document) as NetworkPolicyDocument };
}
