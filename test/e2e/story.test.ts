import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ACTS } from '../../src/apps/story/story.js';
import { makeWorld, type World } from '../../src/apps/story/world.js';
import { startInstallation, type TestInstallation } from '../support/installation.js';
import { storyContext } from '../support/story-context.js';

let installation: TestInstallation;
let context: ReturnType<typeof storyContext>;
let world: World;

beforeAll(async () => {
  installation = await startInstallation();
  await installation.said('femtopki serves', 240_000);
  context = storyContext(installation.dataDir);
  world = await makeWorld(context);
}, 300_000);
afterAll(async () => {
  await context.pool.end();
  await installation.remove();
}, 60_000);

test('the first start tells the whole story and every verdict is right', () => {
  expect(installation.output()).toContain(`${ACTS.length} of ${ACTS.length} verdicts are as they must be.`);
});

/** Breaks the subject of one act and gives back how to mend it. */
type Breaking = (world: World) => Promise<() => Promise<void>>;

const BREAKINGS: Readonly<Record<string, Breaking>> = {
  ceremony: swapped('access-root.ca.pem', 'bootstrap-root.ca.pem'),
  machines: swapped('garam-station-1.pem', 'device-ca-1.ca.pem'),
  manifest: altered('manifest.jws', (text) => text.slice(0, -4)),
  bootstrap: (it) =>
    statement(
      it,
      `UPDATE unit SET state = 'RETIRED' WHERE serial_number = $1`,
      `UPDATE unit SET state = 'MANIFESTED' WHERE serial_number = $1`,
    ),
  'factory-retry': altered('bootstrap-again.pem', (text) => `${text}\n`),
  'bootstrap-at-gateway': (it) => machineState(it, 'segw-gangnam-1', 'disabled'),
  'no-grant': altered('early.csr', () => 'no request'),
  activation: swapped('unit.pem', 'bootstrap.pem'),
  'ocsp-good': swapped('unit.pem', 'bootstrap.pem'),
  permit: swapped('unit.pem', 'bootstrap.pem'),
  renewal: swapped('unit.pem', 'generation-1.pem'),
  'pre-issue': swapped('second.pem', 'second-1.pem'),
  cmp: swapped('third.pem', 'third-1.pem'),
  est: swapped('third.pem', 'third-2.pem'),
  'stolen-ocsp': swapped('unit.pem', 'second.pem'),
  'stolen-crl': swapped('unit.pem', 'second.pem'),
  'stolen-renewal': forgottenLoss,
  ledger: alteredLedger,
  'stolen-gateway': (it) =>
    statement(
      it,
      `UPDATE unit SET state = 'ACTIVE' WHERE serial_number = $1`,
      `UPDATE unit SET state = 'LOST' WHERE serial_number = $1`,
    ),
};

describe('each act can fail: its subject is broken, its verdict is another one, and mended it is right again', () => {
  test('every act has a breaking', () => {
    expect(Object.keys(BREAKINGS)).toEqual(ACTS.map(({ name }) => name));
  });

  // In the story's own order: each act stands on the ones before.
  for (const act of ACTS) {
    test(act.name, async () => {
      await act.happen(world);
      const breaking = BREAKINGS[act.name];
      if (!breaking) throw new Error(`no breaking for ${act.name}`);
      const mend = await breaking(world);
      const broken = await act.judge(world).catch((error: Error) => `broke off: ${error.message}`);
      await mend();
      expect(broken).not.toBe(act.expected);
      expect(await act.judge(world)).toBe(act.expected);
    }, 120_000);
  }
});

test('a story with one wrong verdict ends at it, says so in its JSON, and exits 1', async () => {
  await installation.end();
  const stubs = mkdtempSync(join(tmpdir(), 'fp-stub-'));
  // The station's tool for comparing two files says that they differ.
  writeFileSync(join(stubs, 'cmp'), '#!/bin/sh\necho differ\nexit 1\n', { mode: 0o755 });
  const jsonFile = join(stubs, 'story.json');
  const path = process.env['PATH'] ?? '';
  process.env['PATH'] = `${stubs}:${path}`;
  try {
    const again = await startInstallation({ dataDir: installation.dataDir, args: ['--once', '--json', jsonFile] });
    expect(await again.ended()).toBe(1);
    const { acts } = JSON.parse(readFileSync(jsonFile, 'utf8')) as { acts: { ok: boolean; got: string }[] };
    expect(acts.at(-1)).toMatchObject({ ok: false, got: 'differ' });
    expect(acts.filter(({ ok }) => !ok)).toHaveLength(1);
  } finally {
    process.env['PATH'] = path;
    rmSync(stubs, { recursive: true });
  }
}, 180_000);

function swapped(file: string, other: string): Breaking {
  return async (it) => {
    const saved = it.read(file);
    copyFileSync(it.path(other), it.path(file));
    return async () => it.write(file, saved);
  };
}

function altered(file: string, change: (text: string) => string): Breaking {
  return async (it) => {
    const saved = it.read(file);
    it.write(file, change(saved));
    return async () => it.write(file, saved);
  };
}

async function statement(it: World, breakSql: string, mendSql: string): Promise<() => Promise<void>> {
  await it.context.pool.query(breakSql, [it.serialNumber]);
  return async () => {
    await it.context.pool.query(mendSql, [it.serialNumber]);
  };
}

async function machineState(it: World, name: string, state: string): Promise<() => Promise<void>> {
  const set = (value: string) => it.context.pool.query('UPDATE machine SET state = $2 WHERE name = $1', [name, value]);
  await set(state);
  return async () => {
    await set('approved');
  };
}

/** A database in which nobody ever reported the loss. */
async function forgottenLoss(it: World): Promise<() => Promise<void>> {
  const { pool } = it.context;
  const { rows } = await pool.query<{ id: number }>('SELECT id FROM unit WHERE serial_number = $1', [it.serialNumber]);
  const id = rows[0]?.id;
  await pool.query('CREATE TABLE forgotten AS SELECT * FROM revoked_certificate WHERE unit_id = $1', [id]);
  await pool.query('DELETE FROM revoked_certificate WHERE unit_id = $1', [id]);
  await pool.query(`UPDATE unit SET state = 'ACTIVE' WHERE id = $1`, [id]);
  return async () => {
    await pool.query('INSERT INTO revoked_certificate SELECT * FROM forgotten ON CONFLICT DO NOTHING');
    await pool.query('DROP TABLE forgotten');
    await pool.query(`UPDATE unit SET state = 'LOST' WHERE id = $1`, [id]);
  };
}

/** An insider with the database's own account edits one entry. */
async function alteredLedger(it: World): Promise<() => Promise<void>> {
  const edit = async (from: string, to: string) => {
    const client = await it.context.pool.connect();
    try {
      await client.query('ALTER TABLE ledger DISABLE TRIGGER ledger_no_change');
      await client.query(
        `UPDATE ledger SET body = replace(body, $1, $2) WHERE seq = (SELECT min(seq) FROM ledger WHERE body LIKE '%' || $1 || '%')`,
        [from, to],
      );
      await client.query('ALTER TABLE ledger ENABLE TRIGGER ledger_no_change');
    } finally {
      client.release();
    }
  };
  await edit('system:first-run', 'system:first-ruN');
  return () => edit('system:first-ruN', 'system:first-run');
}
