import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { treeCpuSeconds } from '../../measure/process-tree.js';
import { type HistoriesReport, KINDS, type Kind, runHistories } from './run.js';

/** Plays both kinds and prints what came of them; false where one history ended as it must not. */
export async function fuzzHistories(
  { runs, seed, only }: { runs: number; seed: number; only?: string | undefined },
  say: (line: string) => void,
): Promise<boolean> {
  // The tests' PostgreSQL holder serves this run.
  process.env['FP_TEST_RUN_DIR'] = mkdtempSync(join(tmpdir(), 'fp-fuzz-'));
  process.env['FP_TEST_RUN_PID'] = String(process.pid);
  let isGood = true;
  let [spentOn, before] = [0, 0];
  try {
    for (const kind of Object.keys(KINDS) as Kind[]) {
      const count = kind === 'honest' ? runs : Math.ceil(runs / 4);
      const report = await runHistories(kind, {
        runs: count,
        seed,
        ...(only !== undefined && { only: Number(only) }),
        onProgress: (done) => {
          // Loading us and making the database is none of a history's time.
          if (before === 0) before = cpuSeconds();
          else spentOn += 1;
          if (done % 1_000 === 0) say(`  ${done} of ${count}`);
        },
      });
      sayReport(report, say);
      say(
        ` ${((1_000 * (cpuSeconds() - before)) / spentOn).toFixed(0)} ms of CPU a history until now, ours and the database's`,
      );
      isGood &&= report.faults.length === 0;
    }
  } finally {
    const stop = new URL('../../../test/support/stop-services.mjs', import.meta.url).href;
    const { default: stopServices } = (await import(stop)) as { default: () => Promise<void> };
    await stopServices();
  }
  return isGood;
}

/** Of this process and of the tests' PostgreSQL. */
function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  const holder = Number(readFileSync(join(process.env['FP_TEST_RUN_DIR'] ?? '', 'holder.pid'), 'utf8'));
  return (user + system) / 1e6 + treeCpuSeconds(holder);
}

function sayReport(
  { kind, runs, seed, seconds, steps, ends, shown, faults }: HistoriesReport,
  say: (line: string) => void,
): void {
  const verdict = faults.length === 0 ? 'good' : 'NOT GOOD';
  say(`${kind} histories: ${runs}, seed ${seed}, ${verdict}`);
  const events = [...steps.values()].reduce((sum, n) => sum + n, 0);
  say(` ${(events / runs).toFixed(1)} events a history; ${(runs / seconds).toFixed(1)} histories/s`);
  if (kind === 'dishonest') say(` two holders were shown in ${shown}`);
  sayCounts(' what came of their steps', steps, say);
  sayCounts(' how they ended', ends, say);
  for (const { index, what, history, told } of faults) {
    say(`history ${index}: ${what}`);
    say(`  again: npm run fuzz -- histories --seed ${seed} --only ${index}`);
    say(`  ${history.client}; copied after ${history.copiedAfter ?? 'no'} steps`);
    for (const [at, step] of history.steps.entries()) say(`  ${JSON.stringify(step)} → ${told[at] ?? 'not reached'}`);
  }
}

function sayCounts(title: string, counts: ReadonlyMap<string, number>, say: (line: string) => void): void {
  const total = [...counts.values()].reduce((sum, n) => sum + n, 0);
  say(`${title} (${total}):`);
  for (const [what, n] of [...counts].sort(([, one], [, other]) => other - one)) {
    const part = n / total;
    say(
      `  ${String(n).padStart(7)} ${'█'.repeat(Math.round(part * 30)).padEnd(1)} ${(part * 100).toFixed(1)} %  ${what}`,
    );
  }
}
