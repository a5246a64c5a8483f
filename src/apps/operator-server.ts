/**
 * The operator API. Reachable by people and their tools, loopback unless TLS files are configured; signs nothing; writes
 * decisions: registry, grants, revocations, approvals. Reads through Prisma.
 */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { join } from 'node:path';
import { startLoop } from '../jobs/loop.js';
import { operatorServer } from '../operator/api/server.js';
import { openPrisma } from '../platform/db/client.prisma.js';
import { listen } from '../platform/listen.js';
import { runApp } from './app-main.js';
import { MAC_KEY_FILE, sharedKeyFile } from './shared-key-file.js';
import { openConfiguredGeo } from './wire-admission.js';
import { wireCore } from './wire-core.js';
import { wireOperator } from './wire-operator.js';

/** A step is bounded, so what is under way goes on at once; this is how soon a new one is seen. */
const CAMPAIGNS_LOOK_MS = 5_000;

await runApp('operator-server', async (app) => {
  const { transactor } = app.database();
  const prisma = openPrisma(app.config.databaseUrl ?? '');
  const macKey = sharedKeyFile(join(app.paths.secrets, MAC_KEY_FILE));
  const core = wireCore(transactor);
  const geo = await openConfiguredGeo(app.config, core, app.log);
  const deps = wireOperator(core, prisma, {
    macKey,
    geo,
    onFleetError: (err, orderId) => app.log.error({ err, orderId }, 'an order over many units did not go on'),
  });
  const { host, port, certificateFile, keyFile } = app.config.listen.operator;
  const hosts: string[] = [];
  const express = operatorServer(deps, {
    hosts,
    onInternal: (err, traceId) => app.log.error({ err, traceId }, 'request failed'),
  });
  const limits = { headersTimeout: 5_000, requestTimeout: 15_000, connectionsCheckingInterval: 1_000 };
  const server =
    certificateFile !== undefined && keyFile !== undefined
      ? createTlsServer(
          { cert: readFileSync(certificateFile), key: readFileSync(keyFile), minVersion: 'TLSv1.2', ...limits },
          express,
        )
      : createServer(limits, express);
  const listening = await listen(server, { host, port }, 'listen.operator.port');
  const publicHost = new URL(app.config.publicUrls.operator).host;
  hosts.push(publicHost, `${host}:${listening.port}`, `localhost:${listening.port}`);
  app.log.info({ host, port: listening.port }, 'operator API listens');
  // Whatever a crash left half done goes on.
  deps.fleetRunner.watch();
  const campaigns = startLoop({
    name: 'campaigns',
    everyMs: CAMPAIGNS_LOOK_MS,
    run: () => deps.campaigns.step(),
    onError: (loop, err) => app.log.error({ err, loop }, 'a campaign did not go on; femtopki campaign list says why'),
  });
  return {
    close: async (graceMs) => {
      await listening.close(graceMs);
      await campaigns.stop();
      await deps.fleetRunner.close();
      geo.close();
      await prisma.$disconnect();
    },
  };
});
