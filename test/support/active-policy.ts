import { createHash } from 'node:crypto';
import { checkPolicyDocument, type NetworkPolicyDocument } from '../../src/lifecycle/registry/index.js';
import type { TestDatabase } from './database.js';

/** Makes a policy the active one, as two people would. Null: there is none. */
export async function activatePolicy(
  { pool }: Pick<TestDatabase, 'pool'>,
  document: NetworkPolicyDocument | null,
): Promise<void> {
  await pool.query(`UPDATE network_policy SET state = 'retired', retired_at = now() WHERE state = 'active'`);
  if (document === null) return;
  const text = JSON.stringify(checkPolicyDocument(document));
  await pool.query(
    `INSERT INTO network_policy (state, document, document_sha256, rule_count, reason, proposed_by, proposed_at, activated_at)
     VALUES ('active', $1, $2, $3, 'a test', 'person:kim', now(), now())`,
    [text, createHash('sha256').update(text).digest(), document.rules.length],
  );
}
