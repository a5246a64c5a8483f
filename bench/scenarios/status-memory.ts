import { SERVER_CORE, startPinned } from '../measure/pinned-process.js';
import { interleaved } from '../measure/rounds.js';
import type { BenchContext, Measurement, Round, Scenario } from '../scenario.js';
import type { MemoryReport } from '../servers/status-memory.js';

/**
 * Resident memory of the index of statuses for each million certificates, 1 % of them revoked, against the bare serials.
 * Says how it grows, and what the cache of answers weighs at its bound.
 */
export const scenario: Scenario = {
  name: 'status-memory',
  unit: 'MB/million',
  better: 'lower',
  limit: 'bare-serials',
  run,
};

async function run({ rounds, quick, say }: BenchContext): Promise<Measurement> {
  const certificates = quick ? 100_000 : 1_000_000;
  const checks: { what: string; ok: boolean }[] = [];
  for (const count of quick ? [10_000] : [10_000, 100_000, 1_000_000, 10_000_000]) {
    const report = await reportOf<MemoryReport>('../servers/status-memory.ts', [String(count)]);
    checks.push(...report.checks);
    say(
      `${count} certificates: ${megabytes(report.residentBytes)} MB resident, ${megabytes(report.heapBytes)} MB in use`,
    );
  }
  const cache = await reportOf<MemoryReport>('../servers/status-memory.ts', [quick ? '1000' : '1000000', 'cache']);
  checks.push(...cache.checks);
  say(
    `cache of answers: ${cache.held} answers in ${megabytes(cache.heapBytes)} MB in use, ${megabytes(cache.residentBytes)} MB resident`,
  );
  if (!quick) checks.push({ what: 'what the cache weighs is what it is bound to', ok: cache.heapBytes < 70e6 });
  const side = (file: string) => async (): Promise<Round> => {
    const { residentBytes, cpuSeconds } = await reportOf<MemoryReport>(file, [String(certificates)]);
    const figure = residentBytes / certificates;
    return { perSecond: figure, figure, cpuSecondsPerOperation: cpuSeconds / certificates, generatorBusy: 0 };
  };
  const sides = { product: side('../servers/status-memory.ts'), limit: side('../limits/bare-serials.ts') };
  const measured = await interleaved(rounds, sides, (line) =>
    say(line.replace('/s, generator 0 % busy', ' MB/million')),
  );
  return { ...measured, checks };
}

async function reportOf<T>(file: string, args: readonly string[]): Promise<T> {
  const process = startPinned(new URL(file, import.meta.url), SERVER_CORE, args);
  try {
    return await process.next<T>();
  } finally {
    await process.end();
  }
}

function megabytes(bytes: number): number {
  return Math.round(bytes / 1e5) / 10;
}
