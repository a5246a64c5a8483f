import { cpSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { GATEWAY } from '../../src/apps/story/factory-acts.js';
import { ACTS } from '../../src/apps/story/story.js';
import { askGateway } from '../../src/apps/story/unit-tools.js';
import { makeWorld, type World } from '../../src/apps/story/world.js';
import { startInstallation } from '../../test/support/installation.js';
import { storyContext } from '../../test/support/story-context.js';
import { type Drill, verdict } from './drill.js';

/** The product's own deadline for refusing both branches. */
const DEADLINE_MS = 5_000;
const AGENT = fileURLToPath(new URL('../../dist/agent/main.js', import.meta.url));

/**
 * D4: somebody copies a unit's whole flash. Two programs now hold one key. Whoever renews first, the other one's renewal is
 * the proof: both are refused, at renewal and at the gateway, within five seconds.
 */
export const copiedFlash: Drill = {
  name: 'D4',
  summary: 'a copied flash: both branches refused within 5 s, whoever renews first',
  run: async (report) => {
    const installation = await startInstallation();
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
          cpSync(world.path('unit'), world.path('thief'), { recursive: true });
          report(
            verdict(
              `The ${first} renews first, on a flash that was copied`,
              'its own agent',
              'renewed',
              await renew(world, first),
            ),
          );
          await keep(world, first);
          const seen = Date.now();
          report(
            verdict(
              `The ${second} renews the same generation with a key of its own`,
              'its own agent',
              'refused DENIED',
              await renew(world, second),
            ),
          );
          await keep(world, second);
          report(verdict('Both branches connect', 'curl, openssl dgst', 'both denied', await bothDenied(world, seen)));
          report(
            verdict(
              'Neither is served again',
              'their agents',
              'refused DENIED; refused DENIED',
              `${await renew(world, first)}; ${await renew(world, second)}`,
            ),
          );
          report(
            verdict(
              'The case names the fork',
              'femtopki unit show',
              'QUARANTINED, case lineage-fork hard',
              await caseOf(world),
            ),
          );
        }
      } finally {
        await context.pool.end();
      }
    } finally {
      await installation.remove();
    }
  },
};

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

/** The certificate that this branch holds, as a file of its own for the gateway. */
async function keep(world: World, who: string): Promise<void> {
  await world.sh('cp', `${who}/operational.pem`, `${who}-branch.pem`);
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
