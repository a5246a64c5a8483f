import { openPool, type Pool } from '../../platform/db/pool.pg.js';
import type { NumberedEntry } from '../../platform/ledger/entry-hash.js';
import { readAnchorDir } from './anchor-dir.js';
import type { LedgerDescription, LedgerSource, StoredAnchor, StoredHead } from './ledger-source.js';

const PAGE = 2_000;

export interface DatabaseSourceOptions {
  readonly databaseUrl: string;
  /** Directory with anchors, a copy from outside at best. Absent: the verdict says that anchors were not compared. */
  readonly anchorDir?: string;
  /** PEM; from the ceremony's hierarchy or better from the auditor's own copy. */
  readonly auditCertificates: readonly string[];
}

/** Reads the database itself; needs SELECT only. */
export function databaseSource(options: DatabaseSourceOptions): LedgerSource {
  const pool = openPool(options.databaseUrl, {
    applicationName: 'audit',
    connectionsMax: 2,
    statementTimeoutMs: 0,
    onIdleError: () => undefined,
  });
  return {
    name: 'database',
    describe: () => describe(pool, options),
    entries: (epoch) => entries(pool, epoch),
    heads: (epoch) => heads(pool, epoch),
    anchors: (epoch) => (options.anchorDir === undefined ? null : anchorsOf(options.anchorDir, epoch)),
    close: () => pool.end(),
  };
}

async function describe(pool: Pool, options: DatabaseSourceOptions): Promise<LedgerDescription> {
  const { rows: epochs } = await pool.query<{ epoch: number; size: number | null }>(
    `SELECT e.epoch, f.size FROM (
       SELECT DISTINCT epoch FROM ledger UNION SELECT DISTINCT epoch FROM ledger_head UNION SELECT epoch FROM ledger_frontier
     ) e LEFT JOIN ledger_frontier f USING (epoch) ORDER BY e.epoch`,
  );
  const { rows: inbox } = await pool.query<{ count: number; oldest: Date | null }>(
    'SELECT count(*) AS count, min(at) AS oldest FROM ledger_inbox',
  );
  const { rows: installation } = await pool.query<{ installation_id: string }>(
    'SELECT installation_id FROM installation',
  );
  const anchored = options.anchorDir === undefined ? [] : readAnchorDir(options.anchorDir).map(({ epoch }) => epoch);
  return {
    installation: installation[0]?.installation_id ?? null,
    epochs: [...new Set([...epochs.map(({ epoch }) => epoch), ...anchored])].sort((a, b) => a - b),
    sizes: new Map(epochs.flatMap(({ epoch, size }) => (size === null ? [] : [[epoch, size] as const]))),
    unsequenced: inbox[0]?.count ?? 0,
    oldestUnsequencedAt: inbox[0]?.oldest ?? null,
    auditCertificates: options.auditCertificates,
  };
}

async function* entries(pool: Pool, epoch: number): AsyncGenerator<NumberedEntry> {
  for (let after = Number.MIN_SAFE_INTEGER; ; ) {
    const { rows } = await pool.query<NumberedEntry>(
      `SELECT epoch, seq, kind, subject, (extract(epoch FROM at) * 1000000)::bigint AS "atMicros", body,
              prev_hash AS "prevHash", hash
       FROM ledger WHERE epoch = $1 AND seq > $2 ORDER BY seq LIMIT $3`,
      [epoch, after, PAGE],
    );
    yield* rows;
    const last = rows.at(-1);
    if (!last || rows.length < PAGE) return;
    after = last.seq;
  }
}

async function* heads(pool: Pool, epoch: number): AsyncGenerator<StoredHead> {
  for (let after = -1; ; ) {
    const { rows } = await pool.query<StoredHead>(
      `SELECT epoch, size, merkle_root AS "merkleRoot", chain_hash AS "chainHash", at, head_text AS "headText", signature,
              anchored_at AS "anchoredAt"
       FROM ledger_head WHERE epoch = $1 AND size > $2 ORDER BY size LIMIT $3`,
      [epoch, after, PAGE],
    );
    yield* rows;
    const last = rows.at(-1);
    if (!last || rows.length < PAGE) return;
    after = last.size;
  }
}

async function* anchorsOf(dir: string, epoch: number): AsyncGenerator<StoredAnchor> {
  for (const file of readAnchorDir(dir)) if (file.epoch === epoch) yield file.read();
}
