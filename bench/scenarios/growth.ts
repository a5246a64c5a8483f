import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RenewalLoadOrder, RenewalRound } from '../load/renewal-load.js';
import { microseconds } from '../measure/composite.js';
import { type PinnedProcess, startPinned, WHOLE_MACHINE } from '../measure/pinned-process.js';
import { interleaved } from '../measure/rounds.js';
import type { BenchContext, Measurement, Round, Scenario } from '../scenario.js';
import type { RenewalPortsOrder, RenewalPortsReady } from '../servers/renewal-ports.js';

/**
 * What one issue and one renewal by REST cost enrol-server and database in a large fleet, beside the same in one of 10,000 units.
 * cpuRatio is the growth. --units: the large fleet; 1 million where it is not said.
 */
export const scenario: Scenario = {
  name: 'growth',
  unit: 'µs CPU an issue and a renewal',
  better: 'lower',
  limit: 'a fleet of 10,000',
  run,
};

const UNITS = 1_000_000;
const UNITS_QUICK = 20_000;
const SMALL = 10_000;
/** Units with keys, spread through the whole fleet. */
const STOCK = 640;
const ISSUED_A_ROUND = 512;
const LANES = 16;

interface Side {
  readonly round: () => Promise<Round>;
  readonly check: () => Promise<Measurement['checks']>;
}

async function run({ rounds, seconds, quick, units, say }: BenchContext): Promise<Measurement> {
  const dir = mkdtempSync(join(tmpdir(), 'fp-bench-'));
  const started: PinnedProcess[] = [];
  try {
    const large = await startSide(units ?? (quick ? UNITS_QUICK : UNITS), { dir, started, seconds, say });
    const small = await startSide(SMALL, { dir, started, seconds, say });
    await large.round();
    await small.round();
    const measured = await interleaved(rounds, { product: large.round, limit: small.round }, say);
    return { ...measured, checks: [...(await large.check()), ...(await small.check())] };
  } finally {
    await Promise.all(started.map((one) => one.end()));
    rmSync(dir, { recursive: true, force: true });
  }
}

async function startSide(
  units: number,
  { dir, started, seconds, say }: { dir: string; started: PinnedProcess[]; seconds: number; say(line: string): void },
): Promise<Side> {
  const server = startPinned(new URL('../servers/renewal-ports.ts', import.meta.url), WHOLE_MACHINE, [dir]);
  started.push(server);
  const ready = await server.next<RenewalPortsReady>();
  const loadUrl = new URL('../load/renewal-load.ts', import.meta.url);
  const load = startPinned(loadUrl, WHOLE_MACHINE, [JSON.stringify(ready)]);
  started.push(load);
  await load.next();
  say(`filling a fleet of ${units}`);
  const began = performance.now();
  await ask(load, { units: await ask<string>(server, { grow: units, stock: STOCK }) });
  say(`filled in ${Math.round((performance.now() - began) / 1_000)} s`);
  let renewed = 0;
  return {
    round: async () => {
      const issue = await ask<Record<string, number>>(server, { issue: ISSUED_A_ROUND });
      await ask(load, { arm: STOCK });
      const before = await ask<Record<string, number>>(server, 'cpu');
      const order = { kind: 'rest' as const, seconds, lanes: LANES, atLeast: LANES };
      const done = await ask<RenewalRound>(load, order);
      if (done.failures > 0) throw new Error(`${done.failures} failed: ${done.firstFailure}`);
      const after = await ask<Record<string, number>>(server, 'cpu');
      renewed += done.all;
      const renewal = (part: string): number => ((after[part] ?? 0) - (before[part] ?? 0)) / done.all;
      const cpu = {
        'issue: enrol': issue['enrol'] ?? 0,
        'issue: database': issue['database'] ?? 0,
        'renewal: enrol': renewal('enrol'),
        'renewal: database': renewal('database'),
      };
      say(microseconds(`${units} units`, cpu));
      const cost = Object.values(cpu).reduce((sum, one) => sum + one, 0);
      return {
        perSecond: done.inTime / done.seconds,
        figure: cost * 1e6,
        cpuSecondsPerOperation: cost,
        generatorBusy: 0,
      };
    },
    check: async () => {
      const slots = await ask<{ renewed: number; units: number }>(server, 'slots');
      return [
        { what: `${slots.renewed} of ${renewed} renewals are confirmed`, ok: slots.renewed === renewed },
        { what: `${slots.units} units have a lineage`, ok: slots.units >= units },
      ];
    },
  };
}

function ask<T>(process: PinnedProcess, order: RenewalPortsOrder | RenewalLoadOrder): Promise<T> {
  process.send(order);
  return process.next<T>();
}
