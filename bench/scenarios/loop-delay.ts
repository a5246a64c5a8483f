import { startPinned, WHOLE_MACHINE } from '../measure/pinned-process.js';
import { interleaved } from '../measure/rounds.js';
import type { BenchContext, Measurement, Round, Scenario } from '../scenario.js';
import type { SignerLoadReady, SignerRound } from '../servers/signer-load.js';

/**
 * How late event loops are while the signer signs as much as it can, against the same loops idle: 99th percentile of the
 * later of two, the signer's and its caller's. What the load adds is the difference of the two figures.
 */
export const scenario: Scenario = { name: 'loop-delay', unit: 'ms', better: 'lower', limit: 'idle', run };

/** The signer tells its loop's delay once a second, so a round holds two whole ones. */
const SECONDS_MIN = 3;

async function run({ rounds, seconds, quick, say }: BenchContext): Promise<Measurement> {
  const product = startPinned(new URL('../servers/signer-load.ts', import.meta.url), WHOLE_MACHINE);
  try {
    await product.next<SignerLoadReady>();
    const side = async (idle: boolean): Promise<Round> => {
      product.send({ seconds: quick ? seconds : Math.max(seconds, SECONDS_MIN), idle });
      const round = await product.next<SignerRound>();
      const { signer, caller } = round.loopDelayMs;
      const cpuSecondsPerOperation = round.signerBusy + round.generatorBusy; // an operation: a second of both loops' life
      say(`  ${idle ? 'idle' : 'load'}: signer ${signer.toFixed(2)} ms late, its caller ${caller.toFixed(2)} ms`);
      return { ...round, cpuSecondsPerOperation, figure: Math.max(signer, caller) };
    };
    await side(false);
    const sides = { product: () => side(false), limit: () => side(true) };
    const measured = await interleaved(rounds, sides, say);
    product.send('check');
    return { ...measured, checks: await product.next<Measurement['checks']>() };
  } finally {
    await product.end();
  }
}
