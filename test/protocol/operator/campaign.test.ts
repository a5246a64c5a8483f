import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { readPins } from '../../../src/agent/check-server.js';
import { deviceFiles } from '../../../src/agent/device-files.js';
import { makeEnrolClient } from '../../../src/agent/enrol-client.js';
import { step as unitStep } from '../../../src/agent/femtocell.js';
import { factoryState, saveState } from '../../../src/agent/unit-state.js';
import type { Core } from '../../../src/apps/wire-core.js';
import { wireOperator } from '../../../src/apps/wire-operator.js';
import type { Campaigns } from '../../../src/lifecycle/renewal/index.js';
import { openPrisma, type Prisma } from '../../../src/platform/db/client.prisma.js';
import { runClient } from '../../support/command.js';
import { type DeviceWorld, startDeviceWorld, type WorldUnit } from '../../support/device-world.js';
import { type OperatorShell, operatorShell } from '../../support/operator-shell.js';
import { seedDueUnits } from '../../support/renewal-rows.js';

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;

let world: DeviceWorld;
let shell: OperatorShell;
let prisma: Prisma;
let campaigns: Campaigns;
/** Another operator-server over the same database. */
let twin: Campaigns;
/** How far the clock is ahead by which waves are opened and closed. */
let aheadMs = 0;

beforeAll(async () => {
  world = await startDeviceWorld();
  const core: Core = { ...world.core, clock: { now: () => new Date(Date.now() + aheadMs) } };
  shell = await operatorShell(world.core, {
    dbUrl: world.db.url,
    macKey: randomBytes(32),
    onInternal: () => undefined,
  });
  prisma = openPrisma(world.db.url);
  campaigns = wireOperator(core, prisma, { macKey: randomBytes(32) }).campaigns;
  twin = wireOperator(core, prisma, { macKey: randomBytes(32) }).campaigns;
});
beforeEach(() => {
  aheadMs = 0;
});
afterAll(async () => {
  await prisma.$disconnect();
  await shell.close();
  await world.close();
});

async function femtopki(...args: string[]): Promise<{ code: number | null; text: string; json: Shown }> {
  const { code, text } = await runClient(join(shell.binDir, 'femtopki'), args);
  const start = text.search(/^\{$/m);
  return { code, text, json: (start < 0 ? {} : JSON.parse(text.slice(start, text.lastIndexOf('\n}\n') + 2))) as Shown };
}

interface Shown {
  readonly id: number;
  readonly state: string;
  readonly why: string | null;
  readonly approval: number;
  readonly renewed: number;
  readonly failed: number;
  readonly passedOver: number;
  readonly units: number;
  readonly renewable: number;
  readonly needsApproval: boolean;
  readonly waves: readonly Record<string, unknown>[];
}

async function show(id: number): Promise<Shown> {
  const token = readFileSync(join(shell.binDir, 'secrets', 'cli-operator.token'), 'utf8');
  const answer = await fetch(`${shell.url}/api/v1/campaigns/${id}`, { headers: { authorization: `Bearer ${token}` } });
  return (await answer.json()) as Shown;
}

async function stepAll(of: Campaigns = campaigns): Promise<void> {
  while (await of.step());
}

/** A unit that runs the agent: its window's moment comes when its clock is set ahead. */
async function activeUnit() {
  const unit = await world.addUnit();
  const files = deviceFiles(join(world.dir, `c-${unit.serialNumber}`));
  saveState(files, factoryState({ keyPem: readFileSync(unit.keyFile, 'utf8'), certificatePem: unit.bootstrapPem }));
  let unitAheadMs = 0;
  const now = () => new Date(Date.now() + unitAheadMs);
  const client = makeEnrolClient(`https://localhost:${world.port}`, {
    pins: readPins(world),
    now,
    address: '127.0.0.1',
  });
  const deps = { files, client, accessRoot: readPins(world).accessRoot, now, random: randomBytes };
  expect(await unitStep(deps, { code: await world.grant(unit) })).toMatchObject({ did: 'activated' });
  return {
    ...unit,
    /** Asks for advice, and then again when the window that it was told is over. */
    live: async (windowMs: number): Promise<string[]> => {
      const first = await unitStep(deps);
      unitAheadMs = windowMs;
      const did = [first.did, (await unitStep(deps)).did];
      unitAheadMs = 0;
      return did;
    },
  };
}

async function keysOf({ id }: WorldUnit): Promise<string[]> {
  const { rows } = await world.db.pool.query<{ key: string }>(
    `SELECT encode(spki_hash, 'hex') AS key FROM lineage_slot WHERE unit_id = $1 ORDER BY generation`,
    [id],
  );
  return rows.map(({ key }) => key);
}

async function told(id: number): Promise<string[]> {
  const { rows } = await world.db.pool.query<{ kind: string }>(
    `SELECT kind FROM ledger_inbox WHERE subject = 'campaign:' || (SELECT encode(request_hash, 'hex') FROM campaign WHERE id = $1)
     ORDER BY id`,
    [id],
  );
  return rows.map(({ kind }) => kind);
}

describe('LST-4: a campaign re-keys units in waves', () => {
  test('each wave renews with new keys before the next opens; too many failures stop it with the reason, and a person goes on', async () => {
    const units = [];
    for (let n = 0; n < 5; n++) units.push(await activeUnit());
    const sorted = units.sort((a, b) => (a.serialNumber < b.serialNumber ? -1 : 1));
    const file = join(world.dir, 'units.txt');
    writeFileSync(file, sorted.map(({ serialNumber }) => serialNumber).join('\n'));
    const plan = ['--wave-size', '2', '--window', '1m', '--wait', '1h', '--max-failures', '40%'];
    const started = await femtopki(
      ...['campaign', 'start', '--file', file, ...plan, '--reason', 'weak random numbers', '-o', 'json'],
    );
    expect([started.code, started.json.state]).toEqual([0, 'running']);
    const { id } = started.json;

    await Promise.all([stepAll(), stepAll(twin)]);
    expect((await show(id)).waves).toMatchObject([
      { wave: 1, state: 'open', units: 2, advised: 2 },
      { wave: 2, state: 'waiting', advised: 0 },
      { wave: 3, state: 'waiting', units: 1 },
    ]);
    const [one, two, three, four, five] = sorted;
    if (!one || !two || !three || !four || !five) throw new Error('five units were made');
    expect(await one.live(MINUTE_MS)).toEqual(['advised', 'renewed']);
    expect(await two.live(MINUTE_MS)).toEqual(['advised', 'renewed']);
    // Whose wave has not come is told nothing.
    expect(await three.live(MINUTE_MS)).toEqual(['advised', 'advised']);
    for (const unit of [one, two]) expect(new Set(await keysOf(unit)).size).toBe(2);

    await stepAll();
    expect((await show(id)).waves).toMatchObject([{ state: 'closed', renewed: 2 }, { state: 'waiting' }, {}]);
    aheadMs = HOUR_MS + MINUTE_MS;
    await stepAll();
    expect((await show(id)).waves[1]).toMatchObject({ state: 'open', advised: 2 });
    aheadMs = 0;
    expect(await three.live(2 * HOUR_MS)).toEqual(['advised', 'renewed']);
    aheadMs = HOUR_MS + 3 * MINUTE_MS;
    await stepAll();
    const stopped = await show(id);
    expect(stopped).toMatchObject({ state: 'stopped', renewed: 3, failed: 1 });
    expect(stopped.why).toBe(
      '1 of 2 units of wave 2 did not renew by its deadline: 50 %, more than the 40 % that were allowed',
    );
    aheadMs += 2 * HOUR_MS;
    await stepAll();
    expect((await show(id)).waves[2]).toMatchObject({ state: 'waiting' });

    const resumed = await femtopki('campaign', 'resume', String(id), '--reason', 'one is switched off', '-o', 'json');
    expect(resumed.json).toMatchObject({ state: 'running', why: null });
    await world.db.pool.query(`UPDATE unit SET state = 'SUSPENDED' WHERE id = $1`, [five.id]);
    await stepAll();
    expect(await show(id)).toMatchObject({ state: 'done', renewed: 3, failed: 1, passedOver: 1 });
    expect(await keysOf(five)).toHaveLength(1);
    aheadMs = 0;
    expect(await told(id)).toEqual([
      ...['campaign.started', 'campaign.wave-opened', 'campaign.wave-closed', 'campaign.wave-opened'],
      ...['campaign.wave-closed', 'campaign.stopped', 'campaign.resumed', 'campaign.wave-opened'],
      ...['campaign.wave-closed', 'campaign.finished'],
    ]);
    expect((await femtopki('campaign', 'list')).text).toContain('3 of 3 done');
  }, 90_000);

  test('beyond a hundred units two people sign, and a row that says it runs moves nothing', async () => {
    await seedDueUnits(world.db.pool, 101);
    const rekey = ['campaign', 'start', '--model', 'FC-1', '--reason', 'recalled', '-o', 'json'];
    const preview = (await femtopki(...rekey, '--dry-run')).json;
    expect(preview).toMatchObject({ needsApproval: true });
    expect(preview.units).toBeGreaterThan(100);
    const confirm = ['--confirm', `re-key ${preview.units} units`];
    expect((await femtopki(...rekey, ...confirm)).text).toContain('APPROVAL_REQUIRED');
    const asked = await femtopki(...rekey, ...confirm, '--ask');
    expect(asked.json.state).toBe('waiting');
    const id = String(asked.json.id);
    expect((await femtopki('campaign', 'execute', id)).text).toContain('APPROVAL_REQUIRED');

    await world.db.pool.query(`UPDATE campaign SET state = 'running', approval_id = NULL WHERE id = $1`, [id]);
    await expect(campaigns.step()).rejects.toMatchObject({ code: 'DENIED' });
    expect((await show(asked.json.id)).waves[0]).toMatchObject({ state: 'waiting', advised: 0 });
    await world.db.pool.query(`UPDATE campaign SET state = 'waiting', approval_id = $2 WHERE id = $1`, [
      id,
      asked.json.approval,
    ]);

    expect((await femtopki('approval', 'approve', String(asked.json.approval), '--as', 'approver')).code).toBe(0);
    expect((await femtopki('campaign', 'execute', id, '-o', 'json')).json.state).toBe('running');
    // What was signed in time goes on for days.
    aheadMs = 30 * HOUR_MS;
    await stepAll();
    aheadMs = 0;
    const running = await show(asked.json.id);
    expect(running.waves).toMatchObject([{ state: 'open', units: preview.units }]);
    const paused = await femtopki('campaign', 'pause', id, '--reason', 'help desk is full', '-o', 'json');
    expect(paused.json).toMatchObject({ state: 'paused', why: 'person:operator: help desk is full' });
    const ended = await femtopki('campaign', 'stop', id, '--reason', 'wrong model', '-o', 'json');
    expect(ended.json.state).toBe('cancelled');
    expect((await femtopki('campaign', 'resume', id, '--reason', 'after all')).text).toContain('STATE_CONFLICT');
  }, 90_000);

  test('it is about a CA, a key algorithm, or lineages', async () => {
    const unit = await activeUnit();
    const { rows } = await world.db.pool.query<{ id: number; ca: string }>(
      `SELECT l.id, i.label AS ca FROM lineage l JOIN lineage_slot s ON s.lineage_id = l.id JOIN issuer i ON i.id = s.issuer_id
       WHERE l.unit_id = $1`,
      [unit.id],
    );
    const look = async (...select: string[]) =>
      (await femtopki('campaign', 'start', ...select, '--reason', 'a look', '--dry-run', '-o', 'json')).json.units;
    expect(await look('--lineages', String(rows[0]?.id))).toBe(1);
    expect(await look('--ca', String(rows[0]?.ca))).toBeGreaterThan(5);
    expect(await look('--key-algorithm', 'P-256')).toBeGreaterThan(0);
    expect((await femtopki('campaign', 'start', '--key-algorithm', 'P-384', '--reason', 'a look')).code).toBe(3);
    expect((await femtopki('campaign', 'start', '--ca', 'no-such', '--reason', 'a look')).text).toContain('NOT_FOUND');
  });
});
