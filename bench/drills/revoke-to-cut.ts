import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
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
const ADDRESS = '198.51.100.7';
const PATIENCE_MS = 30_000;

/** REVOKE: a live unit is held, over and over. From the command's start to the end of its IKE_SA and its last inner packet. */
export const revokeToCut: Drill = {
  name: 'REVOKE',
  summary: `a live unit is held ${RUNS} times: its IKE_SA and its last packet within 5 s (p99)`,
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
      for (const [what, times, deadlineMs] of [
        ['the IKE_SA is down at the unit', measured.map(({ saMs }) => saMs), DEADLINE_MS],
        ['the last inner packet has passed', measured.map(({ packetMs }) => packetMs), DEADLINE_MS],
        ['feed status says enforced', measured.map(({ enforcedMs }) => enforcedMs), RECEIPT_MS],
      ] as const) {
        const [p50, p99, max] = [0.5, 0.99, 1].map((share) => quantile(times, share));
        const act = `Held ${runs} times, ${what}: p50 ${p50} ms, p99 ${p99} ms, slowest ${max} ms`;
        const good = `p99 within ${deadlineMs / 1_000} s`;
        report(
          verdict(act, 'strongSwan, UDP, femtopki', good, (p99 ?? Infinity) <= deadlineMs ? good : `p99 ${p99} ms`),
        );
      }
    } finally {
      await lab?.close();
      await told.close();
      rmSync(dir, { recursive: true, force: true });
    }
  },
};

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
