/**
 * Everything that happens without anybody asking. Reachable by nobody; may ask the signer for CRLs, audit heads, Services
 * certificates of approved machines, OCSP signer certificates and pre-issued certificates; writes the ledger's numbers,
 * heads and anchors, CRLs, renewal tasks, and what reconciling, dormancy and detection decide.
 */

import { FemtoError } from '../platform/errors.js';
import { runApp } from './app-main.js';
import { openSigner } from './open-signer.js';
import { wireCore } from './wire-core.js';
import { startWorker } from './wire-worker.js';

const DATABASE_CONNECTIONS_MAX = 16;

await runApp('rotation-worker', async ({ config, paths, log, probes, database }) => {
  const { databaseUrl } = config;
  if (databaseUrl === undefined) {
    throw new FemtoError('BAD_REQUEST', 'The worker needs a database: set DATABASE_URL, or start it with npm start.');
  }
  const core = wireCore(database({ connectionsMax: DATABASE_CONNECTIONS_MAX }).transactor);
  const signer = openSigner(config, paths, 'worker');
  const worker = await startWorker({
    core,
    signer,
    config: { ...config, databaseUrl },
    paths,
    log,
    probes,
    // Pre-issue waits for attested keys (KEY-7); until then a demo may show it, and says so.
    preissueAllowed: config.mode === 'demo',
  });
  return {
    close: async (graceMs) => {
      await worker.close(graceMs);
      await signer.close();
    },
  };
});
