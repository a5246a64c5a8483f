import { type Composite, LEDGER_ROW, microseconds, startComposite } from '../measure/composite.js';
import { startPinned, WHOLE_MACHINE } from '../measure/pinned-process.js';
import { interleaved } from '../measure/rounds.js';
import type { BenchContext, Measurement, Round, Scenario } from '../scenario.js';
import type { AuditRound } from '../servers/audit.js';
import type { DurableReady } from '../servers/durable-world.js';

/**
 * Facts from their transaction to their place in the chain: appended by one process and numbered by another, durable, two
 * cores. The limit is two cores full of one row each, by COPY.
 */
export const scenario: Scenario = { name: 'audit', unit: 'entries/s', limit: 'copy-rows', run };

const CORES = 2;
const FIRST_ENTRIES_A_SECOND = 10_000;

async function run({ rounds, seconds, say }: BenchContext): Promise<Measurement> {
  const product = startPinned(new URL('../servers/audit.ts', import.meta.url), WHOLE_MACHINE);
  let composite: Composite | undefined;
  try {
    const { databaseUrl } = await product.next<DurableReady>();
    const row = { name: 'ledger row', file: 'copy-rows.ts', args: [databaseUrl, ...LEDGER_ROW] };
    const limit = await startComposite([row], WHOLE_MACHINE, CORES);
    composite = limit;
    let perSecond = FIRST_ENTRIES_A_SECOND;
    const ofProduct = async (): Promise<Round> => {
      product.send({ entries: Math.ceil(perSecond * seconds) });
      const round = await product.next<AuditRound>();
      perSecond = round.perSecond;
      say(microseconds('product', round.cpu));
      return round;
    };
    await ofProduct();
    const measured = await interleaved(rounds, { product: ofProduct, limit: () => limit.round(seconds) }, say);
    product.send('check');
    return { ...measured, checks: await product.next<Measurement['checks']>() };
  } finally {
    await Promise.all([product.end(), composite?.end()]);
  }
}
