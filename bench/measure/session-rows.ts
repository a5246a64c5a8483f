import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { copyOut } from '../servers/copied-rows.js';

/** Tables without references, in a schema of their own. */
export const SESSION_TABLES = ['copied.session_event', 'copied.unit_session'] as const;

export interface SessionRows {
  /** Writes what reports brought since the last call as binary COPY, a file a report and table. */
  take(dir: string): Promise<{ flushes: number[]; events: number }>;
  /** Rows so far. */
  count(): Promise<{ events: number; sessions: number; ended: number; doubles: number }>;
  end(): Promise<void>;
}

/** What the product has written of sessions, as bytes that PostgreSQL takes in at best. */
export async function openSessionRows(url: string): Promise<SessionRows> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(
    `CREATE SCHEMA copied;
     CREATE TABLE copied.session_event (LIKE public.session_event INCLUDING ALL);
     CREATE TABLE copied.unit_session (LIKE public.unit_session INCLUDING ALL);
     CREATE TEMP TABLE of (flush bigint, gateway_id integer, stream uuid, received_at timestamptz)`,
  );
  let flushes = 0;
  return {
    take: async (dir) => {
      await client.query(
        `INSERT INTO of SELECT $1::bigint + row_number() OVER (ORDER BY received_at, stream) - 1, gateway_id, stream, received_at
         FROM session_event e WHERE NOT EXISTS (SELECT FROM of WHERE of.stream = e.stream AND of.received_at = e.received_at)
         GROUP BY gateway_id, stream, received_at`,
        [flushes],
      );
      const { rows } = await client.query<{ flush: string }>('SELECT flush FROM of WHERE flush >= $1 ORDER BY flush', [
        flushes,
      ]);
      const numbers = rows.map(({ flush }) => Number(flush));
      let events = 0;
      for (const flush of numbers) {
        const its = `SELECT e.* FROM session_event e
          JOIN of ON (of.gateway_id, of.stream, of.received_at) = (e.gateway_id, e.stream, e.received_at) WHERE of.flush = ${flush}`;
        const count = await client.query<{ n: number }>(`SELECT count(*)::int AS n FROM (${its}) e`);
        events += count.rows[0]?.n ?? 0;
        writeFileSync(join(dir, `${flush}-copied.session_event`), await copyOut(client, its));
        // A session is one row in the end, and the limit has nothing to update: it is written where it came up.
        const sessions = `SELECT s.* FROM unit_session s WHERE EXISTS (
          SELECT FROM (${its}) e WHERE e.kind = 'up' AND e.gateway_id = s.gateway_id AND e.session = s.session)`;
        writeFileSync(join(dir, `${flush}-copied.unit_session`), await copyOut(client, sessions));
      }
      flushes += numbers.length;
      return { flushes: numbers, events };
    },
    count: async () => {
      const { rows } = await client.query<Awaited<ReturnType<SessionRows['count']>>>(
        `SELECT (SELECT count(*)::int FROM session_event) AS events, (SELECT count(*)::int FROM session_probe) AS doubles,
           count(*)::int AS sessions, count(down_at)::int AS ended FROM unit_session WHERE up_at IS NOT NULL`,
      );
      return rows[0] as Awaited<ReturnType<SessionRows['count']>>;
    },
    end: () => client.end(),
  };
}
