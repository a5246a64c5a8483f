import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ActResult } from '../../src/apps/act-result.js';
import { GATEWAY } from '../../src/apps/story/factory-acts.js';
import type { World } from '../../src/apps/story/world.js';
import { type ApiClient, apiClient } from '../../src/operator/cli/api-client.js';
import { type Lab, type LabGateway, type LabHost, openLab } from '../../test/lab/lab.js';
import { type ToldInstallation, toldInstallation } from '../../test/support/told-installation.js';
import { type Drill, verdict } from './drill.js';

/** The product's own deadline: a live unit is cut, and nothing of it passes. */
const DEADLINE_MS = 5_000;
/** The goal for the receipts of a whole fleet. */
const RECEIPT_MS = 60_000;
const RUNS = 200;
/** Of these, as many by a command, Node.js and all, and as many reported lost, which costs an activation each. */
const OTHERS_MAX = 10;
const ADDRESS = '198.51.100.7';
const PATIENCE_MS = 30_000;

/**
 * REVOKE: a live unit is held, over and over. From the moment in which a person presses the button, that is the console's call
 * of the API, to the end of its IKE_SA and its last inner packet; some runs from the start of a command instead.
 */
export const revokeToCut: Drill = {
  name: 'REVOKE',
  summary: `a live unit is held ${RUNS} times, and others reported lost: IKE_SA and last packet within 5 s (p99)`,
  run: async (report, { runs = RUNS }) => {
    const dir = mkdtempSync(join(tmpdir(), 'fp-lab-'));
    const told = await toldInstallation();
    let lab: Lab | undefined;
    try {
      await told.tellUntil('activation');
      lab = await labOf(told, dir);
      // To give trust back takes two people, each with a key of their own.
      for (const person of ['operator', 'approver'] as const) {
        const link = join(told.installation.dataDir, 'secrets', `sign-in-${person}.link`);
        await told.world.cli(['sign-in', link], person);
      }
      const [gateway] = lab.gateways as [LabGateway];
      await gateway.startConnector();
      const unit = lab.host(ADDRESS);
      const console = consoleOf(told);
      const others = Math.min(OTHERS_MAX, Math.ceil(runs / 20));
      const held = await repeated(Math.max(1, runs - 2 * others), (run) =>
        holdOnce(told.world, { console, by: 'console' }, gateway, unit, run),
      );
      const commanded = await repeated(others, (run) =>
        holdOnce(told.world, { console, by: 'command' }, gateway, unit, run),
      );
      const lost = await repeated(others, (run) => loseOnce(told, console, gateway, unit, run));
      reportCuts(report, 'Held', held);
      report(measuredBy('Held', held, 'the API has answered', ({ answeredMs }) => answeredMs, DEADLINE_MS));
      report(measuredBy('Held', held, 'feed status says enforced', ({ enforcedMs }) => enforcedMs, RECEIPT_MS));
      reportCuts(report, 'Held by a command, counted from its start,', commanded);
      reportCuts(report, 'Reported lost', lost);
      reportCuts(report, 'All of these', [...held, ...commanded, ...lost]);
      const receipt = await receiptOf(told.world, lost.at(-1)?.pressedAt ?? 0);
      const wanted = `${GATEWAY} enforced after it was reported and before now`;
      report(verdict('The receipt of the last one', 'femtopki feed status', wanted, receipt));
    } finally {
      await lab?.close();
      await told.close();
      rmSync(dir, { recursive: true, force: true });
    }
  },
};

async function repeated(count: number, once: (run: number) => Promise<Cut>): Promise<Cut[]> {
  const measured: Cut[] = [];
  for (let run = 1; run <= count; run++) {
    measured.push(await once(run));
    process.stderr.write(`\r${run}/${count}`);
  }
  process.stderr.write('\n');
  return measured;
}

function reportCuts(report: (act: ActResult) => void, how: string, cuts: readonly Cut[]): void {
  report(measuredBy(how, cuts, 'the IKE_SA is down at the unit', ({ saMs }) => saMs, DEADLINE_MS));
  report(measuredBy(how, cuts, 'the last inner packet has passed', ({ packetMs }) => packetMs, DEADLINE_MS));
}

function measuredBy(
  how: string,
  cuts: readonly Cut[],
  what: string,
  of: (cut: Cut) => number,
  deadlineMs: number,
): ActResult {
  const [p50, p99, max] = [0.5, 0.99, 1].map((share) => quantile(cuts.map(of), share));
  const act = `${how} ${cuts.length} times, ${what}: p50 ${p50} ms, p99 ${p99} ms, slowest ${max} ms`;
  const good = `p99 within ${deadlineMs / 1_000} s`;
  return verdict(act, 'strongSwan, UDP, femtopki', good, (p99 ?? Infinity) <= deadlineMs ? good : `p99 ${p99} ms`);
}

interface Cut {
  /** When it was pressed, epoch milliseconds; all that follows counts from there. */
  readonly pressedAt: number;
  readonly answeredMs: number;
  readonly saMs: number;
  readonly packetMs: number;
  readonly enforcedMs: number;
}

async function labOf({ world, installation }: ToldInstallation, dir: string): Promise<Lab> {
  await world.cli(['line', 'prefix', world.line, `${ADDRESS}/32`]);
  const { status, gateway } = installation.config.listen;
  const ports = { status: status.port, gateway: gateway.port };
  return openLab({ world, dir, ports, gateways: [GATEWAY], hosts: [ADDRESS] });
}

type Person = 'operator' | 'approver';

/** In turn: beyond a hundred a day each of them needs an approval. */
function personOf(run: number): Person {
  return run % 2 === 0 ? 'approver' : 'operator';
}

/** As a console calls: over a connection that is kept, with nothing to start first. */
function consoleOf({ installation: { config, dataDir } }: ToldInstallation): Record<Person, ApiClient> {
  const of = (person: Person): ApiClient =>
    apiClient(config.publicUrls.operator, join(dataDir, 'secrets', `cli-${person}.token`));
  return { operator: of('operator'), approver: of('approver') };
}

async function holdOnce(
  world: World,
  { console, by }: { console: Record<Person, ApiClient>; by: 'console' | 'command' },
  gateway: LabGateway,
  unit: LabHost,
  run: number,
): Promise<Cut> {
  const echoes = await unit.echoes();
  try {
    // After a release charon may still have the held answer for a moment.
    await until('the unit is in', async () => {
      if (!(await unit.isUp(gateway))) await unit.connect(gateway);
      return echoes.count() > 5;
    });
    const person = personOf(run);
    const reason = 'drill';
    const { serialNumber } = world;
    const press = (): Promise<unknown> =>
      by === 'command'
        ? world.cli(['unit', 'hold', serialNumber, '--reason', reason], person)
        : console[person].post(`/units/${serialNumber}/hold`, { reason });
    const { pressedAt: from, answeredMs, saMs } = await cutBy(press, gateway, unit);
    const [enforcedMs, approval] = await Promise.all([
      until('it is enforced', () => isEnforced(console)).then(() => Date.now() - from),
      approvedRelease(world),
    ]);
    const packetMs = echoes.lastAt() - from;
    await console.operator.post(`/units/${serialNumber}/release`, { reason, approval: Number(approval) });
    return { pressedAt: from, answeredMs, saMs, packetMs: Math.max(0, packetMs), enforcedMs };
  } finally {
    await echoes.stop();
  }
}

/** Nobody gives a lost unit back so soon: each run is another unit's. */
async function loseOnce(
  told: ToldInstallation,
  console: Record<Person, ApiClient>,
  gateway: LabGateway,
  host: LabHost,
  run: number,
): Promise<Cut> {
  const world = await told.another();
  await world.cli(['line', 'prefix', world.line, `${ADDRESS}/32`]);
  host.become(world);
  const echoes = await host.echoes();
  try {
    await until('the unit is in', async () => {
      if (!(await host.isUp(gateway))) await host.connect(gateway);
      return echoes.count() > 5;
    });
    const press = (): Promise<unknown> =>
      console[personOf(run)].post(`/units/${world.serialNumber}/lost`, { reason: 'drill' });
    const { pressedAt: from, answeredMs, saMs } = await cutBy(press, gateway, host);
    await until('it is enforced', () => isEnforced(console));
    const packetMs = Math.max(0, echoes.lastAt() - from);
    return { pressedAt: from, answeredMs, saMs, packetMs, enforcedMs: Date.now() - from };
  } finally {
    await echoes.stop();
  }
}

async function cutBy(
  press: () => Promise<unknown>,
  gateway: LabGateway,
  unit: LabHost,
): Promise<Pick<Cut, 'pressedAt' | 'answeredMs' | 'saMs'>> {
  const pressedAt = Date.now();
  await press();
  const answeredMs = Date.now() - pressedAt;
  await until('the IKE_SA is down', async () => !(await unit.isUp(gateway)));
  return { pressedAt, answeredMs, saMs: Date.now() - pressedAt };
}

async function isEnforced({ operator }: Record<Person, ApiClient>): Promise<boolean> {
  const { summary } = (await operator.get('/feed')) as { summary: string };
  return /^1 of 1/.test(summary);
}

/** Which gateway, and when. */
async function receiptOf(world: World, since: number): Promise<string> {
  const { gateways } = (await world.cli(['feed', 'status'])) as {
    gateways: { gateway: string; enforced: boolean; enforcedAt: string | null }[];
  };
  return gateways
    .map(({ gateway, enforced, enforcedAt }) => {
      const at = Date.parse(enforcedAt ?? '');
      if (!enforced || Number.isNaN(at)) return `${gateway} is silent`;
      const when = at >= since && at <= Date.now() ? 'after it was reported and before now' : `at ${enforcedAt}`;
      return `${gateway} enforced ${when}`;
    })
    .join(', ');
}

/** Trust is given back by two people. */
async function approvedRelease(world: World): Promise<string> {
  const { id } = await world.cli(['approval', 'request', 'unit.release', world.serialNumber]);
  await world.cli(['approval', 'approve', String(id)], 'approver');
  return String(id);
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0;
}

async function until(what: string, is: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + PATIENCE_MS; !(await is()); await sleep(20)) {
    if (Date.now() > end) throw new Error(`not within ${PATIENCE_MS / 1_000} s: ${what}`);
  }
}
