import { Gauge } from 'prom-client';
import type { Loop } from '../jobs/loop.js';
import type { Feed } from '../lifecycle/feed/index.js';
import type { Transaction } from '../platform/db/transaction.js';
import { cursors } from '../platform/ledger/cursors.pg.js';
import type { Probes } from '../platform/probes.js';

/** What the worker shows of itself; a value that cannot be had is NaN, which alarms as missing. */
export function showWorker(
  probes: Probes,
  { read, feed, loops }: { read: Transaction; feed: Pick<Feed, 'standings'>; loops: readonly Loop[] },
): void {
  const registers = [probes.registry];
  const count = async (sql: string): Promise<number> => (await read.query<{ n: number }>(sql)).rows[0]?.n ?? 0;
  new Gauge({
    name: 'femtopki_worker_loop_idle_seconds',
    help: 'Seconds since a loop last ended well; missing before its first run.',
    labelNames: ['loop'],
    registers,
    collect() {
      for (const loop of loops) {
        const idleMs = loop.idleMs();
        if (idleMs !== null) this.set({ loop: loop.name }, idleMs / 1_000);
      }
    },
  });
  const gauge = (name: string, help: string, value: () => Promise<number>): void => {
    new Gauge({
      name,
      help,
      registers,
      async collect() {
        this.set(await value().catch(() => Number.NaN));
      },
    });
  };
  gauge(
    'femtopki_ledger_backlog_seconds',
    'Age of the oldest ledger entry without a number; issuing stops at 60.',
    async () => (await cursors.backlogAgeMs(read)) / 1_000,
  );
  gauge('femtopki_ledger_heads_unanchored', 'Signed heads that have not left the host.', () =>
    count('SELECT count(*) AS n FROM ledger_head WHERE anchored_at IS NULL'),
  );
  gauge('femtopki_ledger_head_age_seconds', 'Seconds since the last signed head.', () =>
    count('SELECT coalesce(extract(epoch FROM clock_timestamp() - max(at)), 0)::int AS n FROM ledger_head'),
  );
  gauge('femtopki_renewals_overdue', 'Units past the end of their renewal window without a successor.', () =>
    count(`SELECT count(*) AS n FROM renewal_task WHERE state = 'overdue'`),
  );
  gauge('femtopki_jobs_dead', 'Dead letters that nobody has resolved.', () =>
    count('SELECT count(*) AS n FROM dead_letter WHERE resolved_at IS NULL'),
  );
  gauge(
    'femtopki_gateways_behind',
    'Approved gateways more than 60 s behind with revocations, or silent since they were approved.',
    async () => (await feed.standings()).filter(({ behind }) => behind !== null).length,
  );
  gauge(
    'femtopki_gateway_enforced_lag_seconds',
    'Age of the oldest revocation, hold or release that some gateway has not enforced; silent gateways do not count.',
    async () => Math.max(0, ...(await feed.standings()).map(({ enforcedLagSeconds }) => enforcedLagSeconds ?? 0)),
  );
}
