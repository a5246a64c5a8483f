import type { Pool } from '../../src/platform/db/pool.pg.js';
import type { HttpLine } from './http-line.js';

const REQUEST = Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
const PATIENCE_MS = 10_000;

/** Changes what `notify-http` answers. @returns milliseconds from the commit to the answer that says so */
export function bareTeller(pool: Pool, line: HttpLine): () => Promise<number> {
  let told = 0;
  return async () => {
    told += 1;
    await pool.query(`WITH changed AS (UPDATE heartbeat SET epoch = epoch) SELECT pg_notify('bench_told', $1)`, [
      String(told),
    ]);
    const committed = performance.now();
    while ((await line.ask(REQUEST)).body.toString() !== String(told)) {
      if (performance.now() - committed > PATIENCE_MS) break;
    }
    return performance.now() - committed;
  };
}
