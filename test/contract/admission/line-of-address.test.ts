import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { factsReader } from '../../../src/lifecycle/admission/facts-reader.pg.js';
import { transactorOf } from '../../../src/platform/db/transaction.pg.js';
import { freshDatabase, type TestDatabase } from '../../support/database.js';

let db: TestDatabase;
beforeAll(async () => {
  db = await freshDatabase();
  await db.pool.query(`INSERT INTO line (name) SELECT 'L-' || n FROM generate_series(1, 400) n`);
});
afterAll(() => db.drop());

/** Reproducible: the same numbers for the same start. */
function numbers(start: number): (max: number) => number {
  let state = start;
  return (max) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >>> 8) % max;
  };
}

/** The line by authorise's own way through the ordered index. */
async function byFacts(addresses: readonly string[], at: Date): Promise<(number | null)[]> {
  const shown = {
    serial: Buffer.alloc(16),
    notAfter: at,
    notBefore: at,
    issuerDer: Buffer.alloc(0),
    der: Buffer.alloc(1),
  };
  const asked = addresses.map((address) => ({
    issuerId: null,
    address,
    shown: { ...shown, fingerprint: '', whole: null },
  }));
  const { known } = await factsReader.facts(transactorOf(db.pool).read, asked, at);
  return known.map(({ line }) => line?.lineId ?? null);
}

/** By comparing the address with every prefix. */
async function byScan(addresses: readonly string[], at: Date): Promise<(number | null)[]> {
  const { rows } = await db.pool.query<{ lineId: number | null }>(
    `SELECT (SELECT line_id FROM line_prefix p WHERE p.prefix >>= a AND valid_from <= $2 AND (valid_to IS NULL OR valid_to > $2)
       ORDER BY masklen(prefix) DESC, valid_from DESC LIMIT 1) AS "lineId"
     FROM unnest($1::inet[]) WITH ORDINALITY AS x(a, n) ORDER BY n`,
    [addresses, at],
  );
  return rows.map(({ lineId }) => lineId);
}

describe('the line of an address (rules 5.5)', () => {
  test.each([1, 2, 3, 4])('is that of the longest prefix which held then, in table %i of many', async (start) => {
    const random = numbers(start * 7_919);
    await db.pool.query('DELETE FROM line_prefix');
    const at = new Date('2026-11-25T09:00:00Z');
    const hours = (n: number): Date => new Date(at.getTime() + n * 3_600_000);
    const address = (): string =>
      random(3) === 0
        ? `2001:db8:${random(3).toString(16)}::${random(4).toString(16)}:${random(3).toString(16)}`
        : `10.${random(3)}.${random(4)}.${random(256)}`;
    for (let n = 1; n <= 400; n += 1) {
      const text = address();
      const bits = text.includes(':') ? 29 + random(100) : random(33);
      const from = hours(-1 - random(5));
      const to = random(3) === 0 ? hours(random(4) - 2) : null;
      if (to !== null && to <= from) continue;
      await db.pool.query(
        `INSERT INTO line_prefix (prefix, line_id, valid_from, valid_to) VALUES (network(set_masklen($1::inet, $2)), $3, $4, $5)
         ON CONFLICT DO NOTHING`,
        [text, bits, n, from, to],
      );
    }
    const addresses = Array.from({ length: 500 }, address);
    const expected = await byScan(addresses, at);
    expect(await byFacts(addresses, at)).toEqual(expected);
    expect(new Set(expected).size).toBeGreaterThan(20);
  });

  test('nothing where the table is empty, or knows the other family only', async () => {
    const at = new Date();
    await db.pool.query('DELETE FROM line_prefix');
    expect(await byFacts(['10.0.0.1', '2001:db8::1'], at)).toEqual([null, null]);
    await db.pool.query(
      `INSERT INTO line_prefix (prefix, line_id, valid_from) VALUES ('10.0.0.0/8', 1, now() - interval '1 h')`,
    );
    expect(await byFacts(['10.0.0.1', '2001:db8::1', '9.255.255.255', '11.0.0.0'], at)).toEqual([1, null, null, null]);
  });
});
