/**
 * What a strongSwan gateway with `revocation = strict` makes of every kind of certificate, by OCSP and, in a gateway that
 * knows no OCSP, by CRL: the same table as the other verifiers have (test/interop/status-verifiers.test.ts).
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { certificatePem } from '../../src/x509/certificate.js';
import { pemBlock } from '../../src/x509/pem.js';
import { openStatusRooms, type StatusRooms } from '../support/status-rooms.js';
import { openStatusPort, type StatusPort } from '../support/status-service.js';
import { expectedOf, makeStatusCertificates, STATUS_KINDS, type StatusCertificates } from '../support/status-table.js';
import type { Said } from '../support/status-verifiers.js';
import { type StatusWorld, startStatusWorld, type WorldCertificate } from '../support/status-world.js';
import { GATEWAY_ADDRESS, type IkeLab, openIkeLab, UNIT_ADDRESS } from '../support/strongswan.js';

const NAMED_PORT = 8080;
const GATEWAY_ID = 'segw-1.hanbit.example';

let world: StatusWorld;
let rooms: StatusRooms;
let port: StatusPort;
let beats: NodeJS.Timeout;
let gatewayCertificate: WorldCertificate;
let certificates: StatusCertificates;
let basePem: string;
let rootPem: string;

beforeAll(async () => {
  world = await startStatusWorld({ baseUrl: `http://127.0.0.1:${NAMED_PORT}` });
  rooms = openStatusRooms(world);
  gatewayCertificate = await world.issue({ purpose: 'services', serverName: GATEWAY_ID });
  const urlOfDelta = (label: string) => `http://127.0.0.1:${NAMED_PORT}/crl/${label}.delta.crl`;
  const crls = rooms.publisher({ freshestCrlUrlOf: urlOfDelta });
  const parts = rooms.partsPublisher({ deltas: true, shards: 4 });
  certificates = await makeStatusCertificates(world, rooms);
  await crls.publishDue();
  await parts.publishDue();
  basePem = pemBlock('X509 CRL', readFileSync(join(rooms.crlDir, 'device-ca-1.crl')));
  await certificates.decideAfterBase();
  await crls.publishDue();
  await parts.publishDue();
  for (const root of [world.roots.access, world.roots.services])
    writeFileSync(join(rooms.crlDir, `${root.label}.crl`), world.rootCrl(root));
  rootPem = pemBlock('X509 CRL', readFileSync(join(rooms.crlDir, 'access-root.crl')));
  await world.beat();
  beats = setInterval(() => void world.beat(), 1_000);
  port = await openStatusPort(world, { dir: rooms.crlDir });
});
afterAll(async () => {
  clearInterval(beats);
  await port?.close();
  rooms?.remove();
  await world?.close();
});

/** What the gateway's log must say of each verdict; whoever is good is let in, and nobody else. */
const LOGGED: Readonly<Partial<Record<Said, RegExp>>> = {
  good: /certificate status is good/,
  revoked: /certificate was revoked on .*reason: key compromise/,
  held: /certificate was revoked on .*reason: certificate hold/,
  expired: /(subject certificate invalid|certificate .*expired)/,
  // It writes the first second of 1970 as dashes.
  'never issued': /certificate was revoked on --- .*reason: certificate hold/,
};

describe.each([
  ['by OCSP', 'ocsp', /ocsp response correctly signed by/, {}],
  ['by CRL alone', 'crl', /crl correctly signed by/, {}],
  ['by the base that it holds and the delta', 'crl', /crl correctly signed by/, { holdsBase: true }],
] as const)(
  'a gateway with revocation = strict, %s',
  (_how, how, source, { holdsBase = false }: { holdsBase?: boolean }) => {
    let lab: IkeLab;
    const dir = mkdtempSync(join(tmpdir(), 'fp-ike-'));
    beforeAll(async () => {
      lab = await openIkeLab(dir, port.port, { namedPort: NAMED_PORT, ocsp: how === 'ocsp' });
      await loadGateway(lab, holdsBase);
    }, 60_000);
    afterAll(async () => {
      await lab?.close();
      rmSync(dir, { recursive: true, force: true });
    }, 60_000);

    test.each(STATUS_KINDS)('a certificate that is %s', async (kind) => {
      await flush(lab);
      const said = expectedOf(kind, how, 'strongswan');
      const { isEstablished, gatewayLog } = await connectAs(lab, certificates.of[kind]);
      expect(gatewayLog).toMatch(LOGGED[said] as RegExp);
      expect(isEstablished).toBe(said === 'good');
      // Nothing is asked about what has ended anyway.
      if (said !== 'expired') expect(gatewayLog).toMatch(source);
    });

    test(`a status port that is gone lets ${holdsBase ? 'in whom the lists at hold let in' : 'nobody in'}`, async () => {
      await flush(lab);
      const { good, 'revoked before the base': revoked } = certificates.of;
      const crls = await closedPort();
      const { isEstablished, gatewayLog } = await connectAs(lab, good);
      const revokedIsIn = (await connectAs(lab, revoked)).isEstablished;
      await crls.open();
      // A delta that cannot be had changes nothing about the base.
      expect(gatewayLog).toMatch(holdsBase ? /certificate status is good/ : /certificate status is not available/);
      expect([isEstablished, revokedIsIn]).toEqual([holdsBase, false]);
      expect((await connectAs(lab, good)).isEstablished).toBe(true);
    }, 60_000);
  },
);

async function loadGateway(lab: IkeLab, holdsBase: boolean): Promise<void> {
  const { roots, servicesCa } = world;
  await lab.gateway.load(
    {
      anchors: { 'access-root.pem': certificatePem(roots.access.certificateDer) },
      certificates: {
        'gw.pem': certificatePem(gatewayCertificate.der),
        'services-ca.pem': certificatePem(servicesCa.certificateDer),
      },
      keys: { 'gw.key': keyPem(gatewayCertificate) },
      ...(holdsBase && { crls: { 'base.pem': basePem, 'root.pem': rootPem } }),
    },
    connection('femto', [
      `local_addrs = ${GATEWAY_ADDRESS}`,
      'unique = never',
      section('local', ['auth = pubkey', 'certs = gw.pem', `id = ${GATEWAY_ID}`]),
      section('remote', ['auth = pubkey', 'id = %any', 'cacerts = access-root.pem', 'revocation = strict']),
    ]),
  );
}

async function connectAs(lab: IkeLab, unit: WorldCertificate): Promise<{ isEstablished: boolean; gatewayLog: string }> {
  const { roots, deviceCa } = world;
  await lab.unit.load(
    {
      anchors: {
        'services-root.pem': certificatePem(roots.services.certificateDer),
        'access-root.pem': certificatePem(roots.access.certificateDer),
      },
      certificates: { 'own.pem': certificatePem(unit.der), 'ca.pem': certificatePem(deviceCa.certificateDer) },
      keys: { 'own.key': keyPem(unit) },
    },
    connection('segw', [
      `local_addrs = ${UNIT_ADDRESS}`,
      `remote_addrs = ${GATEWAY_ADDRESS}`,
      section('local', ['auth = pubkey', 'certs = own.pem']),
      section('remote', ['auth = pubkey', `id = ${GATEWAY_ID}`, 'cacerts = services-root.pem', 'revocation = relaxed']),
    ]),
  );
  lab.gateway.newLog();
  const { code, text } = await lab.unit.swanctl('--initiate', '--ike', 'segw', '--timeout', '30');
  const isEstablished = code === 0;
  if (isEstablished) await lab.unit.swanctl('--terminate', '--ike', 'segw');
  else if (!text.includes('AUTHENTICATION_FAILED')) throw new Error(`swanctl --initiate: ${text}`);
  return { isEstablished, gatewayLog: lab.gateway.newLog() };
}

async function flush(lab: IkeLab): Promise<void> {
  for (const type of ['x509_crl', 'ocsp_response']) await lab.gateway.swanctl('--flush-certs', '--type', type);
}

/** The port refuses connections until it is opened again, on the same number. */
async function closedPort(): Promise<{ open(): Promise<void> }> {
  const { port: number } = port;
  await port.close();
  return {
    open: async () => {
      port = await openStatusPort(world, { dir: rooms.crlDir, port: number });
    },
  };
}

function connection(name: string, lines: readonly string[]): string {
  const all = ['version = 2', 'proposals = aes128gcm16-prfsha256-ecp256', 'childless = force', 'send_cert = always'];
  return section('connections', [section(name, [...all, ...lines])]);
}

/** strongSwan wants one setting a line. */
function section(name: string, lines: readonly string[]): string {
  return [`${name} {`, ...lines, '}'].join('\n');
}

function keyPem({ key }: WorldCertificate): string {
  return pemBlock('PRIVATE KEY', key.privateKey.export({ format: 'der', type: 'pkcs8' }));
}
