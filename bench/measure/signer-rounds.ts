import type { BenchContext, Measurement, Round } from '../scenario.js';
import type { SignerLoadReady } from '../servers/signer-load.js';
import { startPinned, WHOLE_MACHINE } from './pinned-process.js';
import { type RawSigners, startRawSigners } from './raw-signers.js';
import { interleaved } from './rounds.js';

/** The signer, kept full over its socket, and in turn with it bare processes at the same key of the same token. */
export async function signerAgainstRaw(
  { rounds, seconds, say }: BenchContext,
  options: { rawProcesses: number; network: boolean },
): Promise<Measurement> {
  const args = options.network ? ['network'] : [];
  const product = startPinned(new URL('../servers/signer-load.ts', import.meta.url), WHOLE_MACHINE, args);
  let raw: RawSigners | undefined;
  try {
    const limit = await startRawSigners(await product.next<SignerLoadReady>(), options.rawProcesses);
    raw = limit;
    const ofProduct = async (): Promise<Round> => {
      product.send({ seconds });
      return product.next<Round>();
    };
    await ofProduct();
    const measured = await interleaved(rounds, { product: ofProduct, limit: () => limit.round(seconds) }, say);
    product.send('check');
    return { ...measured, checks: await product.next<Measurement['checks']>() };
  } finally {
    await Promise.all([product.end(), raw?.end()]);
  }
}
