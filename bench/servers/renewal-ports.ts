/**
 * Renewals as enrol-server takes them: its rooms and routers over a durable PostgreSQL and the real signer; CMP on a plain
 * port, the device API on a TLS port. Message `{addUnits}` makes that many active units with a first certificate → the
 * path of a JSON file, UnitSeed[]; `cpu` → CPU seconds so far, by part; `check` → findings about everything made.
 * argv[2]: scratch directory.
 */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { wireCmp } from '../../src/apps/wire-cmp.js';
import { wireCore } from '../../src/apps/wire-core.js';
import { wireEnrol } from '../../src/apps/wire-enrol.js';
import { wireIssuance } from '../../src/apps/wire-issuance.js';
import type { ServicesKind } from '../../src/lifecycle/issuance/index.js';
import { startEmbeddedPostgres } from '../../src/platform/db/embedded-postgres.js';
import { removeHome } from '../../src/platform/db/embedded-postgres-place.js';
import { migrate } from '../../src/platform/db/migrate.js';
import { openPool } from '../../src/platform/db/pool.pg.js';
import { readSignerConfig } from '../../src/platform/hsm/signer-config.js';
import { createPlainListener } from '../../src/protocol/cmp/plain-listener.js';
import { createTlsListener } from '../../src/protocol/device/tls-listener.js';
import { watchHandshakes } from '../../src/protocol/device/tls-peer.js';
import type { HttpHandler } from '../../src/protocol/mount.js';
import { certificatePem, readCertificate } from '../../src/x509/certificate.js';
import { readSpki } from '../../src/x509/spki.js';
import { OPERATOR } from '../../test/support/issuance-rooms.js';
import { operational, startIssuanceWorld } from '../../test/support/issuance-world.js';
import { checkRenewals, type RenewalTally } from '../measure/check-renewals.js';
import { treeCpuSeconds } from '../measure/process-tree.js';
import { growFleet, settleTables } from './grow-fleet.js';

/** As enrol-server opens them. */
const CONNECTIONS_MAX = 20;
const UNITS_AT_ONCE = 256;
const DAY_SECONDS = 86_400;

export interface RenewalPortsReady {
  readonly cmpPort: number;
  readonly restPort: number;
  /** DER, base64: whose key protects CMP answers. */
  readonly raCertificate: string;
  readonly servicesRootPem: string;
  /** PEM: chain and key of the TLS port, for a limit that shows the same. */
  readonly identity: { readonly cert: string; readonly key: string };
  readonly databaseUrl: string;
  readonly token: { path: string; environment: Record<string, string>; tokenLabel: string; pinFile: string };
  readonly keyLabel: string;
}

/** A unit's current credential. */
export interface UnitSeed {
  readonly fqdn: string;
  /** DER, base64. */
  readonly certificate: string;
  /** PEM. */
  readonly key: string;
}

export type RenewalPortsOrder =
  | { addUnits: number }
  /** That many units in all, `stock` of them with keys and spread through the others → the path of the file with these. */
  | { grow: number; stock: number }
  /** First certificates for that many new units → CPU seconds each, by part. */
  | { issue: number }
  | 'cpu'
  /** → `{renewed, units}` of the record. */
  | 'slots'
  | { check: RenewalTally };

const [scratch = ''] = process.argv.slice(2);
const home = mkdtempSync(join(tmpdir(), 'fp-bench-pg-'));
const postgres = await startEmbeddedPostgres({ homeDir: home, logFile: join(home, 'log') });
await migrate(postgres.url);
const pool = openPool(postgres.url, { applicationName: 'bench', connectionsMax: CONNECTIONS_MAX });
const world = await startIssuanceWorld({
  database: { url: postgres.url, pool, drop: () => pool.end() },
  token: {
    configure: (config) => {
      config.leavesPerSecondMax = 1_000_000;
    },
  },
});
const core = wireCore(world.transactor);
const onInternal = (error: unknown): void => void process.stderr.write(`server: ${String(error)}\n`);
const wiring = {
  operator: OPERATOR,
  statusUrl: 'http://127.0.0.1:8080',
  alarm: onInternal,
  // The worker, which numbers the ledger's entries, does not run here: they pile up until the check numbers them.
  ledgerBacklogSeconds: async () => 0,
};
const issuance = wireIssuance(core, { ...wiring, signer: world.signer });
const rooms = wireEnrol(core, { issuance, nonceKey: randomBytes(32), preissueAllowed: false, alarm: onInternal });
const services = wireIssuance(core, { ...wiring, signer: world.token.connect('worker') });
const servicesChain = ['services-ca', 'services-root'].map((label) => world.issuer(label).certificateDer);

/** As the worker certifies a machine that was approved. */
async function machine(kind: ServicesKind, name: string): Promise<{ der: Buffer; key: KeyObject }> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { der } = await services.issue({
    purpose: 'services',
    servicesKind: kind,
    unitId: null,
    machineId: null,
    commonName: name,
    sanDns: kind === 'server' ? name : null,
    spki: readSpki(publicKey.export({ type: 'spki', format: 'der' })),
    lifeSeconds: 7 * DAY_SECONDS,
    revocationEpoch: 0,
    successor: null,
    actor: 'test:bench',
  });
  return { der, key: privateKey };
}

const ra = await machine('cmp-ra', 'enrol-server-cmp');
const { ski = Buffer.alloc(0), subjectDer } = readCertificate(ra.der);
const raCredential = {
  certificateDer: ra.der,
  chain: servicesChain,
  keyIdentifier: ski,
  subjectDer,
  sign: (data: Buffer) => sign('sha256', data, ra.key),
};
const rim = { trustedProxies: [], onInternal };
const cmp = wireCmp(core, rooms, {
  ...rim,
  ra: { current: () => raCredential },
  rootCrlDir: '.',
  // No model here may use secrets; renewals never ask.
  factory: { macSecret: async () => null, enrolBySecret: () => Promise.reject(new Error('no secret was given out')) },
});
const plain = createPlainListener({ onFault: onInternal }, cmp.handler);
const server = await machine('server', 'localhost');
const identity = {
  cert: [server.der, ...servicesChain.slice(0, 1)].map(certificatePem).join(''),
  key: server.key.export({ type: 'pkcs8', format: 'pem' }).toString(),
};
let handle: HttpHandler = () => undefined;
const tls = createTlsListener({ identity }, (request, response) => void handle(request, response));
handle = rooms.deviceRouter({ ...rim, peerOf: watchHandshakes(tls, () => core.clock.now()) });

function listen(listener: Server): Promise<number> {
  return new Promise((done) => {
    listener.listen(0, '127.0.0.1', () => done((listener.address() as AddressInfo).port));
  });
}

let files = 0;
let seeded = 0;
async function addUnits(count: number): Promise<string> {
  return written(await makeUnits(count));
}

function written(seeds: readonly UnitSeed[]): string {
  seeded += seeds.length;
  files += 1;
  const file = join(scratch, `units-${process.pid}-${files}.json`);
  writeFileSync(file, JSON.stringify(seeds));
  return file;
}

async function makeUnits(count: number): Promise<UnitSeed[]> {
  const seeds: UnitSeed[] = [];
  for (let left = count; left > 0; left -= UNITS_AT_ONCE) {
    const units = await world.addUnits(Math.min(left, UNITS_AT_ONCE), 'ACTIVE');
    const pairs = units.map(() => generateKeyPairSync('ec', { namedCurve: 'P-256' }));
    const outcomes = await issuance.issueMany(
      units.map((unit, index) => {
        const spki = readSpki(pairs[index]?.publicKey.export({ type: 'spki', format: 'der' }) ?? Buffer.alloc(0));
        return operational(unit, { spki });
      }),
    );
    for (const [index, outcome] of outcomes.entries()) {
      if (!outcome.ok) throw outcome.error;
      seeds.push({
        fqdn: units[index]?.fqdn ?? '',
        certificate: outcome.certificate.der.toString('base64'),
        key: pairs[index]?.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() ?? '',
      });
    }
  }
  return seeds;
}

const GROWN_IN_PARTS = 16;
async function grow(units: number, stock: number): Promise<string> {
  const seeds: UnitSeed[] = [];
  const part = Math.ceil((units - stock) / GROWN_IN_PARTS);
  for (let at = 0; at < GROWN_IN_PARTS; at += 1) {
    seeds.push(...(await makeUnits(Math.ceil(stock / GROWN_IN_PARTS))));
    const der = Buffer.from(seeds[0]?.certificate ?? '', 'base64');
    await growFleet(postgres.url, { from: at * part + 1, units: part, of: units, der });
  }
  await settleTables(postgres.url);
  return written(seeds);
}

async function issue(count: number): Promise<Record<string, number>> {
  const units = await world.addUnits(count);
  const requests = units.map((unit) => operational(unit));
  const before = cpuNow();
  for (let from = 0; from < count; from += UNITS_AT_ONCE) {
    for (const outcome of await issuance.issueMany(requests.slice(from, from + UNITS_AT_ONCE))) {
      if (!outcome.ok) throw outcome.error;
    }
  }
  const after = cpuNow();
  seeded += count;
  return Object.fromEntries(Object.entries(after).map(([part, now]) => [part, (now - (before[part] ?? 0)) / count]));
}

async function slots(): Promise<Record<string, number>> {
  const { rows } = await pool.query<Record<string, number>>(
    `SELECT count(*) FILTER (WHERE generation > 1 AND state = 'confirmed') AS renewed, count(DISTINCT unit_id) AS units
     FROM lineage_slot`,
  );
  return rows[0] ?? {};
}

function cpuNow(): Record<string, number> {
  const { user, system } = process.cpuUsage();
  return {
    enrol: (user + system) / 1e6,
    signer: treeCpuSeconds(world.token.signerProcess()?.pid ?? 0),
    database: treeCpuSeconds(postgres.pid),
  };
}

const obey = async (order: RenewalPortsOrder): Promise<void> => {
  if (order === 'cpu') process.send?.(cpuNow());
  else if (order === 'slots') process.send?.(await slots());
  else if ('addUnits' in order) process.send?.(await addUnits(order.addUnits));
  else if ('grow' in order) process.send?.(await grow(order.grow, order.stock));
  else if ('issue' in order) process.send?.(await issue(order.issue));
  else process.send?.(await checkRenewals(world, { ...order.check, seeded }));
};
process.on('message', (order: RenewalPortsOrder) => void obey(order));
let isEnding = false;
const end = async (): Promise<void> => {
  if (isEnding) return;
  isEnding = true;
  cmp.close();
  for (const listener of [plain, tls]) {
    listener.closeAllConnections();
    listener.close();
  }
  await Promise.all([issuance.close(), services.close(), rooms.refusals.close()]);
  await world.close();
  await postgres.stop();
  removeHome(home);
  process.exit(0);
};
process.on('SIGTERM', () => void end());
process.on('disconnect', () => void end());
const { module, tokenLabel, pinFile } = readSignerConfig(world.token.signerConfigPath);
process.send?.({
  cmpPort: await listen(plain),
  restPort: await listen(tls),
  raCertificate: ra.der.toString('base64'),
  servicesRootPem: world.token.entry('services-root').certificatePem,
  identity,
  databaseUrl: postgres.url,
  token: { ...module, tokenLabel, pinFile },
  keyLabel: 'device-ca-1',
} satisfies RenewalPortsReady);
