import { runOcspBench } from '../measure/ocsp-bench.js';
import { GENERATOR_CORE } from '../measure/pinned-process.js';
import type { Scenario } from '../scenario.js';

/**
 * A nation's questions: ten million certificates of which 1 % are revoked, asked for by a Zipf law (exponent 0.99, as YCSB
 * has it), 5 % of serials that were never issued. What is measured is the status server: misses go to a
 * signer that holds its key in memory and has the generator's core, as the real one has a host of its own (rules 2.5); the
 * token has `ocsp-live`.
 */
export const scenario: Scenario = {
  name: 'ocsp-zipf',
  unit: 'answers/s',
  limit: 'bare-http',
  run: async (context) => {
    const { quick, say } = context;
    const shortShares: number[] = [];
    const measured = await runOcspBench(context, {
      port: {
        certificates: quick ? 5_000 : 10_000_000,
        revokedEvery: 100,
        livePerSecond: 1_000_000,
        signerCore: GENERATOR_CORE,
      },
      questions: { method: 'POST', zipf: 0.99, unknownShare: 0.05 },
      warmUpSecondsMax: quick ? 1 : 150,
      onRound: (before, after, shortShare) => {
        shortShares.push(shortShare);
        const asked = after.cached + after.worked - before.cached - before.worked;
        const hits = Math.round(((after.cached - before.cached) / asked) * 1_000) / 10;
        const { issued, rows, bytes } = after.index;
        const megabytes = (octets: number): string => `${Math.round(octets / 1_048_576)} MB`;
        say(
          `hit rate ${hits} %, ${after.answers} answers in ${megabytes(after.cacheBytes)}; index ${issued} issued, ${rows} revoked in ${megabytes(bytes)}`,
        );
      },
      samples: [
        { number: 1, says: /: good/ },
        { number: 100, says: /: revoked/ },
        { number: 2 ** 30 + 7, says: /: revoked(?:.|\n)*1970/ },
      ],
    });
    const what = 'no question was put off';
    return { ...measured, checks: [{ what, ok: shortShares.every((share) => share === 0) }, ...measured.checks] };
  },
};
