/** What a real gateway makes of our certificates: strongSwan with strict revocation, trusting the Access Root alone. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { GATEWAY_ADDRESS, type IkeLab, openIkeLab, UNIT_ADDRESS } from '../support/strongswan.js';
import { type ToldInstallation, toldInstallation } from '../support/told-installation.js';

const GATEWAY = 'segw-gangnam-1';
const GATEWAY_ID = 'segw-gangnam-1.hanbit.example';

let told: ToldInstallation;
let lab: IkeLab;
const dir = mkdtempSync(join(tmpdir(), 'fp-ike-'));

beforeAll(async () => {
  told = await toldInstallation();
  await told.tellUntil('activation');
  lab = await openIkeLab(dir, told.installation.config.listen.status.port);
  await loadGateway();
}, 300_000);
afterAll(async () => {
  await lab?.close();
  await told?.close();
  rmSync(dir, { recursive: true, force: true });
}, 60_000);

describe('a strongSwan gateway that trusts the Access Root alone, revocation = strict', () => {
  test('accepts the operational certificate of the unit', async () => {
    expect(await connectAs('unit', 'device-ca-1', 'access-root')).toMatchObject({ verdict: 'established' });
  });

  test('refuses the bootstrap certificate of the same unit', async () => {
    const { verdict, gatewayLog } = await connectAs('bootstrap', 'bootstrap-ca', 'bootstrap-root');
    // With its whole chain in hand: it is the root that is missing.
    expect(gatewayLog).toMatch(/received issuer cert ".*Bootstrap CA/);
    expect(verdict).toBe('AUTHENTICATION_FAILED');
    expect(gatewayLog).toMatch(/no (trusted|issuer certificate found)/);
  });

  test('refuses the Services certificate of a station', async () => {
    const { verdict, gatewayLog } = await connectAs('garam-station-1', 'services-ca', 'services-root');
    expect(verdict).toBe('AUTHENTICATION_FAILED');
    expect(gatewayLog).toMatch(/no (trusted|issuer certificate found)/);
  });

  test('refuses its own Services certificate', async () => {
    const { verdict, gatewayLog } = await connectAs(GATEWAY, 'services-ca', 'services-root');
    expect(verdict).toBe('AUTHENTICATION_FAILED');
    expect(gatewayLog).toMatch(/constraint check failed: peer not authenticated by CA/);
  });

  test('refuses the operational certificate once the unit is lost and its caches are flushed', async () => {
    const before = await connectAs('unit', 'device-ca-1', 'access-root');
    expect(before.verdict).toBe('established');
    // The gateway took our OCSP answer itself; with the CRL alone it would lag by the CRL's life.
    expect(before.gatewayLog).toMatch(/ocsp response correctly signed by|using cached ocsp response/);
    await told.world.cli(['unit', 'lost', told.world.serialNumber, '--reason', 'the customer reported a burglary']);
    await flush();
    const { verdict, gatewayLog } = await connectAs('unit', 'device-ca-1', 'access-root');
    expect(verdict).toBe('AUTHENTICATION_FAILED');
    expect(gatewayLog).toMatch(/certificate was revoked/);
  });
});

async function loadGateway(): Promise<void> {
  const { world } = told;
  await lab.gateway.load(
    {
      anchors: { 'access-root.pem': world.read('access-root.ca.pem') },
      certificates: { 'gw.pem': world.read(`${GATEWAY}.pem`), 'services-ca.pem': world.read('services-ca.ca.pem') },
      keys: { 'gw.key': world.read(`${GATEWAY}.key`) },
    },
    section('connections', [
      section('femto', [
        'version = 2',
        `local_addrs = ${GATEWAY_ADDRESS}`,
        'proposals = aes128gcm16-prfsha256-ecp256',
        'childless = force',
        'unique = never',
        'send_cert = always',
        section('local', ['auth = pubkey', 'certs = gw.pem', `id = ${GATEWAY_ID}`]),
        // Any identity: whoever is refused is refused for the certificate. Without `cacerts` strongSwan also trusts every
        // end certificate that lies beside its own, and with it its own (measured with 5.9.8).
        section('remote', ['auth = pubkey', 'id = %any', 'cacerts = access-root.pem', 'revocation = strict']),
      ]),
    ]),
  );
}

/**
 * One attempt to connect, with a certificate of the story, its key and its chain. Its own root must be there, too: a
 * strongSwan that knows only other CAs among those the gateway asks for sends no intermediate (measured with 5.9.8).
 */
async function connectAs(name: string, issuer: string, root: string): Promise<{ verdict: string; gatewayLog: string }> {
  const { world } = told;
  await lab.unit.load(
    {
      anchors: {
        'services-root.pem': world.read('services-root.ca.pem'),
        [`${root}.pem`]: world.read(`${root}.ca.pem`),
      },
      certificates: { 'own.pem': world.read(`${name}.pem`), 'issuer.pem': world.read(`${issuer}.ca.pem`) },
      keys: { 'own.key': world.read(`${name}.key`) },
    },
    section('connections', [
      section('segw', [
        'version = 2',
        `local_addrs = ${UNIT_ADDRESS}`,
        `remote_addrs = ${GATEWAY_ADDRESS}`,
        'proposals = aes128gcm16-prfsha256-ecp256',
        'childless = force',
        'send_cert = always',
        section('local', ['auth = pubkey', 'certs = own.pem']),
        section('remote', ['auth = pubkey', `id = ${GATEWAY_ID}`, 'cacerts = services-root.pem', 'revocation = ifuri']),
      ]),
    ]),
  );
  lab.gateway.newLog();
  const { code, text } = await lab.unit.swanctl('--initiate', '--ike', 'segw', '--timeout', '15');
  if (code === 0) await lab.unit.swanctl('--terminate', '--ike', 'segw');
  const verdict = code === 0 ? 'established' : (/AUTHENTICATION_FAILED/.exec(text)?.[0] ?? text);
  return { verdict, gatewayLog: lab.gateway.newLog() };
}

/** What a gateway's connector does on a revocation (both: a strict gateway asks OCSP first). */
async function flush(): Promise<void> {
  await lab.gateway.swanctl('--flush-certs', '--type', 'x509_crl');
  await lab.gateway.swanctl('--flush-certs', '--type', 'ocsp_response');
}

/** strongSwan wants one setting a line. */
function section(name: string, lines: readonly string[]): string {
  return [`${name} {`, ...lines, '}'].join('\n');
}
