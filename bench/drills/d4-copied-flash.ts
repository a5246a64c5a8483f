import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { ActResult } from '../../src/apps/act-result.js';
import { GATEWAY } from '../../src/apps/story/factory-acts.js';
import { ACTS } from '../../src/apps/story/story.js';
import { askGateway } from '../../src/apps/story/unit-tools.js';
import { makeWorld, type World } from '../../src/apps/story/world.js';
import { type Lab, type LabGateway, openLab } from '../../test/lab/lab.js';
import { startInstallation } from '../../test/support/installation.js';
import { storyContext } from '../../test/support/story-context.js';
import { type Drill, verdict } from './drill.js';

/** The product's own deadline for refusing both branches. */
const DEADLINE_MS = 5_000;
const PATIENCE_MS = 30_000;
const AGENT = fileURLToPath(new URL('../../dist/agent/main.js', import.meta.url));
/** Both on the unit's own line: nothing but the fork tells them apart. */
const ADDRESSES = { unit: '198.51.100.7', thief: '198.51.100.8' } as const;
type Branch = keyof typeof ADDRESSES;

/**
 * D4: somebody copies a unit's whole flash. Two programs now hold one key. Whoever renews first, the other one's renewal is
 * the proof: both are refused, at renewal and at the gateway, within five seconds.
 */
export const copiedFlash: Drill = {
  name: 'D4',
  summary: 'a copied flash: both branches refused within 5 s, whoever renews first',
  run: async (report) => {
    const dir = mkdtempSync(join(tmpdir(), 'fp-lab-'));
    const installation = await startInstallation();
    let lab: Lab | undefined;
    try {
      await installation.said('femtopki serves', 240_000);
      const context = storyContext(installation.dataDir);
      try {
        for (const [first, second] of [
          ['thief', 'unit'],
          ['unit', 'thief'],
        ] as const) {
          const world = await makeWorld(context);
          await activated(world);
          for (const address of Object.values(ADDRESSES)) {
            await world.cli(['line', 'prefix', world.line, `${address}/32`]);
          }
          if (lab === undefined) {
            const { status, gateway } = installation.config.listen;
            const ports = { status: status.port, gateway: gateway.port };
            lab = await openLab({ world, dir, ports, gateways: [GATEWAY], hosts: Object.values(ADDRESSES) });
            await lab.gateways[0]?.startConnector();
          }
          await forked(report, world, lab, { first, second });
        }
      } finally {
        await context.pool.end();
      }
    } finally {
      await lab?.close();
      await installation.remove();
      rmSync(dir, { recursive: true, force: true });
    }
  },
};

async function forked(
  report: (act: ActResult) => void,
  world: World,
  lab: Lab,
  { first, second }: { first: Branch; second: Branch },
): Promise<void> {
  const [gateway] = lab.gateways as [LabGateway];
  const [early, late] = [lab.host(ADDRESSES[first]), lab.host(ADDRESSES[second])];
  cpSync(world.path('unit'), world.path('thief'), { recursive: true });
  const renewed = await renew(world, first);
  report(verdict(`The ${first} renews first, on a flash that was copied`, 'its own agent', 'renewed', renewed));
  await keep(world, first);
  await keep(world, second);
  early.become(world, `${first}-branch`);
  late.become(world, `${second}-branch`);
  const echoes = await early.echoes();
  await within(PATIENCE_MS, async () => {
    if (!(await early.isUp(gateway))) await early.connect(gateway);
    return echoes.count() > 5;
  });
  const passing = echoes.count() > 5 ? 'packets pass' : 'nothing passes';
  report(verdict(`The ${first} connects`, 'strongSwan, UDP', 'packets pass', passing));

  const seen = Date.now();
  const refused = await renew(world, second);
  const act = `The ${second} renews the same generation with a key of its own`;
  report(verdict(act, 'its own agent', 'refused DENIED', refused));
  const isCut = await within(DEADLINE_MS - (Date.now() - seen), async () => !(await early.isUp(gateway)));
  const cut = isCut ? 'cut within 5 s' : 'still up';
  report(verdict(`The ${first}’s tunnel`, 'strongSwan', 'cut within 5 s', cut));
  report(verdict('Both branches ask', 'curl, openssl dgst', 'both denied', await bothDenied(world, seen)));
  const before = echoes.count();
  await late.connect(gateway);
  await early.connect(gateway);
  await within(PATIENCE_MS, async () => !(await early.isUp(gateway)) && !(await late.isUp(gateway)));
  const up = [await early.isUp(gateway), await late.isUp(gateway)].filter(Boolean).length;
  const got = `${up} tunnels, ${echoes.count() - before} packets`;
  report(verdict('Both branches connect', 'strongSwan, UDP', '0 tunnels, 0 packets', got));
  await echoes.stop();

  report(
    verdict(
      'Neither is served again',
      'their agents',
      'refused DENIED; refused DENIED',
      `${await renew(world, first)}; ${await renew(world, second)}`,
    ),
  );
  const opened = await caseOf(world);
  report(verdict('The case names the fork', 'femtopki unit show', 'QUARANTINED, case lineage-fork hard', opened));
}

async function within(ms: number, is: () => Promise<boolean>): Promise<boolean> {
  for (const end = Date.now() + ms; !(await is()); await sleep(25)) if (Date.now() > end) return false;
  return true;
}

async function activated(world: World): Promise<void> {
  for (const name of ['machines', 'manifest', 'bootstrap', 'activation']) {
    const act = ACTS.find((candidate) => candidate.name === name);
    if (!act) throw new Error(`the story has no act ${name}`);
    await act.happen(world);
    const got = await act.judge(world);
    if (got !== act.expected) throw new Error(`${name}: ${got}`);
  }
}

async function renew(world: World, who: string): Promise<string> {
  const said = await world.sh(
    process.execPath,
    AGENT,
    '--dir',
    world.path(who),
    '--enrol',
    world.enrolUrl,
    '--status',
    world.statusUrl,
    '--renew-now',
    '--once',
  );
  const last = said.stdout.trim().split('\n').at(-1) ?? '{}';
  const { did = 'said nothing', code } = JSON.parse(last === '' ? '{}' : last) as {
    did?: string;
    code?: string | null;
  };
  return code ? `${did} ${code}` : did;
}

/** What this branch holds, as files of their own for the gateway. */
async function keep(world: World, who: string): Promise<void> {
  for (const kind of ['pem', 'key']) await world.sh('cp', `${who}/operational.${kind}`, `${who}-branch.${kind}`);
}

async function bothDenied(world: World, since: number): Promise<string> {
  for (;;) {
    const verdicts = [
      await askGateway(world, GATEWAY, 'thief-branch'),
      await askGateway(world, GATEWAY, 'unit-branch'),
    ];
    const words = verdicts.map(
      ({ verdict: word, signature }) => `${signature === 'Verified OK' ? '' : `${signature}: `}${word}`,
    );
    const late = Date.now() - since > DEADLINE_MS;
    if (words.every((word) => word === 'deny')) return late ? `denied after ${Date.now() - since} ms` : 'both denied';
    if (late) return words.join(', ');
  }
}

async function caseOf(world: World): Promise<string> {
  for (let tries = 0; ; tries++) {
    const unit = (await world.cli(['unit', 'show', world.serialNumber])) as {
      state: string;
      cases: { kind: string; grade: string }[];
    };
    const fork = unit.cases.find(({ kind }) => kind === 'lineage-fork');
    if (fork || tries >= 20) return `${unit.state}, case ${fork ? `${fork.kind} ${fork.grade}` : 'none'}`;
    await new Promise((done) => setTimeout(done, 250));
  }
}
