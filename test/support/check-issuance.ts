import { join } from 'node:path';
import { readJournal } from '../../src/platform/hsm/journal.js';
import { readCertificate, verifyCertificateSignature } from '../../src/x509/certificate.js';
import { readSpki } from '../../src/x509/spki.js';
import type { IssuanceWorld } from './issuance-world.js';

/**
 * Invariants 1 to 7 and 11 of the issuance ledger, over every row and every line of the signer's journal. Returns the
 * faults in words; a clean installation returns none. Nothing may be signing: reconcile first.
 */
export async function checkIssuance(world: IssuanceWorld): Promise<string[]> {
  const faults: string[] = [];
  const query = async <Row extends object>(sql: string) => (await world.db.pool.query<Row>(sql)).rows;
  const count = async (what: string, sql: string) => {
    for (const row of await query(sql)) faults.push(`${what}: ${JSON.stringify(row)}`);
  };
  await count('still signing', `SELECT attempt_id FROM issuance_intent WHERE state = 'signing'`);
  await count('slot still signing', `SELECT id FROM lineage_slot WHERE state = 'signing'`);
  await count(
    'issued without exactly one certificate',
    `SELECT i.attempt_id, count(c.*)::int FROM issuance_intent i LEFT JOIN certificate c ON c.attempt_id = i.attempt_id
     WHERE i.state = 'issued' GROUP BY i.attempt_id HAVING count(c.*) <> 1`,
  );
  await count(
    'certificate without an issued intent',
    `SELECT c.attempt_id FROM certificate c LEFT JOIN issuance_intent i ON i.attempt_id = c.attempt_id
     WHERE i.state IS DISTINCT FROM 'issued'`,
  );
  await count('serial twice', `SELECT issuer_id, serial FROM issuance_intent GROUP BY 1, 2 HAVING count(*) > 1`);
  await count(
    'abandoned and not revoked',
    `SELECT i.attempt_id FROM issuance_intent i LEFT JOIN revoked_certificate r USING (issuer_id, serial)
     WHERE i.state = 'abandoned' AND r.state IS DISTINCT FROM 'revoked'`,
  );
  await count(
    'slot and intent disagree',
    `SELECT s.id, s.state, i.state AS intent FROM lineage_slot s JOIN issuance_intent i ON i.attempt_id = s.attempt_id
     WHERE (i.state = 'abandoned') <> (s.state = 'abandoned')`,
  );
  await count(
    'ledger does not tell one intent and one end, in order',
    `WITH told AS (
       SELECT (body::jsonb ->> 'attemptId')::uuid AS attempt_id, array_agg(kind ORDER BY id) AS kinds FROM ledger_inbox
       WHERE kind IN ('certificate.intended','certificate.issued','certificate.abandoned') GROUP BY 1)
     SELECT i.attempt_id, t.kinds FROM issuance_intent i FULL JOIN told t USING (attempt_id)
     WHERE t.kinds IS DISTINCT FROM ARRAY['certificate.intended', 'certificate.' || i.state]`,
  );
  await count(
    'generations are not gapless',
    `SELECT lineage_id, count(*), max(generation) FROM lineage_slot WHERE state IN ('pending','confirmed')
     GROUP BY lineage_id HAVING count(*) <> max(generation)`,
  );
  await count(
    'two pending',
    `SELECT lineage_id FROM lineage_slot WHERE state = 'pending' GROUP BY lineage_id HAVING count(*) > 1`,
  );
  await count(
    'one key at two units',
    `SELECT spki_hash FROM certificate WHERE unit_id IS NOT NULL GROUP BY spki_hash HAVING count(DISTINCT unit_id) > 1`,
  );
  faults.push(...(await checkBytes(world)), ...(await checkJournal(world)));
  return faults;
}

async function checkBytes(world: IssuanceWorld): Promise<string[]> {
  const { rows } = await world.db.pool.query<{
    der: Buffer;
    tbs: Buffer;
    serial: Buffer;
    spki_hash: Buffer;
    issuer: string;
  }>(
    `SELECT c.der, i.tbs, c.serial, c.spki_hash, s.label AS issuer FROM certificate c
     JOIN issuance_intent i ON i.attempt_id = c.attempt_id JOIN issuer s ON s.id = c.issuer_id`,
  );
  return rows.flatMap(({ der, tbs, serial, spki_hash, issuer }) => {
    const read = readCertificate(der);
    const faults: string[] = [];
    if (!read.tbsDer.equals(tbs)) faults.push('TBS is not that of the intent');
    if (!read.serial.equals(serial) || !read.spki.spkiHash.equals(spki_hash)) faults.push('columns are not the fields');
    if (!verifyCertificateSignature(read, readSpki(world.issuer(issuer).spkiDer))) faults.push('signature is wrong');
    return faults.map((fault) => `${fault}: ${serial.toString('hex')}`);
  });
}

/** Rules 2.3: every journal entry ends as issued or revoked, and nothing was issued without one. */
async function checkJournal(world: IssuanceWorld): Promise<string[]> {
  const { rows } = await world.db.pool.query<{ serial: string; state: string; tbs: string }>(
    `SELECT encode(serial, 'hex') AS serial, state, encode(tbs_hash, 'hex') AS tbs FROM issuance_intent`,
  );
  const intents = new Map(rows.map((row) => [row.serial, row]));
  const journal = [...readJournal(join(world.token.dataDir, 'signer'), 'ca')];
  const faults = journal.flatMap(({ name, tbsSha256Hex }) => {
    const intent = intents.get(name);
    if (intent === undefined) return [`journal entry that nothing explains: ${name}`];
    return intent.tbs === tbsSha256Hex ? [] : [`journal and intent name different bytes: ${name}`];
  });
  const signed = new Map<string, number>();
  for (const { name } of journal) signed.set(name, (signed.get(name) ?? 0) + 1);
  for (const { serial, state } of rows) {
    const times = signed.get(serial) ?? 0;
    if (state === 'issued' ? times !== 1 : times > 1) faults.push(`${state} and signed ${times} times: ${serial}`);
  }
  return faults;
}
