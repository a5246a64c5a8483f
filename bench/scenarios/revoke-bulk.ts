import { UNITS_A_PART } from '../../src/lifecycle/revocation/index.js';
import { prepareUnnestUpdate, type Shape } from '../limits/unnest-update.js';
import { checkRevocations } from '../measure/check-revocations.js';
import { type RevocableFleet, startRevocableFleet } from '../measure/revocable-fleet.js';
import { interleaved, median } from '../measure/rounds.js';
import type { BenchContext, Measurement, Round, Scenario } from '../scenario.js';

/**
 * An order over 100,000 units with a certificate each, from its start by two people's signatures to its end: unit states and
 * history, epochs, status rows with their CRL entries, an entry in the ledger for each of both, marks and notices. Against
 * bare updates of as many rows of the unit table's shape, the one table whose rows are changed, in transactions of the same
 * size. The same for the shape of the status table, which only grows, is told beside it.
 */
export const scenario: Scenario = { name: 'revoke-bulk', unit: 'certificates/s', limit: 'unnest-update', run };

const CERTIFICATES = 100_000;
/** What a short round takes. */
const QUICK_CERTIFICATES = 10_000;

async function run({ rounds, seconds, say }: BenchContext): Promise<Measurement> {
  const count = seconds < 1 ? QUICK_CERTIFICATES : CERTIFICATES;
  const fleet = await startRevocableFleet();
  let batches = 0;
  const checks: Measurement['checks'][number][] = [];
  const ofProduct = async (): Promise<Round> => {
    batches += 1;
    const batch = `BATCH-${batches}`;
    await fleet.addBatch(batch, count);
    const order = await fleet.order(batch);
    const round = await timed(fleet, count, async () => {
      const { state, progress } = await fleet.carryOut(order);
      if (state !== 'done' || progress.certificates !== count) throw new Error(`${state}: ${JSON.stringify(progress)}`);
    });
    checks.push(...(await checkRevocations(fleet.pool, count)));
    await fleet.clear();
    return round;
  };
  const bare = async (shape: Shape): Promise<Round> => {
    const update = await prepareUnnestUpdate(fleet.pool, shape, { rows: count, rowsAPart: UNITS_A_PART });
    const round = await timed(fleet, count, update.run);
    await update.drop();
    return round;
  };
  try {
    await ofProduct();
    const measured = await interleaved(rounds, { product: ofProduct, limit: () => bare('unit') }, say);
    const { perSecond, cpuSecondsPerOperation } = await bare('status');
    say(
      `bare updates of the status table's shape: ${Math.round(perSecond)}/s, ${micro(cpuSecondsPerOperation)} µs of CPU a row`,
    );
    const cpuOf = (side: readonly Round[]): string => micro(median(side.map((round) => round.cpuSecondsPerOperation)));
    say(`CPU: product ${cpuOf(measured.product)} µs a certificate, limit ${cpuOf(measured.limit)} µs a row`);
    return { ...measured, checks };
  } finally {
    await fleet.close();
  }
}

function micro(seconds: number): string {
  return (seconds * 1e6).toFixed(1);
}

async function timed(fleet: RevocableFleet, count: number, work: () => Promise<void>): Promise<Round> {
  const [cpuBefore, startMs] = [fleet.cpuSeconds(), performance.now()];
  await work();
  const tookSeconds = (performance.now() - startMs) / 1_000;
  const cpuSecondsPerOperation = (fleet.cpuSeconds() - cpuBefore) / count;
  // The caller is part of what is measured.
  return { perSecond: count / tookSeconds, cpuSecondsPerOperation, generatorBusy: 0 };
}
