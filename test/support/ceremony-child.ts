/**
 * Runs the demo ceremony in a process of its own: Jest gives tests a copy of the environment, so SOFTHSM2_CONF set there
 * would never reach the PKCS#11 module. Usage: node --import bin/ts-loader.mjs ceremony-child.ts FILE DATA MODULE STATUS_URL [MODE]
 */
import { ceremonyWithTokens } from '../../src/apps/ceremony.js';

const [file = '', dataDir = '', modulePath = '', status = '', mode = 'demo'] = process.argv.slice(2);
ceremonyWithTokens(
  {
    file,
    dataDir,
    module: { path: modulePath, environment: {} },
    mode: mode === 'production' ? 'production' : 'demo',
    baseUrls: { status },
  },
  () => undefined,
);
