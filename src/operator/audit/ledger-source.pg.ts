import { openPool, type Pool, type PoolClient } from '../../platform/db/pool.pg.js';
import type { NumberedEntry } from '../../platform/ledger/entry-hash.js';
import { type AnchorFile, readAnchorDir } from './anchor-dir.js';
import type { LedgerDescription, LedgerSource, StoredAnchor, StoredHead } from './ledger-source.js';

const PAGE = 2_000;

export interface DatabaseSourceOptions {
  readonly databaseUrl: string;
  /** Directory with anchors, a copy from outside at best. Absent: the verdict says that anchors were not compared. */
  readonly anchorDir?: string;
  /** PEM; from the ceremony's hierarchy or better from the auditor's own copy. */
  readonly auditCertificates: readonly string[];
}

/**
 * Reads the database itself, in one snapshot, so that a ledger that grows meanwhile is not taken for one that was
 * added to; needs SELECT only.
 */
export function databaseSource(options: DatabaseSourceOptions): LedgerSource {
  const pool = openPool(options.databaseUrl, {
    applicationName: 'audit',
    connectionsMax: 1,
    statementTimeoutMs: 0,
    onIdleError: () => undefined,
  });
  let opened: Promise<Snapshot> | undefined;
  const snapshot = (): Promise<Snapshot> => {
    opened ??= openSnapshot(pool, options.anchorDir);
    return opened;
  };
  return {
    name: 'database',
    describe: async () => describe(await snapshot(), options),
    entries: async function* (epoch) {
      yield* entries((await snapshot()).client, epoch);
    },
    heads: async function* (epoch) {
      yield* heads((await snapshot()).client, epoch);
    },
    anchors: (epoch) => (options.anchorDir === undefined ? null : anchorsOf(snapshot(), epoch)),
    close: async () => {
      if (opened) (await opened).client.release(true);
      await pool.end();
    },
  };
}

interface Snapshot {
  readonly client: PoolClient;
  /**
   * What lay in the directory before the snapshot, and what came for heads that the snapshot holds: an anchor that is
   * younger than the snapshot says nothing about it.
   */
  readonly anchors: readonly AnchorFile[];
}

async function openSnapshot(pool: Pool, anchorDir: string | undefined): Promise<Snapshot> {
  const before = anchorDir === undefined ? [] : readAnchorDir(anchorDir);
  const client = await pool.connect();
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  await client.query('SET LOCAL idle_in_transaction_session_timeout = 0');
  const { rows } = await client.query<{ epoch: number; size: number }>(
    'SELECT epoch, max(size) AS size FROM ledger_head GROUP BY epoch',
  );
  const lastHead = new Map(rows.map(({ epoch, size }) => [epoch, size]));
  const known = new Set(before.map(({ fileName }) => fileName));
  const since = (anchorDir === undefined ? [] : readAnchorDir(anchorDir)).filter(
    ({ fileName, epoch, size }) => !known.has(fileName) && size <= (lastHead.get(epoch) ?? 0),
  );
  const anchors = [...before, ...since].sort((a, b) => a.epoch - b.epoch || a.size - b.size);
  return { client, anchors };
}

async function describe({ client, anchors }: Snapshot, options: DatabaseSourceOptions): Promise<LedgerDescription> {
  const { rows: epochs } = await client.query<{ epoch: number; size: number | null }>(
    `SELECT e.epoch, f.size FROM (
       SELECT DISTINCT epoch FROM ledger UNION SELECT DISTINCT epoch FROM ledger_head UNION SELECT epoch FROM ledger_frontier
     ) e LEFT JOIN ledger_frontier f USING (epoch) ORDER BY e.epoch`,
  );
  const { rows: inbox } = await client.query<{ count: number; oldest: Date | null }>(
    'SELECT count(*) AS count, min(at) AS oldest FROM ledger_inbox',
  );
  const { rows: installation } = await client.query<{ installation_id: string }>(
    'SELECT installation_id FROM installation',
  );
  return {
    installation: installation[0]?.installation_id ?? null,
    epochs: [...new Set([...epochs, ...anchors].map(({ epoch }) => epoch))].sort((a, b) => a - b),
    sizes: new Map(epochs.flatMap(({ epoch, size }) => (size === null ? [] : [[epoch, size] as const]))),
    unsequenced: inbox[0]?.count ?? 0,
    oldestUnsequencedAt: inbox[0]?.oldest ?? null,
    auditCertificates: options.auditCertificates,
  };
}

async function* entries(client: PoolClient, epoch: number): AsyncGenerator<NumberedEntry> {
  for (let after = Number.MIN_SAFE_INTEGER; ; ) {
    const { rows } = await client.query<NumberedEntry>(
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

async function* heads(client: PoolClient, epoch: number): AsyncGenerator<StoredHead> {
  for (let after = -1; ; ) {
    const { rows } = await client.query<StoredHead>(
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

async function* anchorsOf(snapshot: Promise<Snapshot>, epoch: number): AsyncGenerator<StoredAnchor> {
  for (const file of (await snapshot).anchors) if (file.epoch === epoch) yield file.read();
}
