import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  boolArray,
  byteaArray,
  int4Array,
  int8Array,
  textArray,
  timestamptzArray,
  uuidArray,
} from '../../src/platform/db/binary-array.js';
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

  test('and every other type are the arrays that text would have made, nulls and extremes included', async () => {
    const ids = Array.from({ length: 3 }, () => randomUUID());
    const times = [
      new Date('1969-12-31T23:59:59.999Z'),
      null,
      new Date('2026-11-25T14:00:00.001Z'),
      new Date(253402300799999),
    ];
    const texts = ['', null, 'NULL', '{"a":"\\"}', 'Ünïcode ✓'];
    const columns: [string, Buffer, readonly unknown[]][] = [
      ['int', int4Array([0, null, -1, 2_147_483_647]), [0, null, -1, 2_147_483_647]],
      [
        'bigint',
        int8Array([0, null, -1, Number.MAX_SAFE_INTEGER, -4_294_967_297]),
        [0, null, -1, Number.MAX_SAFE_INTEGER, -4_294_967_297],
      ],
      ['timestamptz', timestamptzArray(times), times],
      ['boolean', boolArray([true, null, false]), [true, null, false]],
      ['uuid', uuidArray(ids), ids],
      ['text', textArray(texts), texts],
    ];
    for (const [type, binary, plain] of columns) {
      const sql = `SELECT $1::${type}[] IS NOT DISTINCT FROM $2::${type}[] AS same`;
      const { rows } = await db.pool.query(sql, [binary, plain]);
      expect({ type, ...rows[0] }).toEqual({ type, same: true });
    }
  });
});
