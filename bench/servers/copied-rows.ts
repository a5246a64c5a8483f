import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { migrate } from '../../src/platform/db/migrate.js';

/** In the order of their references. */
export const COPIED_TABLES = [
  'key_seen',
  'lineage',
  'lineage_slot',
  'renewal_due',
  'issuance_intent',
  'certificate',
  'ledger_inbox',
] as const;

/** Rows of one flush, by table: `of` holds its attempts, numbered. */
const ROWS_OF: Readonly<Record<(typeof COPIED_TABLES)[number], string>> = {
  key_seen: 'SELECT k.* FROM key_seen k JOIN of USING (spki_hash)',
  lineage: 'SELECT l.* FROM lineage l JOIN of USING (unit_id)',
  // Without void_id, which PostgreSQL makes.
  lineage_slot: `SELECT id, lineage_id, s.unit_id, generation, state, s.spki_hash, s.issuer_id, s.serial, not_before,
    s.not_after, s.attempt_id, preissued, renew_from, renew_until, s.created_at, confirmed_at, confirmed_by, displaced_at,
    last_used_at, line_id FROM lineage_slot s JOIN of ON of.slot_id = s.id`,
  renewal_due: 'SELECT d.* FROM renewal_due d JOIN of USING (slot_id)',
  issuance_intent: 'SELECT i.* FROM issuance_intent i JOIN of USING (created_at, attempt_id)',
  certificate: 'SELECT c.* FROM certificate c JOIN of USING (not_after, issuer_id, serial)',
  ledger_inbox: 'SELECT e.* FROM ledger_inbox e JOIN of_entry ON of_entry.id = e.id AND of_entry.flush = $flush',
};

export interface RowCopies {
  readonly databaseUrl: string;
  /** Writes what was recorded since the last call as binary COPY, a file a flush and table; @returns the flushes' numbers */
  take(dir: string): Promise<number[]>;
  end(): Promise<void>;
}

/** A second database with the same tables on the same server, and the first one's rows as bytes for it. */
export async function startRowCopies(url: string, rowsAFlush: number): Promise<RowCopies> {
  const source = new pg.Client({ connectionString: url });
  await source.connect();
  await source.query('CREATE DATABASE copied');
  const copiedUrl = new URL(url);
  copiedUrl.pathname = '/copied';
  await migrate(copiedUrl.href);
  const target = new pg.Client({ connectionString: copiedUrl.href });
  await target.connect();
  for (const table of ['maker', 'batch']) await pass(source, target, table, `SELECT * FROM ${table}`);
  await source.query(
    `CREATE TEMP TABLE of_all (flush bigint, created_at timestamptz, attempt_id uuid, not_after timestamptz, issuer_id smallint,
       serial bytea, spki_hash bytea, unit_id integer, slot_id bigint);
     CREATE TEMP TABLE of_entry (flush bigint, id bigint);
     CREATE INDEX ON of_all (flush); CREATE INDEX ON of_entry (flush)`,
  );
  let flushes = 0;
  let lastEntry = '0';
  let lastUnit = 0;
  return {
    databaseUrl: copiedUrl.href,
    take: async (dir) => {
      await source.query(
        `INSERT INTO of_all SELECT $1::bigint + (row_number() OVER (ORDER BY created_at, attempt_id) - 1) / $2::int, created_at,
           attempt_id, not_after, issuer_id, serial, spki_hash, unit_id, slot_id
         FROM issuance_intent i WHERE purpose = 'operational' AND unit_id > $3`,
        [flushes, rowsAFlush, lastUnit],
      );
      await source.query(
        `INSERT INTO of_entry SELECT $1::bigint + (row_number() OVER (ORDER BY id) - 1) / ($2::int * 2), id FROM ledger_inbox
         WHERE id > $3 AND kind LIKE 'certificate.%'`,
        [flushes, rowsAFlush, lastEntry],
      );
      await source.query('ANALYZE of_all; ANALYZE of_entry');
      await pass(source, target, 'unit', `SELECT * FROM unit WHERE id > ${lastUnit} ORDER BY id`);
      const { rows } = await source.query<{ flush: string }>(
        'SELECT DISTINCT flush FROM of_all WHERE flush >= $1 ORDER BY flush',
        [flushes],
      );
      const numbers = rows.map(({ flush }) => Number(flush));
      for (const flush of numbers) {
        for (const table of COPIED_TABLES) {
          const of = `WITH of AS (SELECT * FROM of_all WHERE flush = ${flush})`;
          const sql = `${of} ${ROWS_OF[table].replace('$flush', String(flush))}`;
          writeFileSync(join(dir, `${flush}-${table}`), await copyOut(source, sql));
        }
      }
      flushes += numbers.length;
      const last = await source.query<{ entry: string; unit: number }>(
        'SELECT (SELECT max(id)::text FROM ledger_inbox) AS entry, (SELECT max(id) FROM unit) AS unit',
      );
      lastEntry = last.rows[0]?.entry ?? lastEntry;
      lastUnit = last.rows[0]?.unit ?? lastUnit;
      return numbers;
    },
    end: async () => void (await Promise.all([source.end(), target.end()])),
  };
}

async function pass(source: pg.Client, target: pg.Client, table: string, sql: string): Promise<void> {
  await copyIn(target, table, await copyOut(source, sql));
}

interface Wire {
  query(text: string): void;
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
}

export function copyOut(client: pg.Client, sql: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const handleCopyData = ({ chunk }: { chunk: Buffer }): void => void chunks.push(Buffer.from(chunk));
  return talk(client, `COPY (${sql}) TO STDOUT (FORMAT binary)`, { handleCopyData }).then(() => Buffer.concat(chunks));
}

function copyIn(client: pg.Client, table: string, bytes: Buffer): Promise<void> {
  const handleCopyInResponse = (wire: Wire): void => {
    wire.sendCopyFromChunk(bytes);
    wire.endCopyFrom();
  };
  return talk(client, `COPY ${table} FROM STDIN (FORMAT binary)`, { handleCopyInResponse });
}

/** pg has no COPY of its own; it hands the messages of whatever was submitted to its handlers. */
function talk(client: pg.Client, text: string, handlers: object): Promise<void> {
  return new Promise((done, fail) => {
    const submit = (wire: Wire): void => wire.query(text);
    const rest = { handleError: fail, callback: fail, handleCommandComplete: () => undefined };
    client.query({ submit, ...rest, handleReadyForQuery: () => done(), ...handlers } as never);
  });
}
