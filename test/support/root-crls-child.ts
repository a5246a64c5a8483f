/** Runs a later ceremony in a process of its own, for the reason of ceremony-child.ts. Arguments: FILE DATA MODULE [MODE] [REVOKED CA]. */
import { rootCrlsWithTokens } from '../../src/apps/ceremony.js';

const [file = '', dataDir = '', modulePath = '', mode = 'demo', revoked] = process.argv.slice(2);
rootCrlsWithTokens(
  {
    file,
    dataDir,
    module: { path: modulePath, environment: {} },
    mode: mode === 'production' ? 'production' : 'demo',
    ...(revoked !== undefined && { revoke: { label: revoked, reason: 'cACompromise' } }),
  },
  () => undefined,
);
