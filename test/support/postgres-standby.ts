/**
 * A PostgreSQL of a test's own with a real streaming standby beside it, both of the embedded kind. The package brings no
 * `pg_basebackup`: the standby is a copy of the data directory between pg_backup_start and pg_backup_stop.
 */
import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import {
  connectionUrl,
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../src/platform/db/embedded-postgres.js';
import { placeHome, removeHome, serverAccount } from '../../src/platform/db/embedded-postgres-place.js';
import { migrate } from '../../src/platform/db/migrate.js';
import { openPool } from '../../src/platform/db/pool.pg.js';
import type { TestDatabase } from './database.js';

export interface ReplicatedPostgres {
  /** The primary's, migrated. */
  readonly db: TestDatabase;
  /** The same database on the standby. */
  readonly standbyUrl: string;
  /** Resolves when the standby has replayed all that is committed now. */
  caughtUp(): Promise<void>;
  /** The standby goes on receiving and shows nothing newer. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  stopPrimary(): Promise<void>;
  stopStandby(): Promise<void>;
  /** SIGKILL to the primary's whole server: what it had not sent is lost with it. */
  killPrimary(): Promise<void>;
  /** The former primary, started again on its own files; it calls itself a primary still. */
  restartPrimary(): Promise<void>;
  /** The standby becomes the primary of the next timeline. */
  promote(): Promise<void>;
  close(): Promise<void>;
}

const CAUGHT_UP_MS_MAX = 30_000;

/** @param options.synchronous  a commit is answered only when the standby has it on disk, too; both keep their disks' promises */
export async function startReplicatedPostgres(options: { synchronous?: boolean } = {}): Promise<ReplicatedPostgres> {
  const durable = options.synchronous === true;
  const dir = mkdtempSync(join(tmpdir(), 'fp-pair-'));
  const undo: (() => Promise<void> | void)[] = [() => rmSync(dir, { recursive: true, force: true })];
  const close = async (): Promise<void> => {
    for (const action of undo.splice(0).reverse()) await action();
  };
  try {
    let primary = await start(dir, 'primary', durable, undo);
    await migrate(primary.url);
    const primaryAdmin = await admin(primary, undo);
    await copyForStandby(dir, primary, primaryAdmin);
    const standby = await start(dir, 'standby', durable, undo);
    const standbyAdmin = await admin(standby, undo);
    if (durable) await waitForStandby(primaryAdmin);
    const pool = openPool(primary.url, { applicationName: 'test', connectionsMax: 20 });
    undo.push(() => pool.end());
    return {
      db: { url: primary.url, pool, drop: close },
      standbyUrl: standby.url,
      caughtUp: async () => {
        const lsn = (await primaryAdmin.query('SELECT pg_current_wal_insert_lsn()::text AS lsn')).rows[0].lsn;
        const isThere = 'SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn AS there';
        for (const end = Date.now() + CAUGHT_UP_MS_MAX; !(await standbyAdmin.query(isThere, [lsn])).rows[0].there; ) {
          if (Date.now() > end) throw new Error(`the standby did not reach ${lsn}: ${logOf(dir, 'standby')}`);
          await sleep(20);
        }
      },
      pause: async () => void (await standbyAdmin.query('SELECT pg_wal_replay_pause()')),
      resume: async () => void (await standbyAdmin.query('SELECT pg_wal_replay_resume()')),
      stopPrimary: () => primary.stop(),
      stopStandby: () => standby.stop(),
      killPrimary: async () => {
        process.kill(primary.pid, 'SIGKILL');
        await primary.exited;
      },
      restartPrimary: async () => {
        primary = await start(dir, 'primary', durable, undo);
      },
      promote: async () => void (await standbyAdmin.query('SELECT pg_promote(true, 30)')),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** From here on the primary waits for its standby at every commit. */
async function waitForStandby(client: pg.Client): Promise<void> {
  await client.query(`ALTER SYSTEM SET synchronous_standby_names = 'standby'`);
  await client.query('SELECT pg_reload_conf()');
  const isSync = `SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'`;
  for (const end = Date.now() + CAUGHT_UP_MS_MAX; (await client.query(isSync)).rowCount === 0; await sleep(20)) {
    if (Date.now() > end) throw new Error('the standby did not become synchronous');
  }
}

async function start(
  dir: string,
  name: string,
  durable: boolean,
  undo: (() => Promise<void> | void)[],
): Promise<EmbeddedPostgres> {
  const homeDir = join(dir, name);
  const server = await startEmbeddedPostgres({ homeDir, logFile: join(dir, `${name}.log`), durable });
  undo.push(async () => {
    await server.stop();
    removeHome(homeDir);
  });
  return server;
}

/** @returns a superuser's connection; its loss, when its server is stopped on purpose, is not news */
async function admin({ url }: EmbeddedPostgres, undo: (() => Promise<void> | void)[]): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: connectionUrl(socketOf(url), 'postgres', 'postgres') });
  client.on('error', () => undefined);
  await client.connect();
  undo.push(() => client.end().catch(() => undefined));
  return client;
}

/** One URL that names both, the primary of now first. */
export function bothServers({ db, standbyUrl }: ReplicatedPostgres): string {
  return `${db.url},${encodeURIComponent(socketOf(standbyUrl))}`;
}

function socketOf(url: string): string {
  return new URL(url).searchParams.get('host') ?? '';
}

async function copyForStandby(dir: string, primary: EmbeddedPostgres, client: pg.Client): Promise<void> {
  const account = serverAccount(join(dir, 'primary'));
  const from = join(placeHome(join(dir, 'primary'), account), 'cluster');
  // The standby calls under the account that the servers run as.
  const accountName = execFileSync('id', ['-nu', String(account.uid)], { encoding: 'utf8' }).trim();
  appendFileSync(join(from, 'pg_hba.conf'), 'local replication postgres peer map=standby\n');
  appendFileSync(join(from, 'pg_ident.conf'), `standby ${accountName} postgres\n`);
  // What the copy lacks is fetched from the primary: it must still be there.
  await client.query(`ALTER SYSTEM SET wal_keep_size = '512MB'`);
  await client.query('SELECT pg_reload_conf()');

  const home = placeHome(join(dir, 'standby'), account);
  const to = join(home, 'cluster');
  await client.query(`SELECT pg_backup_start('standby', true)`);
  // Files may vanish and change under the copy: the log replayed from the label on makes that good.
  execFileSync('cp', ['-a', from, to]);
  const { rows } = await client.query('SELECT labelfile FROM pg_backup_stop(false)');
  rmSync(join(to, 'postmaster.pid'), { force: true });
  const conninfo = `host=${socketOf(primary.url)} user=postgres application_name=standby`;
  const files = {
    backup_label: rows[0].labelfile as string,
    'standby.signal': '',
    'postgresql.auto.conf': `primary_conninfo = '${conninfo}'\nhot_standby = on\n`,
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(to, name), text, { mode: 0o600 });
  if (account.switched) execFileSync('chown', ['-R', `${account.uid}:${account.gid}`, to]);
}

function logOf(dir: string, name: string): string {
  return readFileSync(join(dir, `${name}.log`), 'utf8')
    .split('\n')
    .slice(-5)
    .join(' | ');
}
