import { crlRounds } from '../measure/crl-rounds.js';
import { SERVER_CORE, startPinned } from '../measure/pinned-process.js';
import type { Scenario } from '../scenario.js';

/**
 * The next CRL of a CA with a million revoked certificates of which a hundredth has changed: changes taken into the list in
 * memory, TBS written, linted, compared with the CRL before, signed by a key in memory, checked. Against one copy, one
 * SHA-256 and one signature of as many bytes.
 */
export const scenario: Scenario = {
  name: 'crl-build-memory',
  unit: 'CRLs/s',
  limit: 'hash-copy-sign',
  run: (context) =>
    crlRounds(context, 'memory', {
      start: ({ bytes }) =>
        startPinned(new URL('../limits/hash-copy-sign.ts', import.meta.url), SERVER_CORE, [String(bytes)]),
      order: { operations: 1 },
    }),
};
