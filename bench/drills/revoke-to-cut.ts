import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ActResult } from '../../src/apps/act-result.js';
import { GATEWAY } from '../../src/apps/story/factory-acts.js';
import type { World } from '../../src/apps/story/world.js';
import { type Lab, type LabGateway, type LabHost, openLab } from '../../test/lab/lab.js';
import { type ToldInstallation, toldInstallation } from '../../test/support/told-installation.js';
import { type Drill, verdict } from './drill.js';

/** The product's own deadline: a live unit is cut, and nothing of it passes. */
const DEADLINE_MS = 5_000;
/** The goal for the receipts of a whole fleet. */
const RECEIPT_MS = 60_000;
const RUNS = 200;
/** Each costs an activation. */
const LOST_RUNS = 10;
const ADDRESS = '198.51.100.7';
const PATIENCE_MS = 30_000;

/** REVOKE: a live unit is held, over and over. From the command's start to the end of its IKE_SA and its last inner packet. */
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
      const measured: Cut[] = [];
      for (let run = 1; run <= runs; run++) {
        measured.push(await holdOnce(told.world, gateway, unit, run));
        process.stderr.write(`\r${run}/${runs}`);
      }
      process.stderr.write('\n');
      report(measuredBy('Held', measured, 'the IKE_SA is down at the unit', ({ saMs }) => saMs, DEADLINE_MS));
      report(measuredBy('Held', measured, 'the last inner packet has passed', ({ packetMs }) => packetMs, DEADLINE_MS));
      report(measuredBy('Held', measured, 'feed status says enforced', ({ enforcedMs }) => enforcedMs, RECEIPT_MS));
      const lost: Cut[] = [];
      for (let run = 1; run <= Math.min(LOST_RUNS, runs); run++) lost.push(await loseOnce(told, gateway, unit));
      const receipt = await receiptOf(told.world);
      report(
        verdict('The receipt of the last one', 'femtopki feed status', `${GATEWAY} enforced, in seconds`, receipt),
      );
      report(measuredBy('Reported lost', lost, 'the IKE_SA is down at the unit', ({ saMs }) => saMs, DEADLINE_MS));
      report(
        measuredBy('Reported lost', lost, 'the last inner packet has passed', ({ packetMs }) => packetMs, DEADLINE_MS),
      );
    } finally {
      await lab?.close();
      await told.close();
      rmSync(dir, { recursive: true, force: true });
    }
  },
};

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
  /** All from the start of the command. */
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

async function holdOnce(world: World, gateway: LabGateway, unit: LabHost, run: number): Promise<Cut> {
  const echoes = await unit.echoes();
  try {
    // After a release charon may still have the held answer for a moment.
    await until('the unit is in', async () => {
      if (!(await unit.isUp(gateway))) await unit.connect(gateway);
      return echoes.count() > 5;
    });
    const from = Date.now();
    // Beyond a hundred a day each of them needs an approval for it.
    const person = run % 2 === 0 ? 'approver' : 'operator';
    const reason = ['--reason', 'drill'];
    await world.cli(['unit', 'hold', world.serialNumber, ...reason], person);
    await until('the IKE_SA is down', async () => !(await unit.isUp(gateway)));
    const saMs = Date.now() - from;
    const summary = async () => String((await world.cli(['feed', 'status']))['summary']);
    const [enforcedMs, approval] = await Promise.all([
      until('it is enforced', async () => /^1 of 1/.test(await summary())).then(() => Date.now() - from),
      approvedRelease(world),
    ]);
    const packetMs = echoes.lastAt() - from;
    await world.cli(['unit', 'release', world.serialNumber, ...reason, '--approval', approval]);
    return { saMs, packetMs: Math.max(0, packetMs), enforcedMs };
  } finally {
    await echoes.stop();
  }
}

/** Nobody gives a lost unit back so soon: each run is another unit's. */
async function loseOnce(told: ToldInstallation, gateway: LabGateway, host: LabHost): Promise<Cut> {
  const world = await told.another();
  await world.cli(['line', 'prefix', world.line, `${ADDRESS}/32`]);
  host.become(world);
  const echoes = await host.echoes();
  try {
    await until('the unit is in', async () => {
      if (!(await host.isUp(gateway))) await host.connect(gateway);
      return echoes.count() > 5;
    });
    const from = Date.now();
    await world.cli(['unit', 'lost', world.serialNumber, '--reason', 'drill']);
    await until('the IKE_SA is down', async () => !(await host.isUp(gateway)));
    const saMs = Date.now() - from;
    await until('it is enforced', async () => /^1 of 1/.test(String((await world.cli(['feed', 'status']))['summary'])));
    return { saMs, packetMs: Math.max(0, echoes.lastAt() - from), enforcedMs: Date.now() - from };
  } finally {
    await echoes.stop();
  }
}

async function receiptOf(world: World): Promise<string> {
  const { gateways } = (await world.cli(['feed', 'status'])) as {
    gateways: { gateway: string; enforced: boolean; enforcedSeconds: number | null }[];
  };
  return gateways
    .map((one) => `${one.gateway} ${one.enforced && one.enforcedSeconds !== null ? 'enforced, in seconds' : 'silent'}`)
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
