/**
 * Factory enrolment as enrol-server takes it: its rooms and router on a TLS port, over a durable PostgreSQL and the real
 * signer. Message `{prepare}` makes that many units with a request each → EnrolStock; `cpu` → CPU seconds so far, by part;
 * `{check}` → findings about that many certificates. argv[2]: scratch directory.
 */
import { generateKeyPairSync, type KeyObject, randomBytes, sign as signBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { wireCore } from '../../src/apps/wire-core.js';
import { wireFactory } from '../../src/apps/wire-factory.js';
import { wireIssuance } from '../../src/apps/wire-issuance.js';
import type { ServicesKind } from '../../src/lifecycle/issuance/index.js';
import { makeRefusalCounter } from '../../src/platform/refusals.js';
import { openRefusalStore } from '../../src/platform/refusals.pg.js';
import { createTlsListener } from '../../src/protocol/device/tls-listener.js';
import { watchHandshakes } from '../../src/protocol/device/tls-peer.js';
import type { HttpHandler } from '../../src/protocol/mount.js';
import { assembleCsr, certificationRequestInfo } from '../../src/x509/build-csr.js';
import { certificatePem } from '../../src/x509/certificate.js';
import { pemBlock } from '../../src/x509/pem.js';
import { readSpki } from '../../src/x509/spki.js';
import { OPERATOR } from '../../test/support/issuance-rooms.js';
import { httpRequest } from '../load/http-line.js';
import { checkIssued } from '../measure/check-bulk.js';
import { type DurableReady, startDurableWorld } from './durable-world.js';

/** As enrol-server opens them. */
const CONNECTIONS_MAX = 20;
const UNITS_AT_ONCE = 256;
const DAY_SECONDS = 86_400;

export interface EnrolReady extends DurableReady {
  readonly port: number;
  /** PEM: of a station. */
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
}

/** JSON files of whole HTTP requests, base64, one for each unit: for us, and for cfssl, with the same CSR. */
export interface EnrolStock {
  readonly own: string;
  readonly cfssl: string;
}

export type EnrolOrder = { prepare: number } | 'cpu' | { check: number };

const [scratch = ''] = process.argv.slice(2);
const { world, ready, cpuNow, endWith } = await startDurableWorld(CONNECTIONS_MAX);
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
const services = wireIssuance(core, { ...wiring, signer: world.token.connect('worker') });
const refusals = makeRefusalCounter(openRefusalStore(world.transactor), onInternal);

async function machine(servicesKind: ServicesKind, commonName: string): Promise<{ pem: string; key: KeyObject }> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = readSpki(publicKey.export({ type: 'spki', format: 'der' }));
  const { der } = await services.issue({
    purpose: 'services',
    servicesKind,
    unitId: null,
    machineId: null,
    commonName,
    sanDns: servicesKind === 'server' ? commonName : null,
    spki,
    lifeSeconds: 7 * DAY_SECONDS,
    revocationEpoch: 0,
    successor: null,
    actor: 'test:bench',
  });
  if (servicesKind === 'station') await admitStation(commonName, spki.spkiDer, spki.spkiHash);
  return { pem: certificatePem(der) + world.token.entry('services-ca').certificatePem, key: privateKey };
}

async function admitStation(name: string, spkiDer: Buffer, spkiHash: Buffer): Promise<void> {
  await world.db.pool.query(
    `INSERT INTO machine (kind, name, maker_id, state, spki_der, spki_hash, requested_by, created_at)
     VALUES ('station', $1, 1, 'approved', $2, $3, 'test:bench', now())`,
    [name, spkiDer, spkiHash],
  );
  await world.db.pool.query(
    `INSERT INTO factory_credential (maker_id, batch_id, name, site, kind, spki_hash, cidrs, quota, not_before, expires_at, created_by)
     VALUES (1, 1, 'c-1', 'here', 'mtls', $1, '{127.0.0.0/8}', 1000000, now() - interval '1 hour', now() + interval '1 day', 'test:bench')`,
    [spkiHash],
  );
}

const station = await machine('station', 'station-1');
const server = await machine('server', 'localhost');
const pemOf = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();
let handle: HttpHandler = () => undefined;
const identity = { cert: server.pem, key: pemOf(server.key) };
const listener = createTlsListener({ identity }, (request, response) => void handle(request, response));
const peerOf = watchHandshakes(listener, () => core.clock.now());
const rim = { trustedProxies: [], onInternal, peerOf };
handle = wireFactory(core, { issuance, macKey: randomBytes(32), refusals, ...rim }).listener;

let files = 0;
async function prepare(count: number): Promise<EnrolStock> {
  const own: string[] = [];
  const cfssl: string[] = [];
  for (let left = count; left > 0; left -= UNITS_AT_ONCE) {
    for (const { serialNumber } of await world.addUnits(Math.min(left, UNITS_AT_ONCE), 'MANIFESTED')) {
      const csr = requestOf();
      own.push(post('/v1/factory/enrol', { serialNumber, csr: csr.toString('base64') }));
      const request = pemBlock('CERTIFICATE REQUEST', csr);
      const fqdn = `${serialNumber.toLowerCase()}.${world.token.hierarchy.realm}`;
      cfssl.push(post('/api/v1/cfssl/sign', { certificate_request: request, hosts: [fqdn] }));
    }
  }
  files += 1;
  const stock = { own: join(scratch, `own-${files}.json`), cfssl: join(scratch, `cfssl-${files}.json`) };
  writeFileSync(stock.own, JSON.stringify(own));
  writeFileSync(stock.cfssl, JSON.stringify(cfssl));
  return stock;
}

function post(path: string, body: object): string {
  const headers = { 'content-type': 'application/json' };
  return httpRequest(`POST ${path}`, headers, Buffer.from(JSON.stringify(body))).toString('base64');
}

function requestOf(): Buffer {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const info = certificationRequestInfo({
    commonName: null,
    spkiDer: publicKey.export({ type: 'spki', format: 'der' }),
  });
  return assembleCsr(info, 'ecdsa-with-SHA256', signBytes('sha256', info, privateKey));
}

const obey = async (order: EnrolOrder): Promise<unknown> => {
  if (order === 'cpu') return cpuNow();
  if ('prepare' in order) return prepare(order.prepare);
  return checkIssued(world, order.check, 'bootstrap');
};
process.on('message', (order: EnrolOrder) => void obey(order).then((answer) => process.send?.(answer)));
endWith(async () => {
  listener.closeAllConnections();
  listener.close();
  await Promise.all([issuance.close(), services.close(), refusals.close()]);
});
await new Promise<void>((done) => listener.listen(0, '127.0.0.1', done));
process.send?.({
  ...ready,
  port: (listener.address() as AddressInfo).port,
  tls: { ca: world.token.entry('services-root').certificatePem, cert: station.pem, key: pemOf(station.key) },
} satisfies EnrolReady);
