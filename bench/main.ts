/**
 * npm run bench -- [SCENARIO…] [--json FILE] [--rounds N] [--seconds S] [--units N] [--quick]
 *
 * Each scenario against its limit probe on the same machine in the same minutes: one JSON line a scenario on standard
 * output. Ratios mean something; absolute figures belong to this machine. Ends with 1 when a scenario could not run or
 * something it made was wrong. --units: how many units the fleet of a scenario has that says so. --quick: one short round, to see that everything still works; its figures mean nothing.
 */
import { appendFileSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { rowOf } from './measure/rounds.js';
import { PeerMissing, type Scenario } from './scenario.js';

const DIR = new URL('./scenarios/', import.meta.url);
const EXAMPLES = `
Examples:
  npm run bench -- --list
  npm run bench -- ocsp-cached ocsp-live
  npm run bench -- issue-bulk --rounds 3 --json bulk.json
  npm run bench -- --quick`;
const command = new Command('npm run bench --')
  .description(
    'Measures scenarios, each against its limit on the same machine in the same minutes; all of them by default.',
  )
  .argument('[SCENARIO...]', 'names as --list gives them')
  .option('--json <file>', 'also write one JSON line a scenario here')
  .option('--rounds <n>', 'rounds a side', '5')
  .option('--seconds <s>', 'length of a round', '3')
  .option('--units <n>', 'size of the fleet, for scenarios that have one')
  .option('--quick', 'one short round: shows that it works, its figures mean nothing', false)
  .option('--list', 'name the scenarios', false)
  .addHelpText('after', EXAMPLES)
  .parse();
const values = command.opts<{
  json?: string;
  rounds: string;
  seconds: string;
  units?: string;
  quick: boolean;
  list: boolean;
}>();
const positionals = command.args;
const rounds = values.quick ? 1 : Number(values.rounds);
const seconds = values.quick ? 0.3 : Number(values.seconds);
const fleet = values.units === undefined ? {} : { units: Number(values.units) };
const say = (line: string): void => void process.stderr.write(`${line}\n`);

// The tests' PostgreSQL holder serves scenarios that need a database and no durability.
process.env['FP_TEST_RUN_DIR'] = mkdtempSync(join(tmpdir(), 'fp-bench-run-'));
process.env['FP_TEST_RUN_PID'] = String(process.pid);

/** As others spell it. */
const SPELLINGS: Readonly<Record<string, string>> = { authorize: 'authorise' };

const names = readdirSync(DIR)
  .filter((file) => file.endsWith('.ts'))
  .map((file) => file.slice(0, -3));
if (values.list) process.stdout.write(`${names.join('\n')}\n`);
else await main();

async function main(): Promise<void> {
  const wanted = positionals.length > 0 ? positionals.map((name) => SPELLINGS[name] ?? name) : names;
  for (const name of wanted) {
    if (names.includes(name)) continue;
    say(`There is no scenario ${name}. There are: ${names.join(', ')}.`);
    process.exitCode = 2;
    return;
  }
  if (values.json !== undefined) writeFileSync(values.json, '');
  for (const name of wanted) await runOne(name);
  const { default: stopServices } = (await import(
    new URL('../test/support/stop-services.mjs', import.meta.url).href
  )) as { default: () => Promise<void> };
  await stopServices();
}

async function runOne(name: string): Promise<void> {
  say(`${name}: ${rounds} rounds of ${seconds} s a side`);
  try {
    const { scenario } = (await import(fileURLToPath(new URL(`${name}.ts`, DIR)))) as { scenario: Scenario };
    const measured = await scenario.run({ rounds, seconds, quick: values.quick, ...fleet, say });
    if (measured.checks.some(({ ok }) => !ok)) process.exitCode = 1;
    for (const { what, ok } of measured.checks) say(`${ok ? 'ok  ' : 'FAIL'} ${what}`);
    const line = `${JSON.stringify(rowOf(scenario, measured))}\n`;
    process.stdout.write(line);
    if (values.json !== undefined) appendFileSync(values.json, line);
  } catch (error) {
    if (error instanceof PeerMissing) return say(`${name} was left out: ${error.message}`);
    say(`${name} could not run: ${(error as Error).stack}`);
    process.exitCode = 1;
  }
}
