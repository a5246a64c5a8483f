import type { Round } from '../scenario.js';
import type { SignerLoadReady } from '../servers/signer-load.js';
import { type PinnedProcess, startPinned, WHOLE_MACHINE } from './pinned-process.js';

interface RawResult {
  readonly operations: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
}

/** So many bare processes at one key of one token, all at once. */
export interface RawSigners {
  round(seconds: number): Promise<Round>;
  end(): Promise<void>;
}

export async function startRawSigners({ token, keyLabel }: SignerLoadReady, count: number): Promise<RawSigners> {
  const settings = JSON.stringify({ ...token, keyLabel });
  const probe = new URL('../limits/raw-sign.ts', import.meta.url);
  const signers: PinnedProcess[] = [];
  const end = async (): Promise<void> => void (await Promise.all(signers.map((signer) => signer.end())));
  try {
    // One login after another: SoftHSM fails those that meet at the token's file.
    while (signers.length < count) {
      const signer = startPinned(probe, WHOLE_MACHINE, [settings]);
      signers.push(signer);
      await signer.next();
    }
  } catch (error) {
    await end();
    throw error;
  }
  return {
    round: async (seconds) => {
      for (const signer of signers) signer.send({ seconds });
      const results = await Promise.all(signers.map((signer) => signer.next<RawResult>()));
      const operations = results.reduce((sum, one) => sum + one.operations, 0);
      return {
        perSecond: results.reduce((sum, one) => sum + one.operations / one.seconds, 0),
        cpuSecondsPerOperation: results.reduce((sum, one) => sum + one.cpuSeconds, 0) / operations,
        generatorBusy: 0, // each process asks itself
      };
    },
    end,
  };
}
