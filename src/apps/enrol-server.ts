/**
 * Enrolment. Reachable by units, factory stations and EST clients over TLS; may ask the signer for bootstrap and
 * operational certificates; writes grants, lineages, certificates, units' states, refusals.
 */

import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { connectSigner } from '../platform/hsm/signer-client.js';
import { listen } from '../platform/listen.js';
import { createTlsListener, renewTlsIdentity } from '../protocol/device/tls-listener.js';
import { watchHandshakes } from '../protocol/device/tls-peer.js';
import { runApp } from './app-main.js';
import { openServerIdentity } from './server-identity.js';
import { dnsNameOf } from './server-names.js';
import { sharedKeyFile } from './shared-key-file.js';
import { certificateDer, wireCore } from './wire-core.js';
import { wireEnrol } from './wire-enrol.js';
import { wireFactory } from './wire-factory.js';
import { wireIssuance } from './wire-issuance.js';

const IDENTITY_WAIT_MS = 60_000;
const DATABASE_CONNECTIONS_MAX = 20;

await runApp('enrol-server', async (app) => {
  const { log, config, paths } = app;
  const core = wireCore(app.database({ connectionsMax: DATABASE_CONNECTIONS_MAX }).transactor);
  const alarm = (what: string, facts: Record<string, unknown>): void => log.error({ alarm: true, ...facts }, what);
  const signer = connectSigner({ runDir: paths.run, role: 'enrol' });
  const issuance = wireIssuance(core, {
    signer,
    operator: config.operator,
    statusUrl: config.publicUrls.status,
    alarm,
  });
  const rooms = wireEnrol(core, {
    issuance,
    nonceKey: sharedKeyFile(join(paths.secrets, 'nonce.key')),
    // Pre-issue waits for attested keys (KEY-7); until then a demo may show it, and says so.
    preissueAllowed: config.mode === 'demo',
    alarm,
  });
  const identity = await openServerIdentity(
    {
      machines: core.machines,
      clock: core.clock,
      log,
      certificateOf: certificateDer(core),
      issuerById: (id) => core.issuers.byId(id),
    },
    {
      name: 'enrol-server',
      dnsName: dnsNameOf(config.publicUrls.enrol),
      tlsDir: paths.tls,
      waitMs: IDENTITY_WAIT_MS,
    },
  );

  type Handler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;
  let handle: Handler = async () => undefined;
  const server = createTlsListener({ identity: identity.current() }, (request, response) => {
    handle(request, response).catch((err: unknown) => {
      log.error({ err }, 'request failed outside its router');
      response.destroy();
    });
  });
  const peerOf = watchHandshakes(server, () => core.clock.now());
  const rim = {
    peerOf,
    trustedProxies: config.trustedProxies,
    onInternal: (err: unknown, traceId: string) => log.error({ err, traceId }, 'request failed'),
  };
  const device = rooms.deviceRouter(rim);
  const factory = wireFactory(core, { ...rim, issuance, refusals: rooms.refusals }).listener;
  handle = async (request, response) =>
    request.url?.startsWith('/v1/factory/') ? factory(request, response) : device(request, response);
  identity.onRenewed(() => renewTlsIdentity(server, identity.current()));
  const { host, port } = config.listen.enrol;
  const listening = await listen(server, { host, port }, 'listen.enrol.port');
  log.info({ host, port: listening.port }, 'enrolment port listens');
  return {
    close: async (graceMs) => {
      identity.close();
      await listening.close(graceMs);
      await issuance.close();
      await rooms.refusals.close();
      await signer.close();
    },
  };
});
