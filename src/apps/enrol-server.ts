/**
 * Enrolment. Reachable by units, factory stations, EST and CMP clients over TLS, and by CMP clients over plain HTTP; may
 * ask the signer for bootstrap and operational certificates; writes grants, lineages, certificates, units' states,
 * refusals, CMP transactions.
 */

import { join } from 'node:path';
import { shardsInCertificates } from '../platform/config/config.js';
import { listen } from '../platform/listen.js';
import { isInPrefixes } from '../platform/net/ip-address.js';
import { CMP_PATH, createPlainListener } from '../protocol/cmp/plain-listener.js';
import { createTlsListener, renewTlsIdentity } from '../protocol/device/tls-listener.js';
import { watchHandshakes } from '../protocol/device/tls-peer.js';
import { EST_PATH } from '../protocol/est/est-path.js';
import { mountPaths } from '../protocol/mount.js';
import { watchForwarding } from '../protocol/rest/spoofed-forwarding.js';
import { runApp } from './app-main.js';
import { openSigner } from './open-signer.js';
import { openRaIdentity } from './ra-identity.js';
import { openServerIdentity } from './server-identity.js';
import { dnsNameOf } from './server-names.js';
import { MAC_KEY_FILE, sharedKeyFile } from './shared-key-file.js';
import { openConfiguredGeo, wireNetworkGate } from './wire-admission.js';
import { wireCmp } from './wire-cmp.js';
import { certificateDer, wireCore } from './wire-core.js';
import { wireEnrol } from './wire-enrol.js';
import { wireEst } from './wire-est.js';
import { wireFactory } from './wire-factory.js';
import { wireIssuance } from './wire-issuance.js';
import { stormOf } from './wire-storm.js';

const IDENTITY_WAIT_MS = 60_000;
const DATABASE_CONNECTIONS_MAX = 20;

await runApp('enrol-server', async (app) => {
  const { log, config, paths } = app;
  const core = wireCore(app.database({ connectionsMax: DATABASE_CONNECTIONS_MAX }).transactor);
  const alarm = (what: string, facts: Record<string, unknown>): void => log.error({ alarm: true, ...facts }, what);
  const signer = openSigner(config, paths, 'enrol');
  const issuance = wireIssuance(core, {
    signer,
    operator: config.operator,
    statusUrl: config.publicUrls.status,
    crlShards: shardsInCertificates(config),
    renewal: config.renewal,
    alarm,
  });
  const geo = await openConfiguredGeo(config, core, log);
  const network = wireNetworkGate(core, geo);
  const rooms = wireEnrol(core, {
    issuance,
    nonceKey: sharedKeyFile(join(paths.secrets, 'nonce.key')),
    // Pre-issue waits for attested keys (KEY-7); until then a demo may show it, and says so.
    preissueAllowed: config.mode === 'demo',
    storm: stormOf(config.renewal),
    network,
    alarm,
  });
  const identities = { ...core, log, certificateOf: certificateDer(core) };
  const ra = openRaIdentity(identities, { tlsDir: paths.tls });
  const identity = await openServerIdentity(identities, {
    name: 'enrol-server',
    dnsName: dnsNameOf(config.publicUrls.enrol),
    tlsDir: paths.tls,
    waitMs: IDENTITY_WAIT_MS,
  });

  let handle: ReturnType<typeof mountPaths> = async () => undefined;
  const onFault = (err: unknown): void => log.error({ err }, 'request failed outside its router');
  const watchSpoofing = watchForwarding({ trustedProxies: config.trustedProxies, clock: core.clock }, (spoofed) =>
    log.warn(spoofed, 'a caller that is no listed proxy sent a forwarded address; it is ignored'),
  );
  const server = createTlsListener({ identity: identity.current() }, (request, response) => {
    watchSpoofing(request);
    handle(request, response).catch((err: unknown) => {
      onFault(err);
      response.destroy();
    });
  });
  identity.onRenewed(() => renewTlsIdentity(server, identity.current()));
  const rim = {
    peerOf: watchHandshakes(server, () => core.clock.now()),
    trustedProxies: config.trustedProxies,
    onInternal: (err: unknown, traceId: string) => log.error({ err, traceId }, 'request failed'),
  };
  const factory = wireFactory(core, {
    ...rim,
    issuance,
    macKey: sharedKeyFile(join(paths.secrets, MAC_KEY_FILE)),
    refusals: rooms.refusals,
    network,
  });
  const cmp = wireCmp(core, rooms, { ...rim, ra, factory: factory.factory, rootCrlDir: paths.ca });
  handle = mountPaths(
    {
      '/v1/factory': factory.listener,
      [EST_PATH]: wireEst(core, rooms, rim),
      [CMP_PATH]: cmp.handler,
    },
    rooms.deviceRouter(rim),
  );
  const plainServer = createPlainListener(
    { onFault, exempt: (address) => isInPrefixes(address, config.trustedProxies) },
    (request, response) => {
      watchSpoofing(request);
      return cmp.handler(request, response);
    },
  );

  const listening = await listen(server, config.listen.enrol, 'listen.enrol.port');
  log.info({ host: config.listen.enrol.host, port: listening.port }, 'enrolment port listens');
  const plain = await listen(plainServer, config.listen.cmp, 'listen.cmp.port');
  log.info({ host: config.listen.cmp.host, port: plain.port }, 'plain CMP port listens');
  return {
    close: async (graceMs) => {
      identity.close();
      ra.close();
      cmp.close();
      rooms.storm?.close();
      geo.close();
      await Promise.all([listening.close(graceMs), plain.close(graceMs)]);
      await issuance.close();
      await rooms.refusals.close();
      await signer.close();
    },
  };
});
