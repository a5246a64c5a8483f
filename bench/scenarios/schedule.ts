import { startPinned, WHOLE_MACHINE } from '../measure/pinned-process.js';
import { interleaved } from '../measure/rounds.js';
import type { BenchContext, Measurement, Round, Scenario } from '../scenario.js';
import type { ScheduleReady } from '../servers/schedule.js';

/**
 * Due units handed to the queue as jobs of 500, out of the markers of a whole fleet (REN-6). The limit reads the same rows by the
 * same key and does nothing with them. --units: markers; 10 million where it is not said.
 */
export const scenario: Scenario = { name: 'schedule', unit: 'units/s', limit: 'keyset-scan', run };

const UNITS = 10_000_000;
const UNITS_QUICK = 50_000;

async function run({ rounds, seconds, quick, units, say }: BenchContext): Promise<Measurement> {
  const count = units ?? (quick ? UNITS_QUICK : UNITS);
  const product = startPinned(new URL('../servers/schedule.ts', import.meta.url), WHOLE_MACHINE, [String(count)]);
  const ended = [product];
  try {
    say(`filling ${count} markers`);
    const { databaseUrl } = await product.next<ScheduleReady>();
    const limit = startPinned(new URL('../limits/keyset-scan.ts', import.meta.url), WHOLE_MACHINE, [databaseUrl]);
    ended.unshift(limit);
    await limit.next();
    const ofProduct = async (): Promise<Round> => {
      product.send({ seconds });
      return product.next<Round>();
    };
    const ofLimit = async (): Promise<Round> => {
      limit.send({ seconds });
      const { operations, cpuSeconds, seconds: took } = await limit.next<Record<string, number>>();
      const rows = operations ?? Number.NaN;
      return { perSecond: rows / (took ?? 0), cpuSecondsPerOperation: (cpuSeconds ?? 0) / rows, generatorBusy: 0 };
    };
    await ofProduct();
    await ofLimit();
    const measured = await interleaved(rounds, { product: ofProduct, limit: ofLimit }, say);
    product.send('check');
    return { ...measured, checks: await product.next<Measurement['checks']>() };
  } finally {
    for (const one of ended) await one.end();
  }
}
