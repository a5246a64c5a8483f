/**
 * npm run fuzz -- [csr|ocsp …] [--runs N] [--seed S]
 *
 * Mutates valid messages and counts how deep each got. Ends with 1 on a crash, on an input that took longer than 50 ms, or
 * when the inputs were too shallow to prove anything: half must pass the DER gate, a tenth must reach policy.
 */
import { parseArgs } from 'node:util';
import { mutate, seededRandom } from './mutate.js';
import { DEPTHS, type Depth, TARGETS } from './targets.js';

const SLOW_MS = 50;
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string', default: '100000' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
  },
});
const runs = Number(values.runs);
const wanted = positionals.length > 0 ? positionals : Object.keys(TARGETS);
let isGood = runs > 0;

for (const name of wanted) {
  const target = TARGETS[name];
  if (!target) {
    process.stderr.write(`There is no target ${name}; there are: ${Object.keys(TARGETS).join(', ')}.\n`);
    process.exit(2);
  }
  const random = seededRandom(Number(values.seed));
  const counts = Object.fromEntries(DEPTHS.map((depth) => [depth, 0])) as Record<Depth, number>;
  let slowestMs = 0;
  for (let run = 0; run < runs; run++) {
    let input = mutate(target.seed(random), random);
    // Every third keeps a right signature over what was changed, so that policy sees it.
    if (target.resign && run % 3 === 0) input = resigned(target.resign, input);
    const started = performance.now();
    const depth = target.judge(input);
    const tookMs = performance.now() - started;
    if (tookMs > slowestMs) slowestMs = tookMs;
    counts[depth] += 1;
    if (depth === 'crash') process.stderr.write(`crash: ${input.toString('hex')}\n`);
  }
  const beyondGate = 1 - counts['DER gate'] / runs;
  const atPolicy = (counts.policy + counts.accepted) / runs;
  const verdict = counts.crash === 0 && slowestMs < SLOW_MS && beyondGate >= 0.5 && atPolicy >= 0.1;
  isGood &&= verdict;
  process.stdout.write(
    `${name}: ${runs} inputs, seed ${values.seed}, slowest ${slowestMs.toFixed(1)} ms, ${verdict ? 'good' : 'NOT GOOD'}\n`,
  );
  for (const depth of DEPTHS)
    process.stdout.write(`  ${depth.padEnd(10)} ${String(counts[depth]).padStart(8)}  ${bar(counts[depth] / runs)}\n`);
}
process.exitCode = isGood ? 0 : 1;

function resigned(resign: (mutated: Buffer) => Buffer, input: Buffer): Buffer {
  try {
    return resign(input);
  } catch {
    // A broken length leaves nothing to sign; the input goes as it is.
    return input;
  }
}

function bar(part: number): string {
  return `${'█'.repeat(Math.round(part * 40))} ${(part * 100).toFixed(1)} %`;
}
