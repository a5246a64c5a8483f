/**
 * Status. Reachable by every relying party over plain HTTP: OCSP, CRLs, CA certificates, time. May ask the signer for OCSP
 * answers only; reads the database or a replica of it, and writes refusals and its own key request to the primary. Cached
 * answers and CRLs outlive all of these.
 */
import { Counter, Gauge } from 'prom-client';
import { makeIssuerDirectory } from '../lifecycle/registry/index.js';
import { issuerStore } from '../lifecycle/registry/issuer-store.pg.js';
import { type CrlHealth, OCSP_SIGNER_ALARM_DAYS } from '../lifecycle/status/index.js';
import { hierarchyPath, readHierarchy } from '../platform/hsm/hierarchy.js';
import { listen } from '../platform/listen.js';
import type { Logger } from '../platform/log.js';
import { makeRefusalCounter } from '../platform/refusals.js';
import { openRefusalStore } from '../platform/refusals.pg.js';
import type { OcspEvent } from '../protocol/ocsp/ocsp-http.js';
import { pemBlocks } from '../x509/pem.js';
import { type App, runApp } from './app-main.js';
import { openSigner } from './open-signer.js';
import { openProcessKey } from './process-key.js';
import { processKeyName } from './server-names.js';
import { createStatusListener } from './status-listener.js';
import { certificateDer, wireCore } from './wire-core.js';
import { openStatusService, type StatusService } from './wire-status.js';

const READING = { connectionsMax: 16 };
const HEALTH_EVERY_MS = 10_000;
const LAG_MS_MAX = 5_000;
const DAY_MS = 86_400_000;

// Not awaited: the constants below must exist before it starts.
void runApp('status-server', async (app) => {
  const { config, paths, log } = app;
  const { replicaUrl } = config.status;
  const replica = replicaUrl === undefined ? undefined : app.replica(replicaUrl, READING);
  const primary = app.database(READING);
  const core = wireCore(primary.transactor);
  const transactor = replica?.transactor ?? primary.transactor;
  const timeKey = openProcessKey(
    { machines: core.machines, clock: core.clock, log, certificateOf: certificateDer(core) },
    { kind: 'time', name: processKeyName('time') },
  );
  const signer = openSigner(config, paths, 'status');
  const refusals = makeRefusalCounter(openRefusalStore(primary.transactor), (err) =>
    log.warn({ err }, 'refusals are not written'),
  );
  const answers = new Counter({
    name: 'femtopki_ocsp_requests_total',
    help: 'OCSP requests by how they were dealt with.',
    labelNames: ['outcome'],
    registers: [app.probes.registry],
  });
  const counters = Object.fromEntries(EVENTS.map((event) => [event, answers.labels(event)])) as Record<
    OcspEvent,
    { inc(): void }
  >;
  const service = await openStatusService({
    transactor,
    ...(replica !== undefined && { primary: primary.transactor }),
    databaseUrl: config.databaseUrl ?? '',
    issuers: makeIssuerDirectory({ transactor, issuers: issuerStore, clock: core.clock }),
    signer,
    clock: core.clock,
    // The publisher’s CRLs, and the root CRLs that the ceremony left beside its certificates.
    crlDirectories: [paths.crl, paths.ca],
    ceremonyCertificates: () => ceremonyCertificates(config.dataDir),
    goodSeconds: config.status.ocspGoodSeconds,
    time: { clock: core.clock, sign: (text) => timeKey.sign(text) },
    onTrouble: seldom(log),
    onEvent: (event, request) => {
      counters[event].inc();
      if (event === 'cached' || event === 'worked') return;
      const address = request.socket.remoteAddress ?? 'unknown';
      refusals.count({
        address,
        code: 'BAD_REQUEST',
        at: core.clock.now(),
        sample: `${request.method} ${request.url}`,
      });
    },
  });
  watchHealth(app, service, () => core.clock.now());

  const proxies = new Set(config.trustedProxies);
  const server = createStatusListener((request, response) => service.handle(request, response), {
    exempt: (address) => proxies.has(address.replace(/^::ffff:/, '')),
  });
  const { host, port } = config.listen.status;
  const listening = await listen(server, { host, port }, 'listen.status.port');
  log.info({ host, port: listening.port }, 'status port listens');
  return {
    close: async (graceMs) => {
      timeKey.close();
      await listening.close(graceMs);
      await service.close();
      await refusals.close();
      await signer.close();
    },
  };
});

const EVENTS: readonly OcspEvent[] = ['cached', 'worked', 'bad-url', 'bad-type', 'too-large', 'bad-method'];

/** What the ceremony left on this host; another host has the database alone. */
function ceremonyCertificates(dataDir: string): { label: string; der: Buffer }[] {
  try {
    return readHierarchy(hierarchyPath(dataDir)).entries.flatMap(({ label, certificatePem }) =>
      pemBlocks(certificatePem).map(({ der }) => ({ label, der })),
    );
  } catch {
    return [];
  }
}

/** A database that is away fails every query; one line a second says it too. */
function seldom(log: Logger): (error: unknown) => void {
  let saidAtMs = 0;
  return (err) => {
    if (Date.now() - saidAtMs < 1_000) return;
    saidAtMs = Date.now();
    log.warn({ err }, 'status service works from what it has');
  };
}

/** CRLs and signers that run out are told on two ways: the log's alarm lines and the metrics (S6, S10). */
function watchHealth(app: App, service: StatusService, now: () => Date): void {
  const { probes, log } = app;
  const lifeLeft = new Gauge({
    name: 'femtopki_crl_life_left_ratio',
    help: 'What is left of a published CRL: 1 just published, 0 at nextUpdate. Page at 0.5.',
    labelNames: ['issuer'],
    registers: [probes.registry],
  });
  const troubles = new Gauge({
    name: 'femtopki_ocsp_signer_troubles',
    help: 'CAs without a valid OCSP signer, and signers that were refused.',
    registers: [probes.registry],
  });
  const saidAs = new Map<string, string>();
  const say = (subject: string, state: string, facts: object, sentence: string): void => {
    if (saidAs.get(subject) === state) return;
    saidAs.set(subject, state);
    if (state !== 'none') log.error({ alarm: true, ...facts }, sentence);
  };
  const look = (): void => {
    for (const crl of service.shelf.health(now())) {
      lifeLeft.set({ issuer: crl.label }, crl.lifeLeft);
      say(`crl ${crl.label}`, crl.alarm, crl, crlSentence(crl));
    }
    const found = [...service.directory.troubles(), ...endingSoon(service.directory.signersEndAt(), now())];
    troubles.set(found.length);
    say('ocsp', found.length === 0 ? 'none' : found.join(), { troubles: found }, 'an OCSP signer needs attention');
  };
  setInterval(look, HEALTH_EVERY_MS).unref();
  probes.addCheck('ocsp-signers', async () => service.directory.troubles()[0]);
  probes.addCheck('ledger-cursor', async () => {
    const lagMs = service.watch.lagMs(now().getTime());
    return lagMs !== undefined && lagMs < LAG_MS_MAX ? undefined : 'revocations are not being followed';
  });
}

function endingSoon(endsAt: Date | undefined, now: Date): string[] {
  if (endsAt === undefined || endsAt.getTime() - now.getTime() > OCSP_SIGNER_ALARM_DAYS * DAY_MS) return [];
  return [`An OCSP signer ends ${endsAt.toISOString()} and has no successor; look at the rotation worker.`];
}

function crlSentence({ label, alarm, nextUpdate, isCeremonial }: CrlHealth): string {
  const next = isCeremonial ? 'hold a ceremony: femtopki ca sign-crls' : 'look at the rotation worker';
  return `the CRL of ${label} is ${alarm}: it ends ${nextUpdate.toISOString()}; ${next}`;
}
