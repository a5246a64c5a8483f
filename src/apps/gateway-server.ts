/**
 * Authorise, and the revocation feed. Reachable by security gateways over mTLS; signs decisions and pages of the feed
 * with a key of its own process, nothing else; writes decisions, confirmations, evidence, sessions, acknowledgements of the
 * feed, and serials that chain to us without being in the record.
 */
import { createServer } from 'node:https';
import { makeSessionDesk, makeSnapshots } from '../lifecycle/admission/index.js';
import { sessionStore } from '../lifecycle/admission/session-store.pg.js';
import { snapshotStore } from '../lifecycle/admission/snapshot-store.pg.js';
import { listenOn } from '../platform/db/notifications.pg.js';
import { LEDGER_CHANNEL } from '../platform/ledger/sequencer.js';
import { listen } from '../platform/listen.js';
import { startFeedWatch } from '../protocol/gateway/feed-watch.js';
import { makeGatewayHandler } from '../protocol/gateway/gateway-handler.js';
import { runApp } from './app-main.js';
import { openProcessKey } from './process-key.js';
import { openServerIdentity } from './server-identity.js';
import { dnsNameOf, processKeyName } from './server-names.js';
import { openConfiguredGeo, wireAdmission } from './wire-admission.js';
import { certificateDer, wireCore } from './wire-core.js';

const IDENTITY_WAIT_MS = 60_000;
const CONNECTIONS_MAX = 2_000;

await runApp('gateway-server', async (app) => {
  const { transactor } = app.database();
  const core = wireCore(transactor);
  const { machines, clock, issuers, certificates } = core;
  const { log } = app;
  const certificateOf = certificateDer(core);
  const identity = await openServerIdentity(
    { machines, clock, log, certificateOf, issuers },
    {
      name: 'gateway-server',
      dnsName: dnsNameOf(app.config.publicUrls.gateway),
      tlsDir: app.paths.tls,
      waitMs: IDENTITY_WAIT_MS,
    },
  );
  const decisionKey = openProcessKey(
    { machines, clock, log, certificateOf },
    { kind: 'decision', name: processKeyName('decision') },
  );
  app.probes.addCheck('decision-key', async () =>
    decisionKey.isReady() ? undefined : 'the decision key is not certified yet',
  );

  const geo = await openConfiguredGeo(app.config, core, log);
  const feedWatch = startFeedWatch({
    newest: () => core.feed.newest(),
    onTrouble: (err) => log.warn({ err }, 'the feed cannot be read'),
  });
  const stopListening =
    app.config.databaseUrl === undefined
      ? async () => undefined
      : listenOn(app.config.databaseUrl, LEDGER_CHANNEL, feedWatch.notice, (err) =>
          log.warn({ err }, 'the ledger’s bell is away; the feed looks by itself'),
        );
  const handler = makeGatewayHandler({
    admission: wireAdmission(core, {
      geo,
      alarm: (what, facts) => log.error({ alarm: true, ...facts }, what),
      onTrouble: (err) => log.warn({ err }, 'nothing is decided: the record cannot be asked'),
    }),
    sessions: makeSessionDesk({ ...core, db: transactor, sessions: sessionStore }),
    snapshots: makeSnapshots({ db: transactor, clock, store: snapshotStore }),
    feed: core.feed,
    caOffice: core.caOffice,
    feedWatch,
    crlUrl: (label) => `${app.config.publicUrls.status}/crl/${label}.crl`,
    issuers,
    machines,
    certificates,
    canSign: () => decisionKey.isReady(),
    sign: (text, encoding) => decisionKey.sign(text, encoding),
    onInternal: (err, traceId) => log.error({ err, traceId }, 'request failed'),
  });
  const server = createServer(
    {
      ...identity.current(),
      requestCert: true,
      // Who may call is a row and an exact key, judged by the handler; a CA bundle would accept our other leaves too.
      rejectUnauthorized: false,
      minVersion: 'TLSv1.2',
      headersTimeout: 5_000,
      requestTimeout: 15_000,
      connectionsCheckingInterval: 1_000,
    },
    handler,
  );
  server.maxConnections = CONNECTIONS_MAX;
  identity.onRenewed(() => server.setSecureContext(identity.current()));
  const { host, port } = app.config.listen.gateway;
  const listening = await listen(server, { host, port }, 'listen.gateway.port');
  log.info({ host, port: listening.port }, 'gateway port listens');
  return {
    close: async (graceMs) => {
      identity.close();
      decisionKey.close();
      geo.close();
      // Whoever waits is answered now, with what there is.
      feedWatch.close();
      await stopListening();
      await listening.close(graceMs);
    },
  };
});
