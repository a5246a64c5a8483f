/**
 * What a strongSwan gateway with `revocation = strict` makes of every kind of certificate, by OCSP and, in a gateway that
 * knows no OCSP, by CRL: the same table as the other verifiers have (test/interop/status-verifiers.test.ts).
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { certificatePem } from '../../src/x509/certificate.js';
import { pemBlock } from '../../src/x509/pem.js';
import { openStatusRooms, type StatusRooms } from '../support/status-rooms.js';
import { openStatusPort, type StatusPort } from '../support/status-service.js';
import { type StatusWorld, startStatusWorld, type WorldCertificate } from '../support/status-world.js';
import { GATEWAY_ADDRESS, type IkeLab, openIkeLab, UNIT_ADDRESS } from '../support/strongswan.js';

const NAMED_PORT = 8080;
const GATEWAY_ID = 'segw-1.hanbit.example';
const HOUR_MS = 3_600_000;
const hoursAgo = (hours: number) => new Date(Date.now() - hours * HOUR_MS);
const kim = { actor: 'person:kim', personId: null, reason: 'keyCompromise', note: 'stolen' } as const;

let world: StatusWorld;
let rooms: StatusRooms;
let port: StatusPort;
let beats: NodeJS.Timeout;
let gatewayCertificate: WorldCertificate;
const units = new Map<string, WorldCertificate>();

beforeAll(async () => {
  world = await startStatusWorld({ baseUrl: `http://127.0.0.1:${NAMED_PORT}` });
  rooms = openStatusRooms(world);
  gatewayCertificate = await world.issue({ purpose: 'services', serverName: GATEWAY_ID });
  await makeUnits();
  await rooms.publisher().publishDue();
  for (const root of [world.roots.access, world.roots.services])
    writeFileSync(join(rooms.crlDir, `${root.label}.crl`), world.rootCrl(root));
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

interface Verdict {
  readonly isLetIn: boolean;
  readonly log: RegExp;
}

const REVOKED = /certificate was revoked on .*reason: key compromise/;
const HELD = /certificate was revoked on .*reason: certificate hold/;
const OVER = /(subject certificate invalid|certificate .*expired)/;

describe.each<[string, boolean, RegExp, Readonly<Record<string, Verdict>>]>([
  [
    'by OCSP',
    true,
    /ocsp response correctly signed by/,
    {
      good: { isLetIn: true, log: /certificate status is good/ },
      revoked: { isLetIn: false, log: REVOKED },
      held: { isLetIn: false, log: HELD },
      released: { isLetIn: true, log: /certificate status is good/ },
      expired: { isLetIn: false, log: OVER },
      // It writes the first second of 1970 as dashes.
      'never issued': { isLetIn: false, log: /certificate was revoked on --- .*reason: certificate hold/ },
    },
  ],
  [
    'by CRL alone',
    false,
    /crl correctly signed by/,
    {
      good: { isLetIn: true, log: /certificate status is good/ },
      revoked: { isLetIn: false, log: REVOKED },
      held: { isLetIn: false, log: HELD },
      released: { isLetIn: true, log: /certificate status is good/ },
      expired: { isLetIn: false, log: OVER },
      // The limit that we state openly (rules 9): who knows CRLs alone lets in what nobody recorded.
      'never issued': { isLetIn: true, log: /certificate status is good/ },
    },
  ],
])('a gateway with revocation = strict, %s', (_how, ocsp, source, table) => {
  let lab: IkeLab;
  const dir = mkdtempSync(join(tmpdir(), 'fp-ike-'));
  beforeAll(async () => {
    lab = await openIkeLab(dir, port.port, { namedPort: NAMED_PORT, ocsp });
    await loadGateway(lab);
  }, 60_000);
  afterAll(async () => {
    await lab?.close();
    rmSync(dir, { recursive: true, force: true });
  }, 60_000);

  test.each(Object.entries(table))('a certificate that is %s', async (name, { isLetIn, log }) => {
    await flush(lab);
    const { isEstablished, gatewayLog } = await connectAs(lab, units.get(name) as WorldCertificate);
    expect(gatewayLog).toMatch(log);
    expect(isEstablished).toBe(isLetIn);
    // Nothing is asked about what has ended anyway.
    if (name !== 'expired') expect(gatewayLog).toMatch(source);
  });

  test('a status port that is gone lets nobody in', async () => {
    await flush(lab);
    const crls = await closedPort();
    const { isEstablished, gatewayLog } = await connectAs(lab, units.get('good') as WorldCertificate);
    await crls.open();
    expect(gatewayLog).toMatch(/certificate status is not available/);
    expect(isEstablished).toBe(false);
    expect((await connectAs(lab, units.get('good') as WorldCertificate)).isEstablished).toBe(true);
  }, 60_000);
});

async function makeUnits(): Promise<void> {
  const ids = new Map<string, number>();
  for (const name of ['good', 'revoked', 'held', 'released', 'expired']) {
    const unit = await world.addUnit();
    const isOver = name === 'expired' ? { notBefore: hoursAgo(3), lifeSeconds: 7_200 } : {};
    units.set(name, await world.issue({ unitId: unit.id, generation: 1, ...isOver }));
    ids.set(name, unit.id);
  }
  const byUnit = (name: string) => ({ by: 'unit', unitId: ids.get(name) ?? 0 }) as const;
  await rooms.revocation.revoke({ ...kim, selection: byUnit('revoked') });
  for (const name of ['held', 'released'])
    await rooms.revocation.hold({ ...kim, reason: 'certificateHold', selection: byUnit(name) });
  await rooms.revocation.release({ ...kim, unitId: byUnit('released').unitId });
  const unrecorded = await world.issue({ state: 'signing', notBefore: hoursAgo(4) });
  await world.db.pool.query('DELETE FROM issuance_intent WHERE serial = $1', [unrecorded.serial]);
  units.set('never issued', unrecorded);
}

async function loadGateway(lab: IkeLab): Promise<void> {
  const { roots, servicesCa } = world;
  await lab.gateway.load(
    {
      anchors: { 'access-root.pem': certificatePem(roots.access.certificateDer) },
      certificates: {
        'gw.pem': certificatePem(gatewayCertificate.der),
        'services-ca.pem': certificatePem(servicesCa.certificateDer),
      },
      keys: { 'gw.key': keyPem(gatewayCertificate) },
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
