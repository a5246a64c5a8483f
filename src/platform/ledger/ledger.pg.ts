import { textArray, timestamptzArray } from '../db/binary-array.js';
import { oneOf } from '../db/set-statement.js';
import type { Transaction } from '../db/transaction.js';
import { FemtoError } from '../errors.js';
import { canonicalBody } from './canonical-json.js';
import type { Ledger, LedgerEntry } from './ledger.js';
import { refuseSecrets } from './refuse-secrets.js';

const KIND = /^[a-z][a-z0-9-]{1,40}\.[a-z][a-z0-9-]{1,40}$/;
const SUBJECT_CHARACTERS_MAX = 500;
/** Escaped for screens and logs: a subject comes from names that people and makers chose. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: refusing them is the point
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/;

const append = oneOf(appendSets);

/**
 * Entries go into `ledger_inbox` with one statement, in the caller's transaction: they exist if and only if it commits.
 *
 * @throws FemtoError INTERNAL for an entry that may not be kept (kind, subject, body); nothing is written then
 */
export const ledger: Ledger = {
  append: async (tx, entries) => {
    if (entries.length > 0) await append(tx, entries.map(rowOf));
  },
};

interface InboxRow {
  readonly kind: string;
  readonly subject: string;
  readonly at: Date;
  readonly body: string;
}

function rowOf(entry: LedgerEntry): InboxRow {
  checkNames(entry);
  const { kind, subject, at, body } = entry;
  return { kind, subject, at, body: canonicalBody(body) };
}

async function appendSets(tx: Transaction, sets: readonly (readonly InboxRow[])[]): Promise<undefined[]> {
  const rows = sets.flat();
  await tx.query(
    `INSERT INTO ledger_inbox (kind, subject, at, body)
     SELECT kind, subject, at, body
     FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[]) WITH ORDINALITY AS e(kind, subject, at, body, n)
     ORDER BY n`,
    [
      textArray(rows.map(({ kind }) => kind)),
      textArray(rows.map(({ subject }) => subject)),
      timestamptzArray(rows.map(({ at }) => at)),
      textArray(rows.map(({ body }) => body)),
    ],
    { preparedAs: 'ledger-append' },
  );
  return sets.map(() => undefined);
}

function checkNames({ kind, subject, at }: LedgerEntry): void {
  if (!KIND.test(kind)) throw unfit(`kind "${kind.slice(0, 60)}" is not <noun>.<past participle>`);
  if (subject === '' || subject.length > SUBJECT_CHARACTERS_MAX || CONTROL.test(subject)) {
    throw unfit(`subject must have 1 to ${SUBJECT_CHARACTERS_MAX} characters and no control characters`);
  }
  refuseSecrets('', subject);
  if (Number.isNaN(at.getTime())) throw unfit('time is not a time');
}

function unfit(fault: string): FemtoError {
  return new FemtoError('INTERNAL', `A ledger entry's ${fault}.`);
}
