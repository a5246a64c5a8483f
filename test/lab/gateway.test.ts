/** The gateway kit with real IKEv2 and packets on the wire: who gets in, who is cut, and what happens when parts die. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type ToldInstallation, toldInstallation } from '../support/told-installation.js';
import type { Echoes } from './echoes.js';
import { certifyGateway, type Lab, type LabGateway, type LabHost, openLab } from './lab.js';
import { FOREIGN, letInHomeOnly, mapIn, RIVAL } from './networks.js';

const GATEWAY = 'segw-gangnam-1';
const UNIT_ADDRESS = '198.51.100.7';
/** On a line of its own. */
const THIEF_ADDRESS = '192.0.2.66';
/** Where no line is known. */
const SOMEWHERE = '192.0.2.77';
const OTHER_GATEWAY = 'segw-busan-1';
/** At the first gateway a permit ends within a test; at the other only the feed cuts. */
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
  told = await toldInstallation(mapIn(dir));
  await told.tellUntil('activation');
  const { world, installation } = told;
  await certifyGateway(world, OTHER_GATEWAY);
  await world.cli(['line', 'prefix', world.line, `${UNIT_ADDRESS}/32`]);
  await world.cli(['line', 'add', 'L-elsewhere', '--region', 'busan', '--prefix', `${THIEF_ADDRESS}/32`]);
  await letInHomeOnly(world);
  const { status, gateway: port } = installation.config.listen;
  lab = await openLab({
    world,
    dir,
    ports: { status: status.port, gateway: port.port },
    gateways: [GATEWAY, OTHER_GATEWAY],
    hosts: [UNIT_ADDRESS, THIEF_ADDRESS, SOMEWHERE, RIVAL, FOREIGN],
    permitSeconds: { [GATEWAY]: PERMIT_SECONDS },
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
    await until('it has said which CAs it knows', () => /acknowledged .*Device CA 2/.test(gateway.said()));
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
    await refusedFor('LINE_MISMATCH', thief, THIEF_ADDRESS);
    await nothingComesBack(copied);
    expect(copied.count()).toBe(0);
    await copied.stop();
    await somethingComesBack(echoes);
  });

  test.each([
    ['of another operator', RIVAL, 'NET_ASN'],
    ['of another country', FOREIGN, 'NET_COUNTRY'],
  ])('refuses the same key and certificate at an address %s', async (_, address, reason) => {
    const copy = lab.host(address);
    const copied = await copy.echoes();
    await refusedFor(reason, copy, address);
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
    expect(gateway.said().slice(before)).toMatch(/1 IKE_SAs are there already[\s\S]*permit for/);
  });

  test('lets a known unit in by the snapshot while the server is dark, and nobody else', async () => {
    const server = childOf(told.installation.pid, 'gateway-server');
    process.kill(server, 'SIGSTOP');
    try {
      const before = gateway.said().length;
      await unit.disconnect(gateway);
      expect(gateway.said()).toMatch(/has a snapshot/);
      expect(await unit.connect(gateway)).toMatchObject({ established: true });
      await somethingComesBack(echoes);
      const copied = await thief.echoes();
      await thief.connect(gateway);
      await until('the copy is cut', async () => !(await thief.isUp(gateway)));
      expect(copied.count()).toBe(0);
      await copied.stop();
      await unit.disconnect(gateway);
      // Nobody can forge what the connector alone may do: without it the snapshot opens nothing.
      await gateway.stopConnector('SIGKILL');
      await unit.connect(gateway);
      await nothingComesBack(echoes);
      await gateway.startConnector();
      await somethingComesBack(echoes);
      expect(gateway.said().slice(before)).toMatch(/: permit for \d+ s, by the snapshot/);
      expect(gateway.said().slice(before)).toMatch(/cut: denied, by the snapshot: LINE_MISMATCH/);
    } finally {
      process.kill(server, 'SIGCONT');
    }
    await until('the server is asked again', () =>
      /permit for \d+ s\n/.test(gateway.said().split('snapshot').at(-1) ?? ''),
    );
    await somethingComesBack(echoes);
  });
});

describe('a gateway whose permits are long', () => {
  test('cuts a unit that is reported lost when the feed says so, keeps it out, and says when it had done so', async () => {
    const { world } = told;
    const serial = (await world.sh('openssl', 'x509', '-in', 'unit.pem', '-noout', '-serial')).stdout.trim().slice(7);
    await unit.disconnect(gateway);
    await otherGateway.startConnector();
    await unit.connect(otherGateway);
    await somethingComesBack(echoes);
    const server = childOf(told.installation.pid, 'gateway-server');
    process.kill(server, 'SIGSTOP');
    try {
      await world.cli(['unit', 'lost', world.serialNumber, '--reason', 'the customer reported a burglary']);
      // While the feed is silent nothing else cuts.
      await somethingComesBack(echoes);
      expect(await unit.isUp(otherGateway)).toBe(true);
    } finally {
      process.kill(server, 'SIGCONT');
    }
    await until('the unit is cut', async () => !(await unit.isUp(otherGateway)));
    expect(otherGateway.said()).toMatch(/cut: the feed says (held|revoked)/);
    await nothingComesBack(echoes);
    const status = () => world.cli(['feed', 'status', '--serial', serial.toLowerCase()]);
    await until('it is enforced', async () => /[12] of 2 gateways enforced/.test(String((await status())['summary'])));
    // Its charon refuses it by itself now: the server need not be asked.
    otherGateway.peer.newLog();
    expect(await unit.connect(otherGateway)).toMatchObject({ established: false });
    expect(otherGateway.peer.newLog()).toMatch(/certificate was revoked/);
    await nothingComesBack(echoes);
  });
});

describe('two gateways, and two holders of one key', () => {
  test('both alive at once: both are asked, the unit is quarantined, both are cut', async () => {
    const { world } = told;
    const second = await told.another();
    await world.cli(['line', 'prefix', second.line, `${UNIT_ADDRESS}/32`]);
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

/** With the reason that its gateway heard; a certificate that charon's cache lost in that moment is shown again. */
async function refusedFor(reason: string, copy: LabHost, address: string): Promise<void> {
  const denied = new RegExp(`from ${address.replaceAll('.', '\\.')}: cut: denied: .*${reason}`);
  await until(`it is refused for ${reason}`, async () => {
    await copy.connect(gateway);
    await until('the copy is cut', async () => !(await copy.isUp(gateway)));
    return denied.test(gateway.said());
  });
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
