/**
 * The gateway port as gateway-server wires it, over a durable PostgreSQL with one database a fleet size, and a port for
 * each: every unit on a line and a prefix of its own, with a confirmed certificate on record and the traces of an hour's
 * asking. argv[2]: scratch directory; argv[3…]: fleet sizes. Says over IPC where it listens; message `{check}` of a fleet
 * → what its record says.
 */
import { execFileSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { wireAdmission } from '../../src/apps/wire-admission.js';
import { wireCore } from '../../src/apps/wire-core.js';
import { makeSessionDesk, makeSnapshots } from '../../src/lifecycle/admission/index.js';
import { sessionStore } from '../../src/lifecycle/admission/session-store.pg.js';
import { snapshotStore } from '../../src/lifecycle/admission/snapshot-store.pg.js';
import { startEmbeddedPostgres } from '../../src/platform/db/embedded-postgres.js';
import { removeHome } from '../../src/platform/db/embedded-postgres-place.js';
import { beatHeart } from '../../src/platform/db/heartbeat.pg.js';
import { migrate } from '../../src/platform/db/migrate.js';
import { openPool } from '../../src/platform/db/pool.pg.js';
import { transactorOf } from '../../src/platform/db/transaction.pg.js';
import { NO_GEO } from '../../src/platform/net/geo-databases.js';
import { startFeedWatch } from '../../src/protocol/gateway/feed-watch.js';
import { makeGatewayHandler } from '../../src/protocol/gateway/gateway-handler.js';
import { certificatePem } from '../../src/x509/certificate.js';
import { readSpki } from '../../src/x509/spki.js';
import { startIssuanceWorld } from '../../test/support/issuance-world.js';
import { servicesLeaf } from '../../test/support/services-leaf.js';
import { GENERATOR_CORE } from '../measure/pinned-process.js';
import { type FleetSeed, seedFleet } from './seed-fleet.js';

/** As gateway-server opens them. */
const CONNECTIONS_MAX = 10;

export interface GatewayPortReady {
  /** The gateway's own, and what the server shows. */
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
  readonly server: { readonly cert: string; readonly key: string };
  readonly fleets: readonly {
    readonly units: number;
    readonly port: number;
    readonly requestsFile: string;
    readonly databaseUrl: string;
  }[];
}

/** Answer to `{check}`: rows since the start, by verdict, and how many lack their reason. */
export type GatewayPortChecked = Readonly<Record<string, number>>;

const [scratch = '', ...sizes] = process.argv.slice(2);
const home = mkdtempSync(join(tmpdir(), 'fp-bench-pg-'));
let postgres = await startEmbeddedPostgres({ homeDir: home, logFile: join(home, 'log') });
const onInternal = (error: unknown): void => void process.stderr.write(`server: ${String(error)}\n`);
const identity = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const gateway = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const decision = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const pools: pg.Pool[] = [];
const servers: Server[] = [];
const beats: NodeJS.Timeout[] = [];
const fleets: GatewayPortReady['fleets'][number][] = [];
let tls: GatewayPortReady['tls'] | undefined;
let leaves: { server: string; decision: string } | undefined;
let firstWorld: Awaited<ReturnType<typeof startIssuanceWorld>> | undefined;
let template: FleetSeed['template'] | undefined;

const seeded: { units: number; url: string; requestsFile: string }[] = [];
for (const units of sizes.map(Number)) {
  const url = await databaseOf(`fleet_${units}`);
  await migrate(url);
  const pool = openPool(url, { applicationName: 'gateway-server', connectionsMax: CONNECTIONS_MAX });
  pools.push(pool);
  if (firstWorld === undefined) await firstOf(url, pool);
  else await copyTrust(pool);
  const asked = await seedFleet(url, { units, template: template as FleetSeed['template'] });
  const { spkiDer, spkiHash } = readSpki(createPublicKey(gateway.privateKey).export({ type: 'spki', format: 'der' }));
  await pool.query(
    `INSERT INTO machine (kind, name, state, spki_der, spki_hash, requested_by, created_at, approved_at)
     VALUES ('gateway', 'segw-1', 'approved', $1, $2, 'bench', now(), now())`,
    [spkiDer, spkiHash],
  );
  const requestsFile = join(scratch, `requests-${units}.json`);
  writeFileSync(requestsFile, JSON.stringify(asked.map(requestOf)));
  seeded.push({ units, url, requestsFile });
}
await firstWorld?.close();
for (const pool of pools.splice(0)) await pool.end();
// A shutdown writes all of it out, once: a fleet in service does not wait for its own loading to reach the disk.
await postgres.stop();
postgres = await startEmbeddedPostgres({ homeDir: home, logFile: join(home, 'log') });
// Its backends are not there yet and inherit it: gateway-server has the limit's core to itself, as the limit has.
execFileSync('taskset', ['-cp', String(GENERATOR_CORE), String(postgres.pid)]);
for (const { units, url, requestsFile } of seeded) {
  const pool = openPool(url, { applicationName: 'gateway-server', connectionsMax: CONNECTIONS_MAX });
  pools.push(pool);
  fleets.push({ units, port: await open(pool), requestsFile, databaseUrl: url });
}

/** The first database brings the token's CAs, and one certificate that issuance made: the pattern of all others. */
async function firstOf(url: string, pool: pg.Pool): Promise<void> {
  const world = await startIssuanceWorld({ database: { url, pool, drop: async () => undefined } });
  firstWorld = world;
  const unit = await world.addUnit('ACTIVE');
  const record = await world.firstCertificate(unit);
  template = { der: record.der, serial: record.serial, fqdn: unit.fqdn, realm: world.token.hierarchy.realm, record };
  const leaf = async (
    profile: 'services-server' | 'services-gateway' | 'services-decision',
    commonName: string,
    pair: typeof identity,
  ) => certificatePem(await servicesLeaf(world.token, { profile, commonName, publicKey: pair.publicKey }));
  leaves = {
    server: (await leaf('services-server', 'localhost', identity)) + world.token.entry('services-ca').certificatePem,
    decision: await leaf('services-decision', 'decision-1', decision),
  };
  tls = {
    ca: world.token.entry('services-root').certificatePem,
    cert: await leaf('services-gateway', 'segw-1.hanbit.example', gateway),
    key: pemOf(gateway),
  };
}

/** What the first has, in the same order: ids are the same. */
async function copyTrust(pool: pg.Pool): Promise<void> {
  for (const table of ['issuer', 'maker', 'batch']) {
    const { rows } = await (pools[0] as pg.Pool).query<{ row: string }>(
      `SELECT row_to_json(t)::text AS row FROM ${table} t ORDER BY id`,
    );
    for (const { row } of rows) {
      await pool.query(
        `INSERT INTO ${table} OVERRIDING SYSTEM VALUE SELECT * FROM json_populate_record(null::${table}, $1::json)`,
        [row],
      );
    }
  }
}

async function databaseOf(name: string): Promise<string> {
  const client = new pg.Client({ connectionString: postgres.url });
  await client.connect();
  await client.query(`CREATE DATABASE ${name}`);
  await client.end();
  return postgres.url.replace(/\/femtopki(?=\?|$)/, `/${name}`);
}

async function open(pool: pg.Pool): Promise<number> {
  const core = wireCore(transactorOf(pool));
  await core.transactor.run(beatHeart);
  beats.push(setInterval(() => void core.transactor.run(beatHeart).catch(onInternal), 1_000));
  const handler = makeGatewayHandler({
    admission: wireAdmission(core, { geo: NO_GEO, alarm: onInternal, onTrouble: onInternal }),
    sessions: makeSessionDesk({ ...core, db: core.transactor, sessions: sessionStore }),
    snapshots: makeSnapshots({ db: core.transactor, clock: core.clock, store: snapshotStore }),
    feed: core.feed,
    caOffice: core.caOffice,
    feedWatch: startFeedWatch({ newest: () => core.feed.newest(), onTrouble: onInternal }),
    crlUrl: (label) => `http://127.0.0.1:8080/crl/${label}.crl`,
    issuers: core.issuers,
    machines: core.machines,
    certificates: core.certificates,
    canSign: () => true,
    sign: (text, dsaEncoding = 'der') => ({
      signature: sign('sha256', text, { key: decision.privateKey, dsaEncoding }),
      certificatePem: leaves?.decision ?? '',
    }),
    onInternal,
  });
  const server = createServer(
    {
      cert: leaves?.server ?? '',
      key: pemOf(identity),
      requestCert: true,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.2',
    },
    handler,
  );
  servers.push(server);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return (server.address() as AddressInfo).port;
}

function pemOf(pair: typeof identity): string {
  return pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** As a gateway asks after IKE AUTH: each about its unit, from the unit's own line. */
function requestOf({ der, fqdn, address }: { der: Buffer; fqdn: string; address: string }): string {
  const body = Buffer.from(
    JSON.stringify({
      stage: 'ike',
      certificate: der.toString('base64'),
      identity: fqdn,
      address,
      keyProved: true,
      nonce: 'a5'.repeat(16),
    }),
  );
  const head = `POST /v1/authorise HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), body]).toString('base64');
}

const obey = async ({ check }: { check: number }): Promise<void> => {
  const pool = pools[fleets.findIndex(({ units }) => units === check)];
  const { rows } = await (pool as pg.Pool).query<{ verdict: string; n: number }>(
    `SELECT verdict, count(*)::int AS n FROM decision GROUP BY verdict`,
  );
  process.send?.(Object.fromEntries(rows.map(({ verdict, n }) => [verdict, n])) satisfies GatewayPortChecked);
};
process.on('message', (order: { check: number }) => void obey(order));
let isEnding = false;
const end = async (): Promise<void> => {
  if (isEnding) return;
  isEnding = true;
  for (const beat of beats) clearInterval(beat);
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  for (const pool of pools) await pool.end();
  await postgres.stop();
  removeHome(home);
  process.exit(0);
};
process.on('SIGTERM', () => void end());
process.on('disconnect', () => void end());
const server = { cert: leaves?.server ?? '', key: pemOf(identity) };
process.send?.({ tls: tls as GatewayPortReady['tls'], server, fleets } satisfies GatewayPortReady);
