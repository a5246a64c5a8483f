import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { GATEWAY } from '../../src/apps/story/factory-acts.js';
import type { World } from '../../src/apps/story/world.js';
import type { Echoes } from '../../test/lab/echoes.js';
import { type Lab, type LabGateway, type LabHost, openLab } from '../../test/lab/lab.js';
import { startRedis, type TestRedis } from '../../test/support/redis.js';
import { type ToldInstallation, toldInstallation } from '../../test/support/told-installation.js';
import { type Drill, verdict } from './drill.js';

const UNIT = '198.51.100.7';
const [NEWCOMER, LOST] = ['198.51.100.8', '198.51.100.9'];
/** On a line of its own. */
const THIEF = '192.0.2.66';
const ELSEWHERE = 'L-elsewhere';
const PATIENCE_MS = 60_000;
/** So rarely that whoever is activated during the drill is not in it. */
const SNAPSHOT_SECONDS = 900;
const BY = 'strongSwan, UDP';

/** What is dark, by what its processes run; what the gateway hears then of a unit that it knows. */
const DARK = [
  { what: 'The gateway-server', programs: ['gateway-server'], isBySnapshot: true },
  { what: 'PostgreSQL', programs: ['postgres'], isBySnapshot: true },
  { what: 'The status-server', programs: ['status-server'], isBySnapshot: false },
  { what: 'Redis', programs: ['redis-server'], isBySnapshot: false },
  {
    what: 'All four at once',
    programs: ['gateway-server', 'postgres', 'status-server', 'redis-server'],
    isBySnapshot: true,
  },
] as const;

interface Scene {
  readonly told: ToldInstallation;
  readonly gateway: LabGateway;
  readonly unit: LabHost;
  readonly thief: LabHost;
  readonly newcomer: LabHost;
  readonly lost: LabHost;
  readonly newcomerWorld: World;
  readonly echoes: Echoes;
  setClock(offset: string): void;
}

/** D10: what a gateway with `revocation = strict` does while nobody answers it. */
export const darkGateway: Drill = {
  name: 'D10',
  summary: 'server, database, status or Redis dark: known units enter, others do not; past their ends nobody does',
  run: async (report) => {
    const dir = mkdtempSync(join(tmpdir(), 'fp-lab-'));
    let redis: TestRedis | undefined;
    let told: ToldInstallation | undefined;
    let lab: Lab | undefined;
    try {
      redis = await startRedis();
      told = await toldInstallation({ redisUrl: `unix://${redis.socketPath}` });
      const clockFile = join(dir, 'clock');
      writeFileSync(clockFile, '+0\n');
      lab = await labOf(told, dir, clockFile);
      const scene = await open(told, lab, (offset) => writeFileSync(clockFile, `${offset}\n`));
      report(
        verdict('One unit’s call is slow, the server is well', BY, 'out: no answer within 700 ms', await slow(scene)),
      );
      for (const dark of DARK) {
        await whileStopped(dark.programs, async () => {
          for (const one of await judged(scene, dark)) report(verdict(...one));
        });
        await until('the server is asked again', async () => (await tryIn(scene)).includes('by the server'));
      }
      await whileStopped(['gateway-server'], async () => {
        scene.setClock('+2h');
        report(verdict('The snapshot’s end is past', BY, 'out: SNAPSHOT_STALE', await tryIn(scene)));
      });
      scene.setClock('+7h');
      await whileStopped(['status-server'], async () => {
        report(
          verdict('Status is dark and the CRL’s nextUpdate past', BY, 'refused by strongSwan', await tryIn(scene)),
        );
      });
      scene.setClock('+0');
      report(
        verdict(
          'Status is back, and the clock is right',
          BY,
          'in, by the server',
          await eventually(scene, 'in, by the server'),
        ),
      );
    } finally {
      await lab?.close();
      await told?.close();
      await redis?.stop();
      rmSync(dir, { recursive: true, force: true });
    }
  },
};

async function labOf(told: ToldInstallation, dir: string, clockFile: string): Promise<Lab> {
  await told.tellUntil('activation');
  const { world, installation } = told;
  await world.cli(['line', 'prefix', world.line, `${UNIT}/32`]);
  await world.cli(['line', 'add', ELSEWHERE, '--region', 'busan', '--prefix', `${THIEF}/32`]);
  const { status, gateway } = installation.config.listen;
  return openLab({
    world,
    dir,
    ports: { status: status.port, gateway: gateway.port },
    gateways: [GATEWAY],
    hosts: [UNIT, THIEF, NEWCOMER, LOST],
    snapshotSeconds: SNAPSHOT_SECONDS,
    clockFile,
  });
}

/** One unit is known, one is lost since, one was activated since the snapshot; the thief holds a copy of the first one's key. */
async function open(told: ToldInstallation, lab: Lab, setClock: Scene['setClock']): Promise<Scene> {
  const [gateway] = lab.gateways as [LabGateway];
  const [unit, thief, newcomer, lost] = [UNIT, THIEF, NEWCOMER, LOST].map(lab.host) as [
    LabHost,
    LabHost,
    LabHost,
    LabHost,
  ];
  const echoes = await unit.echoes();
  const lostWorld = await told.another();
  await told.world.cli(['line', 'prefix', lostWorld.line, `${LOST}/32`]);
  lost.become(lostWorld);
  await gateway.startConnector();
  // The first page of the feed may make the first snapshot worthless.
  await until('the feed is heard and a snapshot kept', () => {
    const said = gateway.said();
    return said.includes('begins anew') && said.lastIndexOf('has a snapshot') > said.lastIndexOf('is given up');
  });
  await until('the unit is in', async () => (await tryIn({ gateway, unit, echoes })) === 'in, by the server');
  await lost.connect(gateway);
  await told.world.cli(['unit', 'lost', lostWorld.serialNumber, '--reason', 'drill']);
  await until('the lost unit is cut', async () => !(await lost.isUp(gateway)));
  const newcomerWorld = await told.another();
  await told.world.cli(['line', 'prefix', newcomerWorld.line, `${NEWCOMER}/32`]);
  newcomer.become(newcomerWorld);
  return { told, gateway, unit, thief, newcomer, newcomerWorld, lost, echoes, setClock };
}

type Row = readonly [act: string, by: string, expected: string, got: string];

async function judged(scene: Scene, { what, isBySnapshot }: (typeof DARK)[number]): Promise<Row[]> {
  const by = isBySnapshot ? 'in, by the snapshot' : 'in, by the server';
  const rows: Row[] = [[`${what}: dark; a known unit connects`, BY, by, await tryIn(scene)]];
  rows.push([`${what}: its copy connects elsewhere`, BY, 'out: LINE_MISMATCH', await tryOther(scene, scene.thief)]);
  // By the server itself it may come in: it is ACTIVE.
  if (isBySnapshot)
    rows.push([`${what}: one that the snapshot lacks`, BY, 'out: DENIED', await tryOther(scene, scene.newcomer)]);
  rows.push([`${what}: one that was lost since`, BY, 'refused by strongSwan', await tryOther(scene, scene.lost)]);
  return rows;
}

/** The known unit, from the beginning: IKE, the verdict, packets. */
async function tryIn({ gateway, unit, echoes }: Pick<Scene, 'gateway' | 'unit' | 'echoes'>): Promise<string> {
  if (await unit.isUp(gateway)) await unit.disconnect(gateway);
  return tryAs(gateway, unit, echoes);
}

async function tryOther({ gateway }: Scene, host: LabHost): Promise<string> {
  const echoes = await host.echoes();
  try {
    return await tryAs(gateway, host, echoes);
  } finally {
    await echoes.stop();
    if (await host.isUp(gateway)) await host.disconnect(gateway);
  }
}

async function tryAs(gateway: LabGateway, host: LabHost, echoes: Echoes): Promise<string> {
  const [said, passed] = [gateway.said().length, echoes.count()];
  const { established } = await host.connect(gateway);
  if (!established) return 'refused by strongSwan';
  let word: string | undefined;
  await until('the connector says its word', async () => {
    word = /: (permit for .*|cut: .*)/.exec(gateway.said().slice(said))?.[1];
    return word !== undefined;
  });
  if (word?.startsWith('permit')) {
    await until('packets pass', () => echoes.count() > passed);
    return `in, by the ${word.includes('by the snapshot') ? 'snapshot' : 'server'}`;
  }
  await until('the IKE_SA is gone', async () => !(await host.isUp(gateway)));
  if (echoes.count() > passed) return 'packets passed';
  // What charon's cache lost in that moment is shown again.
  if (word?.includes('the next try will be clear')) return tryAs(gateway, host, echoes);
  return `out: ${word?.split(': ').at(-1)}`;
}

/** A unit that moves house is looked at in a transaction of its own; a lock on its row makes the server slow about it alone. */
async function slow({ told: { world }, gateway, thief, newcomerWorld }: Scene): Promise<string> {
  const reason = ['--reason', 'drill'];
  await world.cli(['relocation', 'order', newcomerWorld.serialNumber, '--line', ELSEWHERE, '--hours', '1', ...reason]);
  thief.become(newcomerWorld);
  const lock = await world.context.pool.connect();
  const echoes = await thief.echoes();
  try {
    await lock.query('BEGIN');
    await lock.query('SELECT FROM unit WHERE serial_number = $1 FOR UPDATE', [newcomerWorld.serialNumber]);
    return await tryAs(gateway, thief, echoes);
  } finally {
    await lock.query('ROLLBACK');
    lock.release();
    await echoes.stop();
    thief.become(world);
  }
}

async function eventually(scene: Scene, wanted: string): Promise<string> {
  let got = '';
  await until(wanted, async () => {
    got = await tryIn(scene);
    return got === wanted;
  });
  return got;
}

/** SIGSTOP: connections are taken and nothing is answered, which is worse than a refused one. */
async function whileStopped(programs: readonly string[], work: () => Promise<void>): Promise<void> {
  const pids = programs.flatMap(pidsOf);
  for (const pid of pids) process.kill(pid, 'SIGSTOP');
  try {
    await work();
  } finally {
    for (const pid of pids) process.kill(pid, 'SIGCONT');
  }
}

/** Of this drill's descendants, those that run a program. */
function pidsOf(program: string): number[] {
  const found = descendants(process.pid).filter((pid) => commandOf(pid).includes(program));
  if (found.length === 0) throw new Error(`nothing here runs ${program}`);
  return found;
}

function descendants(pid: number): number[] {
  const children = readdirSync(`/proc/${pid}/task`)
    .flatMap((task) => readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim().split(' '))
    .filter((text) => text !== '')
    .map(Number);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

function commandOf(pid: number): string {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
}

async function until(what: string, is: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = Date.now() + PATIENCE_MS; !(await is()); await sleep(50)) {
    if (Date.now() > end) throw new Error(`not within ${PATIENCE_MS / 1_000} s: ${what}`);
  }
}
