import { DEPTHS, type Depth, type FuzzTarget } from './fuzz-target.js';
import { mutate, type Random } from './mutate.js';

/** Longer on one small input is a parser that can be made to work for an attacker. */
const SLOW_MS = 50;

export interface FuzzReport {
  readonly counts: Readonly<Record<Depth, number>>;
  readonly slowestMs: number;
  /** What crashed or was slow, the first few: error and input, in hex. */
  readonly crashes: readonly string[];
  /** Nothing crashed or hung, half of the inputs passed the DER gate and a tenth reached policy. */
  readonly isGood: boolean;
}

export async function runTarget(target: FuzzTarget, runs: number, random: Random): Promise<FuzzReport> {
  const counts = Object.fromEntries(DEPTHS.map((depth) => [depth, 0])) as Record<Depth, number>;
  const crashes: string[] = [];
  let slowestMs = 0;
  for (let run = 0; run < runs; run++) {
    const input = bent(target, random, run);
    const { depth, tookMs } = await timed(target, input, crashes);
    slowestMs = Math.max(slowestMs, tookMs);
    if (tookMs >= SLOW_MS && crashes.length < CRASHES_MAX) crashes.push(`slow, ${tookMs} ms\n${input.toString('hex')}`);
    counts[depth] += 1;
  }
  const beyondGate = 1 - counts['DER gate'] / runs;
  const atPolicy = (counts.policy + counts.accepted) / runs;
  const isGood = counts.crash === 0 && slowestMs < SLOW_MS && beyondGate >= 0.5 && atPolicy >= 0.1;
  return { counts, slowestMs, crashes, isGood };
}

/**
 * What is slow by the clock is tried again and its CPU time taken, the least of a few tries: what is slow every time is the
 * input's doing, what is slow once the machine's.
 */
async function timed(target: FuzzTarget, input: Buffer, crashes: string[]): Promise<{ depth: Depth; tookMs: number }> {
  const started = performance.now();
  const depth = await depthOf(target, input, crashes);
  let tookMs = performance.now() - started;
  for (let tries = 0; tookMs >= SLOW_MS && tries < TRIES_MAX; tries += 1) {
    const before = process.cpuUsage();
    await depthOf(target, input, crashes);
    const { user, system } = process.cpuUsage(before);
    tookMs = Math.min(tookMs, (user + system) / 1_000);
  }
  return { depth, tookMs };
}

/** Every third keeps a right signature over what was changed, so that policy sees it. */
function bent(target: FuzzTarget, random: Random, run: number): Buffer {
  const input = (target.mutate ?? mutate)(target.seed(random), random);
  if (target.resign === undefined || run % 3 !== 0) return input;
  try {
    return target.resign(input, random);
  } catch {
    // A broken length leaves nothing to sign; the input goes as it is.
    return input;
  }
}

async function depthOf(target: FuzzTarget, input: Buffer, crashes: string[]): Promise<Depth> {
  try {
    return await target.judge(input);
  } catch (error) {
    if (crashes.length < CRASHES_MAX) crashes.push(`${(error as Error).stack}\n${input.toString('hex')}`);
    return 'crash';
  }
}

const CRASHES_MAX = 5;
const TRIES_MAX = 5;
