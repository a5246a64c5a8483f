import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { startEmbeddedPostgres } from '../../src/platform/db/embedded-postgres.js';
import { removeHome } from '../../src/platform/db/embedded-postgres-place.js';

const OWNER = fileURLToPath(new URL('../fixtures/processes/postgres-owner.ts', import.meta.url));
const LOADER = new URL('../../bin/ts-loader.mjs', import.meta.url).href;

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'fp-pg-')); // 0700: out of reach for another account
});
afterAll(() => {
  removeHome(join(dir, 'home'));
  rmSync(dir, { recursive: true, force: true });
});

/** A process with an embedded PostgreSQL in the directory's home. */
async function startOwner(): Promise<{ owner: ChildProcess; url: string; pid: number }> {
  const owner = spawn(process.execPath, ['--import', LOADER, OWNER, join(dir, 'home'), join(dir, 'log')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const line = await new Promise<string>((done, fail) => {
    owner.stdout?.once('data', (chunk: Buffer) => done(chunk.toString()));
    owner.once('exit', (code) =>
      fail(new Error(`the owner ended with ${code}: ${readFileSync(join(dir, 'log'), 'utf8')}`)),
    );
  });
  return { owner, ...(JSON.parse(line) as { url: string; pid: number }) };
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<object>(sql)).rows;
  } finally {
    await client.end();
  }
}

async function gone(pid: number): Promise<boolean> {
  for (let tries = 0; tries < 100 && existsSync(`/proc/${pid}`); tries++) await sleep(50);
  return !existsSync(`/proc/${pid}`);
}

describe('the embedded PostgreSQL', () => {
  test('listens on no port, knows no password, and lets its owner in as no superuser', async () => {
    const { owner, url, pid } = await startOwner();
    expect(
      await query(
        url,
        "SELECT current_setting('listen_addresses') AS addresses, current_setting('fsync') AS fsync, usesuper FROM pg_user WHERE usename = current_user",
      ),
    ).toEqual([{ addresses: '', fsync: 'on', usesuper: false }]);
    await expect(query(url.replace('femtopki@', 'somebody@'), 'SELECT 1')).rejects.toThrow(
      'Peer authentication failed',
    );
    await query(url, 'CREATE TABLE kept (id int)');
    owner.kill('SIGTERM');
    expect(await gone(pid)).toBe(true);
  });

  test('ends when its owner is killed, and a committed row is there after the next start', async () => {
    const first = await startOwner();
    await query(first.url, 'INSERT INTO kept VALUES (1)');
    first.owner.kill('SIGKILL');
    expect(await gone(first.pid)).toBe(true);
    const second = await startOwner();
    expect(await query(second.url, 'SELECT id FROM kept')).toEqual([{ id: 1 }]);
    second.owner.kill('SIGTERM');
    await gone(second.pid);
  });

  test('a server left over from a killed owner is shut down before the next one starts', async () => {
    const first = await startOwner();
    await query(first.url, 'INSERT INTO kept VALUES (2)');
    // As if the kernel had not told it: a second owner while the first server still runs.
    const second = await startOwner();
    expect(await gone(first.pid)).toBe(true);
    expect(await query(second.url, 'SELECT count(*)::int AS n FROM kept')).toEqual([{ n: 2 }]);
    for (const { owner } of [first, second]) owner.kill('SIGTERM');
    expect(await gone(second.pid)).toBe(true);
  });

  test('a cluster of another major version is refused with the way out', async () => {
    const inReach = mkdtempSync(join('/var/tmp', 'fp-old-'));
    mkdirSync(join(inReach, 'cluster'));
    writeFileSync(join(inReach, 'cluster', 'PG_VERSION'), '15\n');
    await expect(startEmbeddedPostgres({ homeDir: inReach, logFile: join(dir, 'log') })).rejects.toThrow(
      /written by PostgreSQL 15, this femtopki brings 18: .*femtopki export/,
    );
    rmSync(inReach, { recursive: true });
  });
});
