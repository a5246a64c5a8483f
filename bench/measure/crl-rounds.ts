import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BenchContext, Measurement, Round } from '../scenario.js';
import type { CrlBuilderReady, CrlBuilderRound } from '../servers/crl-builder.js';
import { type PinnedProcess, SERVER_CORE, startPinned } from './pinned-process.js';
import { interleaved, median } from './rounds.js';

/** CRLs of a million entries in a round; each side makes as many, one beside the other. */
const OPERATIONS = 5;

/** A limit probe beside the CRL builder: one operation each a message. */
export interface CrlLimit {
  /** Starts the probe once it is known what is measured. */
  start(ready: CrlBuilderReady): PinnedProcess;
  readonly order: object;
}

/** The builder over `source` against a limit, at a million entries; how it grows up to that is told first. */
export async function crlRounds(
  { rounds, quick, say }: BenchContext,
  source: 'memory' | 'database',
  limit: CrlLimit,
): Promise<Measurement> {
  const sizes = quick ? [20_000] : [10_000, 100_000, 1_000_000];
  for (const size of sizes.slice(0, -1)) {
    const small = await measureAt(size, { source, limit, rounds: 3 });
    say(`${size} entries: ${told(small.product)} a CRL, limit ${told(small.limit)}`);
  }
  return measureAt(sizes.at(-1) ?? 0, { source, limit, rounds, say });
}

async function measureAt(
  size: number,
  {
    source,
    limit,
    rounds,
    say = () => undefined,
  }: { source: string; limit: CrlLimit; rounds: number; say?: (line: string) => void },
): Promise<Measurement> {
  const dir = mkdtempSync(join(tmpdir(), 'fp-bench-'));
  const builder = startPinned(new URL('../servers/crl-builder.ts', import.meta.url), SERVER_CORE, [
    String(size),
    source,
    dir,
  ]);
  const children = [builder];
  try {
    const ready = await builder.next<CrlBuilderReady>();
    const probe = limit.start(ready);
    children.push(probe);
    await probe.next();
    const checks: { what: string; ok: boolean }[] = [];
    const product = async (): Promise<Round> =>
      timed(async (turn) => {
        builder.send({ check: turn === OPERATIONS - 1 });
        const made = await builder.next<CrlBuilderRound>();
        checks.push(...made.checks);
        return made;
      });
    const bare = async (): Promise<Round> =>
      timed(async () => {
        probe.send(limit.order);
        return probe.next<{ seconds: number; cpuSeconds: number }>();
      });
    await product();
    const measured = await interleaved(rounds, { product, limit: bare }, () => undefined);
    say(`CPU: product ${told(measured.product)}, limit ${told(measured.limit)}`);
    return { ...measured, checks: checks.filter(({ ok }, at) => !ok || at < 3) };
  } finally {
    await Promise.all(children.map((child) => child.end()));
    rmSync(dir, { recursive: true, force: true });
  }
}

async function timed(one: (turn: number) => Promise<{ seconds: number; cpuSeconds: number }>): Promise<Round> {
  const [seconds, cpu]: [number[], number[]] = [[], []];
  for (let turn = 0; turn < OPERATIONS; turn += 1) {
    const took = await one(turn);
    seconds.push(took.seconds);
    cpu.push(took.cpuSeconds);
  }
  // The caller waits and does nothing: what is measured is all that is done.
  return { perSecond: 1 / median(seconds), cpuSecondsPerOperation: median(cpu), generatorBusy: 0 };
}

function told(rounds: readonly Round[]): string {
  const wall = median(rounds.map(({ perSecond }) => 1_000 / perSecond));
  const cpu = median(rounds.map(({ cpuSecondsPerOperation }) => cpuSecondsPerOperation * 1_000));
  return `${wall.toFixed(1)} ms (${cpu.toFixed(1)} ms of CPU)`;
}
