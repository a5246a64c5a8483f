import { runOcspBench } from '../measure/ocsp-bench.js';
import type { Scenario } from '../scenario.js';

/** OCSP answers from memory by POST, as gateways ask: 1,000 certificates, against bare node:http that reads the body and writes the same bytes. */
export const scenario: Scenario = {
  name: 'ocsp-post-cached',
  unit: 'answers/s',
  limit: 'bare-http',
  run: async (context) => {
    let signed = 0;
    const measured = await runOcspBench(context, {
      port: { certificates: 1_000 },
      questions: { method: 'POST' },
      warmUpSecondsMax: 60,
      onRound: (_before, after) => {
        signed += after.signed;
      },
      samples: [{ number: 1, says: /: good/ }],
    });
    const what = 'nothing was signed while measuring';
    return { ...measured, checks: [{ what, ok: signed === 0 }, ...measured.checks] };
  },
};
