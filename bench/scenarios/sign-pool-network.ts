import { signerAgainstRaw } from '../measure/signer-rounds.js';
import type { Scenario } from '../scenario.js';

/** Each has one signature on its way and waits for it: as many as the signer has token threads. */
const LIMIT_PROCESSES = 8;

/** The signer at a pair of network HSMs (1 ms an answer, 3,000/s), against bare processes at the same pair. */
export const scenario: Scenario = {
  name: 'sign-pool-network',
  unit: 'TBS/s',
  limit: 'raw-sign',
  run: (context) => signerAgainstRaw(context, { rawProcesses: LIMIT_PROCESSES, network: true }),
};
