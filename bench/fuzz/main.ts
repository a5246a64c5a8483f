/**
 * npm run fuzz -- [csr|ocsp|cmp …] [--runs N] [--seed S]
 * npm run fuzz -- histories [--runs N] [--seed S] [--only INDEX]
 *
 * Mutates valid messages and counts how deep each got. Ends with 1 on a crash, on an input that took longer than 50 ms, or
 * when the inputs were too shallow to prove anything: half must pass the DER gate, a tenth must reach policy.
 *
 * `histories` plays units' lives instead, N honest and a quarter as many dishonest ones, through the real use-cases (histories/run.ts).
 */
import { Command } from 'commander';
import { DEPTHS } from './fuzz-target.js';
import { seededRandom } from './mutate.js';
import { runTarget } from './run-target.js';
import { TARGETS } from './targets.js';

const EXAMPLES = `
Examples:
  npm run fuzz -- cmp --runs 100000
  npm run fuzz -- histories --runs 1000 --seed 7
  npm run fuzz -- histories --seed 7 --only 123`;
const command = new Command('npm run fuzz --')
  .description('Mutates valid messages and counts how deep each got; or plays units’ lives (histories).')
  .argument('[TARGET...]', `${Object.keys(TARGETS).join(', ')}, histories; every kind of message by default`)
  .option('--runs <n>', 'inputs a target: 100,000 by default, and 10,000 histories')
  .option('--seed <s>', 'the same seed makes the same inputs', String(Date.now() % 2 ** 31))
  .option('--only <index>', 'one history, told in full')
  .addHelpText('after', EXAMPLES)
  .parse();
const values = command.opts<{ runs?: string; seed: string; only?: string }>();
const positionals = command.args;
const runs = Number(values.runs ?? (positionals.includes('histories') ? 10_000 : 100_000));
const wanted = positionals.length > 0 ? positionals : Object.keys(TARGETS);
let isGood = runs > 0;

for (const name of wanted) {
  if (name === 'histories') {
    const { fuzzHistories } = await import('./histories/report.js');
    isGood = (await fuzzHistories({ runs, seed: Number(values.seed), only: values.only }, say)) && isGood;
    continue;
  }
  const make = TARGETS[name];
  if (make === undefined) {
    process.stderr.write(
      `There is no target ${name}; there are: ${[...Object.keys(TARGETS), 'histories'].join(', ')}.\n`,
    );
    process.exit(2);
  }
  const target = make();
  const report = await runTarget(target, runs, seededRandom(Number(values.seed)));
  for (const crash of report.crashes) process.stderr.write(`${crash}\n`);
  isGood &&= report.isGood;
  const verdict = report.isGood ? 'good' : 'NOT GOOD';
  say(`${name}: ${runs} inputs, seed ${values.seed}, slowest ${report.slowestMs.toFixed(1)} ms, ${verdict}`);
  for (const depth of DEPTHS) sayCount(depth, report.counts[depth], runs);
  const outcomes = [...(target.outcomes ?? [])].sort(([, one], [, other]) => other - one);
  const answered = outcomes.reduce((sum, [, count]) => sum + count, 0);
  if (answered > 0) say(` ${answered} were answered:`);
  for (const [outcome, count] of outcomes) sayCount(outcome, count, answered);
}
process.exitCode = isGood ? 0 : 1;

function sayCount(what: string, count: number, of: number): void {
  const part = count / of;
  const bar = '█'.repeat(Math.round(part * 40));
  say(`  ${what.padEnd(24)} ${String(count).padStart(8)}  ${bar} ${(part * 100).toFixed(1)} %`);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
