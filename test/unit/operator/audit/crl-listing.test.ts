import { describe, expect, test } from '@jest/globals';
import { compareWithRows, type NewestCrl } from '../../../../src/operator/audit/invariants/crl-listing.pg.js';
import { Violations } from '../../../../src/operator/audit/invariants/invariant.js';
import type { Transaction } from '../../../../src/platform/db/transaction.js';
import { crlEntry } from '../../../../src/x509/crl.js';

const AS_OF = new Date('2026-11-01T12:00:00Z');
const ago = (seconds: number): Date => new Date(AS_OF.getTime() - seconds * 1_000);
const NEWEST: NewestCrl = {
  issuer_id: 7,
  label: 'device-ca-1',
  number: 3,
  this_update: ago(600),
  next_update: ago(-21_000),
  published_at: ago(599),
  certificate_der: Buffer.alloc(0),
};

interface Row {
  readonly serial: Buffer;
  readonly state: string;
  readonly not_after: Date;
  readonly changed_at: Date;
}

const serialOf = (number: number): Buffer => {
  const serial = Buffer.alloc(16, 1);
  serial.writeUInt32BE(number, 12);
  return serial;
};
const row = (number: number, changes: Partial<Row> = {}): Row => ({
  serial: serialOf(number),
  state: 'revoked',
  not_after: ago(-86_400),
  changed_at: ago(900),
  ...changes,
});
const entry = (number: number): Buffer => crlEntry({ serial: serialOf(number), revokedAt: ago(900), reason: 1 });

/** The table, in whatever pages it is asked for; and how large the largest was. */
function tableOf(rows: readonly Row[]): { tx: Transaction; largest: () => number } {
  let largest = 0;
  const query = async (_sql: string, [, after, limit]: readonly unknown[] = []) => {
    const page = rows.filter(({ serial }) => serial.compare(after as Buffer) > 0).slice(0, limit as number);
    largest = Math.max(largest, page.length);
    return { rows: page, rowCount: page.length };
  };
  return { tx: { query } as unknown as Transaction, largest: () => largest };
}

async function compared(rows: readonly Row[], listed: readonly number[]) {
  const violations = new Violations();
  const entriesDer = Buffer.concat(listed.map(entry));
  await compareWithRows(tableOf(rows).tx, { newest: NEWEST, entriesDer, asOf: AS_OF }, violations);
  return violations.outcome();
}

const hex = (number: number): string => serialOf(number).toString('hex');

describe('a CRL beside the rows that it is made of', () => {
  test('agrees with them whatever their number, and a page of them is in memory', async () => {
    const numbers = Array.from({ length: 25_001 }, (_, at) => at);
    const table = tableOf(numbers.map((number) => row(number)));
    const violations = new Violations();
    const entriesDer = Buffer.concat(numbers.map(entry));
    await compareWithRows(table.tx, { newest: NEWEST, entriesDer, asOf: AS_OF }, violations);
    expect(violations.outcome()).toEqual({ examined: 25_001, violations: [] });
    expect(table.largest()).toBeLessThanOrEqual(10_000);
  });

  test.each<[string, Row[], number[], string[]]>([
    [
      'a serial without a row, at the front',
      [row(2)],
      [1, 2],
      [`${hex(1)} is on CRL 3 of device-ca-1 and not in the database`],
    ],
    ['and at the end', [row(2)], [2, 5], [`${hex(5)} is on CRL 3 of device-ca-1 and not in the database`]],
    ['one that stands twice', [row(2)], [2, 2], [`${hex(2)} is twice on CRL 3 of device-ca-1`]],
    ['and in a list out of order', [row(2), row(3)], [3, 2, 3], [`${hex(3)} is twice on CRL 3 of device-ca-1`]],
    [
      'one that was let go',
      [row(1), row(2, { state: 'released' })],
      [1, 2],
      [`${hex(2)} was released and is still on CRL 3 of device-ca-1`],
    ],
    [
      'one that is missing',
      [row(1), row(2), row(3)],
      [1, 3],
      [`${hex(2)} is revoked since ${ago(900).toISOString()} and not on CRL 3 of device-ca-1`],
    ],
  ])('tells of %s', async (_what, rows, listed, violations) => {
    expect((await compared(rows, listed)).violations).toEqual(violations);
  });

  test('takes as right what changed within the minute, what ended before the CRL, and what was let go', async () => {
    const rows = [
      row(1, { changed_at: ago(30) }),
      row(2, { not_after: ago(601) }),
      row(3, { state: 'released' }),
      row(4, { state: 'released', changed_at: ago(30) }),
      row(5),
    ];
    expect(await compared(rows, [4, 5])).toEqual({ examined: 2, violations: [] });
  });
});
