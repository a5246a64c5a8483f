import { signerAgainstRaw } from '../measure/signer-rounds.js';
import type { Scenario } from '../scenario.js';

const LIMIT_PROCESSES = 2;

/** Leaf TBS through the signer, judged and journalled, against two bare processes at the same token key. */
export const scenario: Scenario = {
  name: 'sign-pool',
  unit: 'TBS/s',
  limit: 'raw-sign',
  run: (context) => signerAgainstRaw(context, { rawProcesses: LIMIT_PROCESSES, network: false }),
};
