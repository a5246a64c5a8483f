import { type PinnedProcess, startPinned, WHOLE_MACHINE } from '../measure/pinned-process.js';
import { interleaved } from '../measure/rounds.js';
import type { BenchContext, Measurement, Round, Scenario } from '../scenario.js';
import type { SignerLoadReady } from '../servers/signer-load.js';

/** Leaf TBS through the signer, judged and journalled, against two bare processes at the same token key. */
export const scenario: Scenario = { name: 'sign-pool', unit: 'TBS/s', limit: 'raw-sign', run };

const LIMIT_PROCESSES = 2;

interface RawResult {
  readonly operations: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
}

async function run({ rounds, seconds, say }: BenchContext): Promise<Measurement> {
  const product = startPinned(new URL('../servers/signer-load.ts', import.meta.url), WHOLE_MACHINE);
  const limits: PinnedProcess[] = [];
  try {
    const { token, keyLabel } = await product.next<SignerLoadReady>();
    const settings = JSON.stringify({ ...token, keyLabel });
    for (let index = 0; index < LIMIT_PROCESSES; index += 1) {
      limits.push(startPinned(new URL('../limits/raw-sign.ts', import.meta.url), WHOLE_MACHINE, [settings]));
    }
    for (const limit of limits) await limit.next();
    const ofProduct = async (): Promise<Round> => {
      product.send({ seconds });
      return product.next<Round>();
    };
    await ofProduct();
    const measured = await interleaved(rounds, { product: ofProduct, limit: () => ofLimit(limits, seconds) }, say);
    product.send('check');
    return { ...measured, checks: await product.next<Measurement['checks']>() };
  } finally {
    await Promise.all([product, ...limits].map((process) => process.end()));
  }
}

async function ofLimit(limits: readonly PinnedProcess[], seconds: number): Promise<Round> {
  for (const limit of limits) limit.send({ seconds });
  const results = await Promise.all(limits.map((limit) => limit.next<RawResult>()));
  const operations = results.reduce((sum, one) => sum + one.operations, 0);
  return {
    perSecond: results.reduce((sum, one) => sum + one.operations / one.seconds, 0),
    cpuSecondsPerOperation: results.reduce((sum, one) => sum + one.cpuSeconds, 0) / operations,
    generatorBusy: 0, // each process asks itself
  };
}
