/**
 * The gateway port on a real token and database, with a sequencer in the test's hand and gateways that are `curl` with a
 * certificate of the Services CA.
 */
import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { wireAdmission } from '../../src/apps/wire-admission.js';
import { makeSessionDesk, makeSnapshots } from '../../src/lifecycle/admission/index.js';
import { sessionStore } from '../../src/lifecycle/admission/session-store.pg.js';
import { snapshotStore } from '../../src/lifecycle/admission/snapshot-store.pg.js';
import { beatHeart } from '../../src/platform/db/heartbeat.pg.js';
import { makeLeases } from '../../src/platform/db/lease.pg.js';
import { listenOn } from '../../src/platform/db/notifications.pg.js';
import { LEDGER_CHANNEL, SEQUENCER_LEASE } from '../../src/platform/ledger/sequencer.js';
import { makeSequencer } from '../../src/platform/ledger/sequencer.pg.js';
import { type GeoLookup, NO_GEO } from '../../src/platform/net/geo-databases.js';
import { startFeedWatch } from '../../src/protocol/gateway/feed-watch.js';
import { makeGatewayHandler } from '../../src/protocol/gateway/gateway-handler.js';
import { certificatePem } from '../../src/x509/certificate.js';
import { readSpki } from '../../src/x509/spki.js';
import { type CurlCredential, curlUnit } from './curl-unit.js';
import { type DeviceWorld, startDeviceWorld } from './device-world.js';
import { servicesLeaf } from './services-leaf.js';

export interface GatewayWorld extends DeviceWorld {
  readonly gatewayPort: number;
  readonly client: ReturnType<typeof curlUnit>;
  /** PEM of the certificate that pages and decisions are signed under. */
  readonly decisionPem: string;
  /** What `onInternal` was told. */
  readonly internal: unknown[];
  addGateway(name: string): Promise<CurlCredential & { readonly id: number; readonly name: string }>;
  /** Numbers what is committed, as the rotation worker does five times a second. */
  sequence(): Promise<void>;
  /** What authorise alarmed for. */
  readonly gatewayAlarms: { what: string; facts: Readonly<Record<string, unknown>> }[];
  /** The primary's pulse stops, as when it is cut off. */
  stopHeart(): void;
  /** Ends the gateway port and starts it anew, as a restart of its process does; without `hears` deaf to NOTIFY. */
  restart(options?: { hears: boolean }): Promise<void>;
}

export async function startGatewayWorld(options: { geo?: GeoLookup } = {}): Promise<GatewayWorld> {
  const world = await startDeviceWorld();
  const { core, db, dir, token } = world;
  const decision = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const decisionDer = await servicesLeaf(token, {
    profile: 'services-decision',
    commonName: 'decision-1',
    publicKey: decision.publicKey,
  });
  const internal: unknown[] = [];
  const alarms: GatewayWorld['gatewayAlarms'] = [];
  const admission = wireAdmission(core, {
    geo: options.geo ?? NO_GEO,
    alarm: (what, facts) => alarms.push({ what, facts }),
    onTrouble: (error) => internal.push(error),
  });
  // The rotation worker does this once a second: without it authorise answers nothing (rules 5.3).
  const beat = (): Promise<unknown> => core.transactor.run(beatHeart);
  await beat();
  let beats: NodeJS.Timeout | undefined = setInterval(() => void beat().catch(() => undefined), 1_000);
  const open = async (
    port: number,
    { hears } = { hears: true },
  ): Promise<{ server: Server; close: () => Promise<void> }> => {
    const feedWatch = startFeedWatch({ newest: () => core.feed.newest(), onTrouble: (error) => internal.push(error) });
    const stop = hears
      ? listenOn(db.url, LEDGER_CHANNEL, feedWatch.notice, (error) => internal.push(error))
      : async () => undefined;
    const handler = makeGatewayHandler({
      admission,
      sessions: makeSessionDesk({ ...core, db: core.transactor, sessions: sessionStore }),
      snapshots: makeSnapshots({ db: core.transactor, clock: core.clock, store: snapshotStore }),
      feed: core.feed,
      caOffice: core.caOffice,
      feedWatch,
      crlUrl: (label) => `http://127.0.0.1:8080/crl/${label}.crl`,
      issuers: core.issuers,
      machines: core.machines,
      certificates: core.certificates,
      canSign: () => true,
      sign: (text, dsaEncoding = 'der') => ({
        signature: sign('sha256', text, { key: decision.privateKey, dsaEncoding }),
        certificatePem: certificatePem(decisionDer),
      }),
      onInternal: (error) => internal.push(error),
    });
    const server = createServer({ ...world.identity, requestCert: true, rejectUnauthorized: false }, handler);
    await new Promise<void>((done) => server.listen(port, '127.0.0.1', done));
    return {
      server,
      close: async () => {
        feedWatch.close();
        await stop();
        const closed = new Promise((done) => server.close(done));
        server.closeIdleConnections();
        await closed;
      },
    };
  };
  let running = await open(0);
  const { port } = running.server.address() as AddressInfo;
  const leases = makeLeases(core.transactor);
  const sequencer = makeSequencer({ transactor: core.transactor, leases });
  const leafOf = (publicKey: KeyObject, commonName: string): Promise<Buffer> =>
    servicesLeaf(token, { profile: 'services-gateway', commonName, publicKey });

  return {
    ...world,
    gatewayPort: port,
    client: curlUnit(dir, port),
    decisionPem: certificatePem(decisionDer),
    internal,
    addGateway: async (name) => {
      const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const der = await leafOf(publicKey, `${name}.hanbit.example`);
      const { spkiDer, spkiHash } = readSpki(createPublicKey(privateKey).export({ type: 'spki', format: 'der' }));
      const { rows } = await db.pool.query<{ id: number }>(
        `INSERT INTO machine (kind, name, state, spki_der, spki_hash, requested_by, created_at, approved_at)
         VALUES ('gateway', $1, 'approved', $2, $3, 'test', now(), now()) RETURNING id`,
        [name, spkiDer, spkiHash],
      );
      const pemFile = join(dir, `${name}.pem`);
      const keyFile = join(dir, `${name}.key`);
      writeFileSync(pemFile, certificatePem(der));
      writeFileSync(keyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
      return { id: rows[0]?.id ?? 0, name, pemFile, keyFile };
    },
    sequence: async () => {
      const lease = await leases.acquire(SEQUENCER_LEASE, 'test', 60_000);
      if (!lease) throw new Error('the sequencer’s lease is held by another');
      while ((await sequencer.sequenceOnce(lease)).taken > 0);
    },
    gatewayAlarms: alarms,
    stopHeart: () => {
      clearInterval(beats);
      beats = undefined;
    },
    restart: async (options) => {
      await running.close();
      running = await open(port, options);
    },
    close: async () => {
      clearInterval(beats);
      await running.close();
      await world.close();
    },
  };
}
