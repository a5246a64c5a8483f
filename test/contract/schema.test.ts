import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { freshDatabase, type TestDatabase } from '../support/database.js';

/** What prisma/schema.prisma says of one column, in PostgreSQL's words. */
interface Column {
  readonly type: string;
  readonly nullable: boolean;
}
type Tables = Record<string, Record<string, Column>>;

/** PostgreSQL's udt_name of Prisma's types; `@db.` says it more exactly where it stands. */
const SCALARS: Readonly<Record<string, string>> = {
  BigInt: 'int8',
  Boolean: 'bool',
  Bytes: 'bytea',
  DateTime: 'timestamp',
  Float: 'float8',
  Int: 'int4',
  Json: 'jsonb',
  String: 'text',
};
const NATIVE: Readonly<Record<string, string>> = {
  Date: 'date',
  Inet: 'inet',
  SmallInt: 'int2',
  Timestamptz: 'timestamptz',
  Uuid: 'uuid',
};

function readSchema(text: string): { tables: Tables; keys: Record<string, string[]> } {
  const tables: Tables = {};
  const keys: Record<string, string[]> = {};
  for (const [, body = ''] of text.matchAll(/^model \w+ \{$(.*?)^\}$/gms)) {
    const table = /@@map\("(\w+)"\)/.exec(body)?.[1] ?? '';
    const columns: Record<string, Column> = {};
    const columnOf: Record<string, string> = {};
    for (const line of body.split('\n')) {
      const field = /^\s+(\w+)\s+(Unsupported\("([^"]+)"\)|\w+)(\[\])?(\?)?(.*)$/.exec(line);
      if (!field || line.trimStart().startsWith('@@') || line.trimStart().startsWith('//')) continue;
      const [, name = '', prismaType = '', unsupported, list, optional, attributes = ''] = field;
      const scalar = unsupported?.replace(/^(\w+)\[\]$/, '_$1') ?? SCALARS[prismaType];
      if (scalar === undefined) continue; // a relation has no column of its own
      const native = /@db\.(\w+)/.exec(attributes)?.[1];
      const base = native === undefined ? scalar : (NATIVE[native] ?? native);
      const column = /@map\("(\w+)"\)/.exec(attributes)?.[1] ?? name;
      columns[column] = { type: list ? `_${base}` : base, nullable: optional === '?' };
      columnOf[name] = column;
      if (/@id\b/.test(attributes)) keys[table] = [column];
    }
    const composite = /@@id\(\[([^\]]+)\]/.exec(body)?.[1];
    if (composite) keys[table] = composite.split(',').map((name) => columnOf[name.trim()] ?? name.trim());
    tables[table] = columns;
  }
  return { tables, keys };
}

describe('prisma/schema.prisma and the migrated database', () => {
  let db: TestDatabase;
  const schema = readSchema(readFileSync(new URL('../../prisma/schema.prisma', import.meta.url), 'utf8'));
  beforeAll(async () => {
    db = await freshDatabase();
  });
  afterAll(async () => {
    await db.drop();
  });

  test('agree on every table and every column, its type and whether it may be null', async () => {
    const { rows } = await db.pool.query<{ table: string; column: string; type: string; nullable: boolean }>(
      `SELECT c.relname AS "table", a.attname AS "column", t.typname AS type, NOT a.attnotnull AS nullable
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
          AND a.attnum > 0 AND NOT a.attisdropped AND c.relname <> '_prisma_migrations'`,
    );
    const tables: Tables = {};
    for (const { table, column, type, nullable } of rows) {
      tables[table] = { ...tables[table], [column]: { type, nullable } };
    }
    expect(Object.keys(schema.tables).length).toBeGreaterThan(40);
    expect(Object.keys(schema.tables).sort()).toEqual(Object.keys(tables).sort());
    for (const [table, columns] of Object.entries(tables))
      expect({ table, ...schema.tables[table] }).toEqual({ table, ...columns });
  });

  test('agree on every primary key, column by column in order', async () => {
    const { rows } = await db.pool.query<{ table: string; columns: string[] }>(
      `SELECT c.relname AS "table", array_agg(a.attname::text ORDER BY k.place) AS columns
         FROM pg_constraint p JOIN pg_class c ON c.oid = p.conrelid
         CROSS JOIN LATERAL unnest(p.conkey) WITH ORDINALITY AS k(attnum, place)
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
        WHERE p.contype = 'p' AND c.relnamespace = 'public'::regnamespace AND NOT c.relispartition AND c.relname <> '_prisma_migrations'
        GROUP BY c.relname`,
    );
    const keys = Object.fromEntries(rows.map(({ table, columns }) => [table, columns]));
    for (const [table, columns] of Object.entries(keys))
      expect({ table, key: schema.keys[table] }).toEqual({ table, key: columns });
  });
});
