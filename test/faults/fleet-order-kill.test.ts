import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { wireCore } from '../../src/apps/wire-core.js';
import { type FleetWorld, startFleetWorld } from '../support/fleet-world.js';

const UNITS = 20_000;
const LOADER = new URL('../../bin/ts-loader.mjs', import.meta.url).href;
const CHILD = fileURLToPath(new URL('../support/fleet-child.ts', import.meta.url));

let world: FleetWorld;
beforeAll(async () => {
  world = await startFleetWorld();
});
afterAll(async () => {
  await world.close();
});

async function order(id: number): Promise<{ state: string; done: number }> {
  const { rows } = await world.db.pool.query('SELECT state, done_count AS done FROM fleet_order WHERE id = $1', [id]);
  return rows[0];
}

function carryOut(id: number): ChildProcess {
  return spawn(process.execPath, ['--import', LOADER, CHILD, world.db.url, String(id)], {
    env: { ...process.env, NODE_OPTIONS: '' },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
}

/** Kills without warning as soon as the order has come further than `from`. */
async function killBeyond(id: number, from: number): Promise<number> {
  const child = carryOut(id);
  const exited = once(child, 'exit');
  while ((await order(id)).done <= from && child.exitCode === null) await sleep(5);
  child.kill('SIGKILL');
  await exited;
  // PostgreSQL may still be committing what the dead process sent last.
  while ((await connections()) > 0) await sleep(5);
  return (await order(id)).done;
}

async function connections(): Promise<number> {
  const { rows } = await world.db.pool.query<{ n: number }>(
    `SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'operator-server'`,
  );
  return rows[0]?.n ?? 0;
}

test('killed twice in the middle, an order goes on where it was: nothing twice, nothing left out, nothing taken back', async () => {
  await world.addBatch('KILL', UNITS);
  await world.addBatch('OTHER', 1);
  const phrase = `revoke ${UNITS} units`;
  const asked = await world.femtopki(
    ...['fleet', 'revoke', '--batch', 'KILL', '--reason', 'recalled', '--confirm', phrase, '--ask', '-o', 'json'],
  );
  const { id, approval } = asked.json as { id: number; approval: number };
  await world.femtopki('approval', 'approve', String(approval), '--as', 'approver');

  const first = await killBeyond(id, 0);
  expect([first > 0, first < UNITS]).toEqual([true, true]);
  // Whoever watches has the first of them before the last is done, and others are not held up.
  expect(await world.statuses('KILL')).toEqual({ 'revoked 0': first });
  const { rows: dirty } = await world.db.pool.query('SELECT issuer_id FROM crl_dirty');
  expect(dirty).toEqual([{ issuer_id: world.deviceCa.id }]);
  const second = await killBeyond(id, first);
  expect([second > first, second < UNITS]).toEqual([true, true]);
  const { revocation, registry } = wireCore(world.transactor);
  const other = await registry.unitBySerialNumber(world.transactor.read, 'OTHER-000001');
  const child = carryOut(id);
  const exited = once(child, 'exit');
  const held = await revocation.hold({
    ...{ actor: 'system:test', personId: null, reason: 'certificateHold', note: 'meanwhile' },
    selection: { by: 'unit', unitId: other?.id ?? 0 },
  });
  expect(held).toMatchObject({ units: 1, certificates: 1 });
  await exited;

  expect(await order(id)).toEqual({ state: 'done', done: UNITS });
  expect(await world.statuses('KILL')).toEqual({ 'revoked 0': UNITS });
  expect(await world.states('KILL')).toEqual({ SUSPENDED: UNITS });
  expect(await world.ledgerCount('certificate.revoked', 'KILL')).toBe(UNITS);
  expect(await world.ledgerCount('unit.state-changed', 'KILL')).toBe(UNITS);
  const { rows } = await world.db.pool.query(
    `SELECT unit_count AS units, certificate_count AS certificates FROM fleet_order WHERE id = $1`,
    [id],
  );
  expect(rows).toEqual([{ units: UNITS, certificates: UNITS }]);
  const { rows: spent } = await world.db.pool.query(`SELECT 1 FROM ledger_inbox WHERE kind = 'approval.spent'`);
  expect(spent).toHaveLength(1);
});
