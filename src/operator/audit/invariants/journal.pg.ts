import { createHash } from 'node:crypto';
import type { Transaction } from '../../../platform/db/transaction.js';
import { type JournalEntry, readJournal } from '../../../platform/hsm/journal.js';
import { KEY_CLASSES } from '../../../platform/hsm/key-class.js';
import { readCrlHead } from '../../../x509/crl.js';
import { explainParts, isPartName } from './crl-parts.pg.js';
import { type Evidence, type Invariant, type JournalSnapshot, type Outcome, Violations } from './invariant.js';

export const JOURNAL_INVARIANTS: readonly Invariant[] = [
  {
    id: 11,
    name: 'every signature ended as a certificate, a revoked serial, a CRL, an OCSP answer or a head',
    check: explainJournals,
  },
];

const PAGE = 1_000;
const LEAF_PURPOSES: ReadonlySet<string> = new Set(['operational', 'bootstrap', 'services', 'preissue']);
const OCSP_NAME = /^ocsp:(?:[0-9a-f]{2}){1,21}:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z$/;
/** Serials kept in memory to ask the other way round, whether each certificate was journalled. */
const SERIALS_MAX = 3_000_000;

/** Entries of one class that stood before the snapshot. */
function* entriesOf(journal: JournalSnapshot, keyClass: (typeof KEY_CLASSES)[number]): Generator<JournalEntry> {
  let left = journal.sizes[keyClass];
  if (left === 0) return;
  for (const entry of readJournal(journal.dir, keyClass)) {
    yield entry;
    left -= 1;
    if (left === 0) return;
  }
}

async function explainJournals({ tx, journals }: Evidence): Promise<Outcome> {
  if (journals.length === 0) return { examined: 0, violations: [], notRun: 'the signer’s journal is not on this host' };
  const violations = new Violations();
  const serials = new Set<string>();
  for (const journal of journals) await explainJournal(tx, journal, { violations, serials });
  if (serials.size < SERIALS_MAX) await everyCertificateWasJournalled(tx, serials, violations);
  return violations.outcome();
}

/** @param into.serials  gets the names of the leaves */
async function explainJournal(
  tx: Transaction,
  journal: JournalSnapshot,
  { violations, serials }: { violations: Violations; serials: Set<string> },
): Promise<void> {
  for (const keyClass of KEY_CLASSES) {
    let expected = 1;
    let page: JournalEntry[] = [];
    for (const entry of entriesOf(journal, keyClass)) {
      violations.examined += 1;
      // Counters only count: a hole is a signature whose line was taken out.
      if (entry.seq !== expected)
        violations.add(`journal ${keyClass}: entry ${expected} is missing before ${entry.seq}`);
      expected = entry.seq + 1;
      page.push(entry);
      if (LEAF_PURPOSES.has(entry.purpose) && serials.size < SERIALS_MAX) serials.add(entry.name);
      if (page.length < PAGE) continue;
      await explainPage(tx, page, violations);
      page = [];
    }
    await explainPage(tx, page, violations);
  }
}

async function explainPage(tx: Transaction, page: readonly JournalEntry[], violations: Violations): Promise<void> {
  await explainLeaves(
    tx,
    page.filter(({ purpose }) => LEAF_PURPOSES.has(purpose)),
    violations,
  );
  await explainOcspSigners(
    tx,
    page.filter(({ purpose }) => purpose === 'ocsp-signer'),
    violations,
  );
  await explainCrls(
    tx,
    page.filter(({ purpose }) => purpose === 'crl'),
    violations,
  );
  await explainHeads(
    tx,
    page.filter(({ purpose }) => purpose === 'audit-head'),
    violations,
  );
  for (const { purpose, name, seq } of page) {
    if (purpose === 'ocsp' && !OCSP_NAME.test(name))
      violations.add(`journal entry ${seq}: "${name}" is no OCSP answer’s name`);
  }
}

/** One serial, one signature, one TBS: issued, or revoked because nobody knows what became of it. */
async function explainLeaves(tx: Transaction, entries: readonly JournalEntry[], violations: Violations): Promise<void> {
  const [first, last] = [entries.at(0), entries.at(-1)];
  if (!first || !last) return;
  const { rows } = await tx.query<{
    serial: string;
    tbs_hash: string;
    state: string;
    recorded: boolean;
    revoked: boolean;
  }>(
    `SELECT encode(i.serial, 'hex') AS serial, encode(i.tbs_hash, 'hex') AS tbs_hash, i.state,
       EXISTS (SELECT 1 FROM certificate c WHERE c.issuer_id = i.issuer_id AND c.serial = i.serial AND c.not_after = i.not_after) AS recorded,
       EXISTS (SELECT 1 FROM revoked_certificate r WHERE r.issuer_id = i.issuer_id AND r.serial = i.serial AND r.state = 'revoked') AS revoked
     FROM unnest($1::text[], $2::bytea[]) AS j(key_label, serial)
       JOIN issuer u ON u.key_label = j.key_label
       JOIN issuance_intent i ON i.issuer_id = u.id AND i.serial = j.serial
         AND i.created_at BETWEEN $3::timestamptz - interval '1 day' AND $4::timestamptz + interval '1 day'`,
    [
      entries.map(({ keyLabel }) => keyLabel),
      entries.map(({ name }) => Buffer.from(name, 'hex')),
      new Date(first.at),
      new Date(last.at),
    ],
  );
  const intents = new Map(rows.map((row) => [row.serial, row]));
  const seen = new Set<string>();
  for (const { name, tbsSha256Hex, purpose, keyLabel } of entries) {
    const intent = intents.get(name);
    const what = `${purpose} signature ${name} by ${keyLabel}`;
    if (seen.has(name)) violations.add(`${what}: signed twice`);
    seen.add(name);
    if (!intent) violations.add(`${what}: signed and nowhere recorded`);
    else if (intent.tbs_hash !== tbsSha256Hex) violations.add(`${what}: signed over other bytes than were intended`);
    else if (intent.state === 'issued' && !intent.recorded)
      violations.add(`${what}: its intent is issued, its certificate is gone`);
    else if (intent.state === 'abandoned' && !intent.revoked) violations.add(`${what}: abandoned and not revoked`);
  }
}

async function explainOcspSigners(
  tx: Transaction,
  entries: readonly JournalEntry[],
  violations: Violations,
): Promise<void> {
  if (entries.length === 0) return;
  const { rows } = await tx.query<{ serial: string }>(
    `SELECT body::jsonb ->> 'serial' AS serial FROM (SELECT kind, body FROM ledger UNION ALL SELECT kind, body FROM ledger_inbox) f
     WHERE kind = 'ocsp-signer.intended' AND body::jsonb ->> 'serial' = ANY($1::text[])`,
    [entries.map(({ name }) => name)],
  );
  const named = new Set(rows.map(({ serial }) => serial));
  for (const { name, keyLabel } of entries) {
    if (!named.has(name)) violations.add(`OCSP signer certificate ${name} by ${keyLabel}: signed and nowhere recorded`);
  }
}

/** A number may have been signed and lost in a crash; the CRL of that number that is recorded must be among the signed. */
async function explainCrls(tx: Transaction, entries: readonly JournalEntry[], violations: Violations): Promise<void> {
  const numbers = entries.map((entry) => ({ entry, match: /^crl:(.+):(\d+)$/.exec(entry.name) }));
  for (const { entry, match } of numbers) {
    if (!match && !isPartName(entry.name))
      violations.add(`journal entry ${entry.seq}: "${entry.name}" is no CRL’s name`);
  }
  await explainParts(tx, entries, violations);
  const named = numbers.flatMap(({ match }) =>
    match?.[1] && match[2] ? [{ label: match[1], number: Number(match[2]) }] : [],
  );
  if (named.length === 0) return;
  const { rows } = await tx.query<{ name: string; der: Buffer | null; tbs_sha256: string | null }>(
    `SELECT 'crl:' || u.label || ':' || c.number AS name, c.der, encode(c.tbs_sha256, 'hex') AS tbs_sha256 FROM unnest($1::text[], $2::bigint[]) AS j(label, number)
       JOIN issuer u ON u.label = j.label JOIN crl c ON c.issuer_id = u.id AND c.number = j.number GROUP BY 1, 2, 3`,
    [named.map(({ label }) => label), named.map(({ number }) => number)],
  );
  for (const { name, der, tbs_sha256 } of rows) {
    // Bytes are kept of the newest two; of the others it is the hash that must be the journal's.
    const hash = der === null ? tbs_sha256 : createHash('sha256').update(readCrlHead(der).tbsDer).digest('hex');
    const signed = entries.filter((entry) => entry.name === name);
    if (!signed.some(({ tbsSha256Hex }) => tbsSha256Hex === hash))
      violations.add(`${name}: the recorded CRL is not the one that was signed`);
    if (tbs_sha256 !== null && tbs_sha256 !== hash)
      violations.add(`${name}: the recorded CRL is not the one that its hash names`);
  }
}

async function explainHeads(tx: Transaction, entries: readonly JournalEntry[], violations: Violations): Promise<void> {
  if (entries.length === 0) return;
  const { rows } = await tx.query<{ name: string; text: string }>(
    `SELECT 'head:' || epoch || ':' || size AS name, head_text AS text FROM ledger_head
     UNION ALL SELECT 'head:' || epoch || ':' || size, head_text FROM ledger_head_intent`,
  );
  const known = new Map(
    rows.map(({ name, text }) => [name, createHash('sha256').update(text, 'latin1').digest('hex')]),
  );
  for (const { name, tbsSha256Hex } of entries) {
    const hash = known.get(name);
    if (hash === undefined) violations.add(`${name}: a head was signed that is not here`);
    else if (hash !== tbsSha256Hex) violations.add(`${name}: another head was signed than is here`);
  }
}

async function everyCertificateWasJournalled(
  tx: Transaction,
  serials: ReadonlySet<string>,
  violations: Violations,
): Promise<void> {
  let after: Buffer = Buffer.alloc(0);
  for (;;) {
    const { rows } = await tx.query<{ serial: Buffer }>(
      'SELECT serial FROM certificate WHERE serial > $1 ORDER BY serial LIMIT 10000',
      [after],
    );
    for (const { serial } of rows) {
      const hex = serial.toString('hex');
      if (!serials.has(hex)) violations.add(`certificate ${hex} is recorded and the signer never signed it`);
    }
    const last = rows.at(-1);
    if (!last) return;
    after = last.serial;
  }
}
