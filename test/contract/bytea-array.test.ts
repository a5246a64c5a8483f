import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { byteaArray } from '../../src/platform/db/bytea-array.js';
import { freshDatabase, type TestDatabase } from '../support/database.js';

describe('byte strings for PostgreSQL in binary form', () => {
  let db: TestDatabase;
  beforeAll(async () => {
    db = await freshDatabase();
  });
  afterAll(async () => {
    await db.drop();
  });

  const back = async (values: readonly Buffer[]): Promise<Buffer[]> => {
    const sql = 'SELECT v FROM unnest($1::bytea[]) WITH ORDINALITY AS u(v, n) ORDER BY n';
    return (await db.pool.query<{ v: Buffer }>(sql, [byteaArray(values)])).rows.map(({ v }) => v);
  };

  test('come back byte for byte and in order, whatever their length', async () => {
    const values = [Buffer.alloc(0), Buffer.from([0]), Buffer.from('\\x"{},NULL', 'latin1'), randomBytes(70_000)];
    expect(await back(values)).toEqual(values);
  });

  test('are the array that hex text would have made', async () => {
    const values = Array.from({ length: 300 }, (_, length) => randomBytes(length));
    const { rows } = await db.pool.query<{ same: boolean }>('SELECT $1::bytea[] = $2::bytea[] AS same', [
      byteaArray(values),
      values,
    ]);
    expect(rows).toEqual([{ same: true }]);
  });

  test('may be none at all', async () => {
    expect(await back([])).toEqual([]);
    const { rows } = await db.pool.query<{ found: boolean }>(`SELECT '\\x00'::bytea = ANY($1::bytea[]) AS found`, [
      byteaArray([]),
    ]);
    expect(rows).toEqual([{ found: false }]);
  });
});
