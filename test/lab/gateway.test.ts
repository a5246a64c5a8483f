/** The gateway kit with real IKEv2 and packets on the wire: who gets in, who is cut, and what happens when parts die. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type ToldInstallation, toldInstallation } from '../support/told-installation.js';
import type { Echoes } from './echoes.js';
import { certifyGateway, type Lab, type LabGateway, type LabHost, openLab } from './lab.js';

const GATEWAY = 'segw-gangnam-1';
const UNIT_ADDRESS = '198.51.100.7';
/** On a line of its own. */
const THIEF_ADDRESS = '192.0.2.66';
/** Where no line is known. */
const SOMEWHERE = '192.0.2.77';
const OTHER_GATEWAY = 'segw-busan-1';
const PERMIT_SECONDS = 3;
const PACKETS = 25;

let told: ToldInstallation;
let lab: Lab;
let gateway: LabGateway;
let otherGateway: LabGateway;
let unit: LabHost;
let thief: LabHost;
let echoes: Echoes;
const dir = mkdtempSync(join(tmpdir(), 'fp-lab-'));

beforeAll(async () => {
  told = await toldInstallation();
  await told.tellUntil('activation');
  const { world, installation } = told;
  await certifyGateway(world, OTHER_GATEWAY);
  await world.cli(['line', 'prefix', world.line, `${UNIT_ADDRESS}/32`]);
  await world.cli(['line', 'add', 'L-elsewhere', '--region', 'busan', '--prefix', `${THIEF_ADDRESS}/32`]);
  const { status, gateway: port } = installation.config.listen;
  lab = await openLab({
    world,
    dir,
    ports: { status: status.port, gateway: port.port },
    gateways: [GATEWAY, OTHER_GATEWAY],
    hosts: [UNIT_ADDRESS, THIEF_ADDRESS, SOMEWHERE],
    permitSeconds: PERMIT_SECONDS,
  });
  [gateway, otherGateway] = lab.gateways as [LabGateway, LabGateway];
  unit = lab.host(UNIT_ADDRESS);
  thief = lab.host(THIEF_ADDRESS);
  echoes = await unit.echoes();
}, 300_000);
afterAll(async () => {
  await lab?.close();
  await told?.close();
  rmSync(dir, { recursive: true, force: true });
}, 60_000);

describe('a gateway whose connector does not run', () => {
  test('authenticates a genuine unit and lets nothing of it pass', async () => {
    expect(await unit.connect(gateway)).toMatchObject({ established: true });
    await nothingComesBack(echoes);
  });
});

describe('a gateway with its connector', () => {
  test('asks about who is there already, and lets a genuine unit pass', async () => {
    expect(await gateway.check()).toEqual({ code: 0, text: 'nft: ok\ncharon: ok\nserver: ok\n' });
    await gateway.startConnector();
    await somethingComesBack(echoes);
    expect(gateway.permitted()).toHaveLength(1);
    const hems = (address: string) => gateway.mayConfigure(told.world.path('unit.pem'), address);
    expect(await hems(UNIT_ADDRESS)).toEqual({ code: 0, text: 'permit\n' });
    expect(await hems(THIEF_ADDRESS)).toEqual({ code: 1, text: 'deny LINE_MISMATCH\n' });
  });

  test('lets it pass on as its permit is renewed, and when it connects anew', async () => {
    const renewed = Date.now() + 2 * PERMIT_SECONDS * 1_000;
    await until('two lives of a permit are over', () => Date.now() > renewed);
    await somethingComesBack(echoes);
    await unit.disconnect(gateway);
    await until('the address is out', () => gateway.permitted().length === 0);
    await nothingComesBack(echoes);
    expect(await unit.connect(gateway)).toMatchObject({ established: true });
    await somethingComesBack(echoes);
  });

  test('cuts a copy of key and certificate on another line, although the certificate is valid', async () => {
    const copied = await thief.echoes();
    await thief.connect(gateway);
    await until('the copy is cut', async () => !(await thief.isUp(gateway)));
    expect(gateway.said()).toMatch(
      new RegExp(`from ${THIEF_ADDRESS.replaceAll('.', '\\.')}: cut: denied: .*LINE_MISMATCH`),
    );
    await nothingComesBack(copied);
    expect(copied.count()).toBe(0);
    await copied.stop();
    await somethingComesBack(echoes);
  });

  test('that is killed admits nobody, and forgets whom it had admitted; started again it asks about everybody', async () => {
    await gateway.stopConnector('SIGKILL');
    await until('the permits are over', () => gateway.permitted().length === 0);
    await nothingComesBack(echoes);
    expect(await unit.isUp(gateway)).toBe(true);
    const before = gateway.said().length;
    await gateway.startConnector();
    await somethingComesBack(echoes);
    expect(gateway.said().slice(before)).toMatch(/^1 IKE_SAs are there already[\s\S]*permit for/);
  });

  test('lets nobody in while the server is dark, and ends the traffic of those who are in with their permit', async () => {
    const server = childOf(told.installation.pid, 'gateway-server');
    process.kill(server, 'SIGSTOP');
    try {
      await until('the permits are over', () => gateway.permitted().length === 0);
      await nothingComesBack(echoes);
      await until('the unit is cut', async () => !(await unit.isUp(gateway)));
      const before = gateway.said().length;
      await unit.connect(gateway);
      await until('the unit is cut', async () => !(await unit.isUp(gateway)));
      expect(gateway.said().slice(before)).toMatch(/cut: no answer: no answer within \d+ ms/);
      await nothingComesBack(echoes);
    } finally {
      process.kill(server, 'SIGCONT');
    }
    await until('the unit is in again', async () => {
      if (!(await unit.isUp(gateway))) await unit.connect(gateway);
      return gateway.permitted().length === 1;
    });
    await somethingComesBack(echoes);
  });

  test('cuts a unit that is reported lost, keeps it out, and says when it had done so', async () => {
    const { world } = told;
    const serial = (await world.sh('openssl', 'x509', '-in', 'unit.pem', '-noout', '-serial')).stdout.trim().slice(7);
    await somethingComesBack(echoes);
    await world.cli(['unit', 'lost', world.serialNumber, '--reason', 'the customer reported a burglary']);
    await until('the unit is cut', async () => !(await unit.isUp(gateway)));
    await nothingComesBack(echoes);
    const status = () => world.cli(['feed', 'status', '--serial', serial.toLowerCase()]);
    await until('it is enforced', async () => /1 of 2 gateways enforced/.test(String((await status())['summary'])));
    // Its charon refuses it by itself now: the server need not be asked.
    gateway.peer.newLog();
    expect(await unit.connect(gateway)).toMatchObject({ established: false });
    expect(gateway.peer.newLog()).toMatch(/certificate was revoked/);
    await nothingComesBack(echoes);
  });
});

describe('two gateways, and two holders of one key', () => {
  test('both alive at once: both are asked, the unit is quarantined, both are cut', async () => {
    const { world } = told;
    const second = await told.another();
    await world.cli(['line', 'prefix', second.line, `${UNIT_ADDRESS}/32`]);
    await otherGateway.startConnector();
    const copy = lab.host(SOMEWHERE);
    unit.become(second);
    copy.become(second);
    const copied = await copy.echoes();
    expect(await unit.connect(gateway)).toMatchObject({ established: true });
    expect(await copy.connect(otherGateway)).toMatchObject({ established: true });
    await somethingComesBack(echoes);
    await somethingComesBack(copied);
    await until('both are cut', async () => !(await unit.isUp(gateway)) && !(await copy.isUp(otherGateway)), 30_000);
    for (const { said } of [gateway, otherGateway]) expect(said()).toMatch(/is alive: yes/);
    await nothingComesBack(echoes);
    await nothingComesBack(copied);
    expect(await world.cli(['unit', 'show', second.serialNumber])).toMatchObject({
      state: 'QUARANTINED',
      cases: [expect.objectContaining({ grade: 'hard' })],
    });
  });
});

/** A process of the supervisor, by what it runs. */
function childOf(supervisor: number, program: string): number {
  const pids = readFileSync(`/proc/${supervisor}/task/${supervisor}/children`, 'utf8').trim().split(' ');
  const found = pids.find((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(program));
  if (found === undefined) throw new Error(`the supervisor runs no ${program}`);
  return Number(found);
}

async function somethingComesBack(counted: Echoes): Promise<void> {
  const before = counted.count();
  await until('packets come back', () => counted.count() >= before + PACKETS);
}

/** Not one of the packets that leave from now on; those under way are let arrive first. */
async function nothingComesBack(counted: Echoes): Promise<void> {
  const settled = counted.sent() + PACKETS;
  await until('packets leave', () => counted.sent() >= settled);
  const before = counted.count();
  await until('packets leave', () => counted.sent() >= settled + PACKETS);
  expect(counted.count()).toBe(before);
}

async function until(what: string, is: () => boolean | Promise<boolean>, ms = 10_000): Promise<void> {
  for (const end = Date.now() + ms; !(await is()); await sleep(50)) {
    if (Date.now() > end)
      throw new Error(`not within ${ms} ms: ${what}\n${gateway.said()}\n${gateway.peer.newLog().slice(-3_000)}`);
  }
}
