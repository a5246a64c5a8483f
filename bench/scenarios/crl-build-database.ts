import { crlRounds } from '../measure/crl-rounds.js';
import { SERVER_CORE, startPinned } from '../measure/pinned-process.js';
import type { Scenario } from '../scenario.js';

/**
 * A CRL of a million entries by a publisher that has nothing in memory: every page of the rows, in order of serial, the list,
 * the TBS, linted, signed by a key in memory, checked. Against a binary COPY OUT of the entries in the order they lie.
 */
export const scenario: Scenario = {
  name: 'crl-build-database',
  unit: 'CRLs/s',
  limit: 'copy-out',
  run: (context) =>
    crlRounds(context, 'database', {
      start: ({ databaseUrl }) =>
        startPinned(new URL('../limits/copy-out.ts', import.meta.url), SERVER_CORE, [
          databaseUrl,
          'revoked_certificate',
          'entry_der',
        ]),
      order: {},
    }),
};
