import type { Transaction, Transactor } from './db/transaction.js';
import type { RefusalRow, RefusalStore } from './refusals.js';

/** Bytes of refusal rows a day over all processes: some 70,000 rows. */
export const REFUSAL_BYTES_A_DAY = 16 * 1024 * 1024;
/** Tuple header, index entry, timestamps and count beside the texts. */
const ROW_OVERHEAD_BYTES = 120;

export function openRefusalStore(transactor: Transactor, bytesADay = REFUSAL_BYTES_A_DAY): RefusalStore {
  return { add: (rows) => transactor.run((tx) => addRows(tx, rows, bytesADay)) };
}

async function addRows(tx: Transaction, rows: readonly RefusalRow[], bytesADay: number): Promise<void> {
  const days = new Set(rows.map(({ minute }) => minute.toISOString().slice(0, 10)));
  for (const day of [...days].sort()) {
    const ofDay = rows.filter(({ minute }) => minute.toISOString().startsWith(day));
    // The day's row is the lock: writers come one after another, so the budget is exact over all processes.
    await tx.query('INSERT INTO refusal_budget (day, bytes) VALUES ($1, 0) ON CONFLICT DO NOTHING', [day]);
    const { rows: budget } = await tx.query<{ bytes: number }>(
      'SELECT bytes FROM refusal_budget WHERE day = $1 FOR UPDATE',
      [day],
    );
    const written = await upsert(tx, (budget[0]?.bytes ?? 0) >= bytesADay ? ofDay.map(folded) : ofDay);
    await tx.query('UPDATE refusal_budget SET bytes = bytes + $2 WHERE day = $1', [day, written]);
  }
}

/** Past the budget only (code, minute) is told apart: some 60 codes, 1,440 minutes, whatever arrives. */
function folded(row: RefusalRow): RefusalRow {
  return { ...row, sourcePrefix: '*', sample: '' };
}

/** @returns bytes of the rows that are new */
async function upsert(tx: Transaction, rows: readonly RefusalRow[]): Promise<number> {
  const { rows: written } = await tx.query<{ bytes: number }>(
    `WITH incoming AS (
       SELECT source_prefix, code, minute, sum(count)::bigint AS count, max(sample) AS sample
       FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::bigint[], $5::text[])
         AS t (source_prefix, code, minute, count, sample)
       GROUP BY source_prefix, code, minute
     ), stored AS (
       INSERT INTO refusal_count (source_prefix, code, minute, count, sample)
       SELECT source_prefix, code, minute, count, sample FROM incoming
       ON CONFLICT (minute, source_prefix, code) DO UPDATE SET count = refusal_count.count + excluded.count
       RETURNING xmax = 0 AS fresh, source_prefix, code, sample
     )
     SELECT coalesce(sum($6 + octet_length(source_prefix) + octet_length(code) + octet_length(sample)), 0)::bigint AS bytes
     FROM stored WHERE fresh`,
    [
      rows.map(({ sourcePrefix }) => sourcePrefix),
      rows.map(({ code }) => code),
      rows.map(({ minute }) => minute),
      rows.map(({ count }) => count),
      rows.map(({ sample }) => sample),
      ROW_OVERHEAD_BYTES,
    ],
  );
  return written[0]?.bytes ?? 0;
}
