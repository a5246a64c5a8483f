import { createReadStream, existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Evidence, type Invariant, type Outcome, Violations } from './invariant.js';

export const SECRET_INVARIANTS: readonly Invariant[] = [
  { id: 16, name: 'no PIN, private key or token lies in a log, a job, an error or the ledger', check: noSecrets },
];

const CHUNK_BYTES = 1 << 20;
/** Short ones would match by accident. */
const SECRET_CHARACTERS_MIN = 8;
const KEY_MARK = 'PRIVATE KEY-----';

const TEXT_COLUMNS: readonly (readonly [table: string, column: string])[] = [
  ['ledger', 'body'],
  ['ledger_inbox', 'body'],
  ['dead_letter', 'payload'],
  ['dead_letter', 'error'],
  ['renewal_task', 'last_error'],
  ['evidence', 'facts'],
  ['refusal_count', 'sample'],
];

async function noSecrets({ tx, logDirs, secrets }: Evidence): Promise<Outcome> {
  const violations = new Violations();
  const needles = [KEY_MARK, ...secrets.filter((secret) => secret.length >= SECRET_CHARACTERS_MIN)];
  for (const dir of logDirs) {
    for (const file of filesUnder(dir)) {
      violations.examined += 1;
      for (const index of await findIn(file, needles)) violations.add(`${file} holds ${nameOf(index)}`);
    }
  }
  for (const [table, column] of TEXT_COLUMNS) {
    violations.examined += 1;
    const { rows } = await tx.query<{ index: number; n: number }>(
      `SELECT s.index - 1 AS index, count(*) AS n FROM ${table} t
         JOIN unnest($1::text[]) WITH ORDINALITY AS s(needle, index) ON strpos(t.${column}, s.needle) > 0 GROUP BY 1`,
      [needles],
    );
    for (const { index, n } of rows) violations.add(`${n} rows of ${table}.${column} hold ${nameOf(index)}`);
  }
  return violations.outcome();
}

/** Never the secret itself. */
function nameOf(index: number): string {
  return index === 0 ? 'a private key' : 'a PIN or token of this installation';
}

function filesUnder(dir: string): string[] {
  if (!existsSync(dir)) return [];
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .map((name) => join(dir, name))
    .filter((path) => statSync(path).isFile());
}

/** Indexes of the needles that occur; reads in pieces that overlap by the longest needle. */
async function findIn(path: string, needles: readonly string[]): Promise<Set<number>> {
  const found = new Set<number>();
  const overlap = Math.max(...needles.map((needle) => needle.length));
  let tail = '';
  for await (const chunk of createReadStream(path, { encoding: 'latin1', highWaterMark: CHUNK_BYTES })) {
    const text = tail + String(chunk);
    for (const [index, needle] of needles.entries()) if (text.includes(needle)) found.add(index);
    tail = text.slice(-overlap);
  }
  return found;
}
