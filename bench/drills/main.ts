/**
 * npm run drill -- D4 [D9 …] [--runs N] [--units N] [--json FILE]
 *
 * Rehearses what must never go wrong, at full count. Ends with 0 only if every verdict is as it must be.
 */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { type ActResult, actLine } from '../../src/apps/act-result.js';
import { removeLeftovers } from '../../test/support/leftovers.js';
import { bulkFaults } from './bulk-faults.js';
import { lostReturns } from './d1-lost-returns.js';
import { copiedFlash } from './d4-copied-flash.js';
import { twoHolders } from './d5-two-holders.js';
import { outage } from './d6-outage.js';
import { powerCuts } from './d9-power-cuts.js';
import { darkGateway } from './d10-dark.js';
import type { Drill, DrillOptions } from './drill.js';
import { revokeToCut } from './revoke-to-cut.js';

const DRILLS: readonly Drill[] = [
  lostReturns,
  copiedFlash,
  twoHolders,
  outage,
  powerCuts,
  darkGateway,
  revokeToCut,
  bulkFaults,
];

const EXAMPLES = `
Drills:
${DRILLS.map(({ name, summary }) => `  ${name.padEnd(8)}${summary}`).join('\n')}

Examples:
  npm run drill -- D4
  npm run drill -- D5 D10 --json verdicts.json
  npm run drill -- REVOKE --runs 200
  npm run drill -- D6 --units 2000`;
const command = new Command('npm run drill --')
  .description('Rehearses what must never go wrong. Ends with 0 only if every verdict is as it must be.')
  .argument('[NAME...]', 'drills as listed below')
  .option('--runs <n>', 'how often, for drills that repeat')
  .option('--units <n>', 'how many units, for drills with a fleet')
  .option('--json <file>', 'write the verdicts here')
  .addHelpText('after', EXAMPLES)
  .parse();
const values = command.opts<{ json?: string; runs?: string; units?: string }>();
const positionals = command.args;
const counts = Object.fromEntries(
  (['runs', 'units'] as const).flatMap((name) => (values[name] === undefined ? [] : [[name, Number(values[name])]])),
) satisfies DrillOptions;
const isCounted = Object.values(counts).every((count) => Number.isInteger(count) && count > 0);
// The tests' PostgreSQL holder serves the drills that need a database alone.
process.env['FP_TEST_RUN_DIR'] = mkdtempSync(join(tmpdir(), 'fp-drill-'));
process.env['FP_TEST_RUN_PID'] = String(process.pid);

/** Whoever stops a drill half way finds the machine as it was. */
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    process.stderr.write('\ninterrupted: everything that was started is ended and removed\n');
    void removeLeftovers()
      .then(stopServices)
      .finally(() => process.exit(130));
  });
}

const acts: ActResult[] = [];
const wanted = positionals.map((name) => name.toUpperCase());
const unknown = wanted.filter((name) => !DRILLS.some((drill) => drill.name === name));
if (wanted.length === 0 || unknown.length > 0 || !isCounted) {
  command.outputHelp({ error: true });
  process.exitCode = 2;
} else {
  for (const drill of DRILLS.filter(({ name }) => wanted.includes(name))) await runOne(drill);
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ acts }, null, 2)}\n`);
  const good = acts.filter(({ ok }) => ok).length;
  process.stdout.write(`\n${good} of ${acts.length} verdicts are as they must be.\n`);
  process.exitCode = acts.length > 0 && good === acts.length ? 0 : 1;
  await stopServices();
}

async function stopServices(): Promise<void> {
  const { default: stop } = (await import(new URL('../../test/support/stop-services.mjs', import.meta.url).href)) as {
    default: () => Promise<void>;
  };
  await stop();
}

async function runOne(drill: Drill): Promise<void> {
  process.stdout.write(`\n${drill.name}: ${drill.summary}\n`);
  const report = (act: ActResult): void => {
    acts.push(act);
    process.stdout.write(`${actLine(act)}\n`);
  };
  try {
    await drill.run(report, counts);
  } catch (error) {
    report({
      act: `${drill.name} broke off`,
      by: 'drill',
      expected: 'to the end',
      got: (error as Error).message,
      ok: false,
    });
  }
}
