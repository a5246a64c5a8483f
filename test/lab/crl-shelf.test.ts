/**
 * How a CRL reaches charon. No status server and no OCSP: what strongSwan knows, it knows from the connector. The CAs and the
 * CRLs are OpenSSL's.
 */
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { GATEWAY_ADDRESS, type IkeLab, openIkeLab, UNIT_ADDRESS } from '../support/strongswan.js';
import { type VendorCertificate, VendorPki } from '../support/vendor-ca.js';
import { kitModule } from '../unit/gateway-kit/kit.js';

const { openCharon } = await kitModule('charon');
const { makeCrlShelf } = await kitModule('crl-shelf');

/** What a value of vici can carry ends here. */
const VICI_BYTES_MAX = 65_535;
const NOBODY_LISTENS = 9;
const DAY_MS = 86_400_000;

const dir = mkdtempSync(join(tmpdir(), 'fp-crl-'));
const pki = new VendorPki();
const root = pki.root({ subject: '/O=Operator/CN=Access Root' });
const otherRoot = pki.root({ subject: '/O=Operator/CN=Bootstrap Root' });
const ca = pki.ca(root, { subject: '/O=Operator/CN=Device CA 1' });
const gateway = pki.leaf(root, { subject: '/CN=segw', extensions: ['subjectAltName=DNS:segw.example'] });
const [unit, other] = ['unit', 'other'].map((name) =>
  pki.leaf(ca, { subject: `/CN=${name}`, extensions: [`subjectAltName=DNS:${name}.example`] }),
) as [VendorCertificate, VendorCertificate];
/** So many that a CRL of them weighs 100 KiB. */
const OTHERS = Array.from({ length: 3_200 }, (_, n) => `01${(n + 1).toString(16).padStart(30, '0')}`);

let lab: IkeLab;
// biome-ignore lint/suspicious/noExplicitAny: modules without declarations
let charon: any;
// biome-ignore lint/suspicious/noExplicitAny: modules without declarations
let shelf: any;
const served: Record<string, Buffer> = {};

beforeAll(async () => {
  lab = await openIkeLab(dir, NOBODY_LISTENS, { ocsp: false });
  await lab.gateway.load(
    credentials(gateway, { 'root.pem': root }),
    connection('femto', GATEWAY_ADDRESS, 'segw.example', ['id = %any', 'cacerts = root.pem', 'revocation = strict']),
  );
  charon = await openCharon(join(dir, 'gw/vici'), () => undefined);
  shelf = makeCrlShelf({
    config: { crlDir: dir },
    api: { crl: async (url: string) => ({ der: served[url], etag: '' }) },
    charon: () => charon,
    links: () => [],
    log: (text: string) => {
      throw new Error(text);
    },
  });
  const issuers = { root, ca, otherRoot };
  shelf.learn(
    Object.fromEntries(
      Object.entries(issuers).map(([name, { der }]) => [
        keyOf(name),
        { url: name, certificate: der.toString('base64') },
      ]),
    ),
  );
}, 60_000);
afterAll(async () => {
  charon?.close();
  await lab?.close();
  pki.remove();
  rmSync(dir, { recursive: true, force: true });
}, 30_000);

describe('a strict gateway that only its connector tells of revocations', () => {
  test('refuses everybody before it has a CRL', async () => {
    expect(await connect(unit, 'unit')).toMatch(/AUTHENTICATION_FAILED/);
  });

  test('reads a CRL of 100 KiB, lets in who is not on it, and refuses who is', async () => {
    await publish({ revoked: [other], number: 1 });
    expect(served['ca']?.length).toBeGreaterThan(100 * 1024);
    expect(served['ca']?.length).toBeGreaterThan(VICI_BYTES_MAX);
    expect(await connect(unit, 'unit')).toBe('established');
    expect(await connect(other, 'other')).toMatch(/AUTHENTICATION_FAILED/);
    expect(lab.gateway.newLog()).toMatch(/certificate was revoked/);
  });

  test('takes the newer one as soon as it is flushed, whether it grew or shrank', async () => {
    await publish({ revoked: [unit, other], number: 2 });
    expect(await connect(unit, 'unit')).toMatch(/AUTHENTICATION_FAILED/);
    expect(lab.gateway.newLog()).toMatch(/certificate was revoked/);
    await publish({ revoked: [], number: 3, others: [] });
    expect(served['ca']?.length).toBeLessThan(VICI_BYTES_MAX);
    expect(await connect(other, 'other')).toBe('established');
    await publish({ revoked: [unit], number: 4 });
    expect(await connect(unit, 'unit')).toMatch(/AUTHENTICATION_FAILED/);
  });

  test('learns anew where the files are after swanctl has forgotten it', async () => {
    await lab.gateway.swanctl('--load-all');
    await lab.gateway.swanctl('--flush-certs');
    expect(await connect(other, 'other')).toMatch(/AUTHENTICATION_FAILED/);
    await shelf.offer();
    expect(await connect(other, 'other')).toBe('established');
  });

  test('was told of no CA whose root it does not trust already', async () => {
    const { text } = await lab.gateway.swanctl('--list-authorities');
    expect(text).toMatch(/Device CA 1/);
    expect(text).not.toMatch(/Bootstrap Root/);
  });
});

async function publish({
  revoked,
  number,
  others = OTHERS,
}: {
  revoked: VendorCertificate[];
  number: number;
  others?: string[];
}): Promise<void> {
  served['root'] = pki.crl(root, { number });
  served['otherRoot'] = pki.crl(otherRoot, { number });
  served['ca'] = pki.crl(ca, { revoked, others, number });
  for (const name of ['root', 'ca', 'otherRoot']) {
    const { crl } = await shelf.fetch(keyOf(name));
    expect(crl.nextUpdateMs - crl.thisUpdateMs).toBe(30 * DAY_MS);
  }
  await shelf.flush();
}

/** A name for the file: the shelf asks for nothing but hex. */
function keyOf(name: string): string {
  return Buffer.from(name).toString('hex');
}

async function connect(own: VendorCertificate, name: string): Promise<string> {
  await lab.unit.load(
    { ...credentials(own, { 'root.pem': root }), certificates: { 'own.pem': pem(own), 'issuer.pem': pem(ca) } },
    connection('segw', UNIT_ADDRESS, `${name}.example`, ['id = segw.example', 'revocation = relaxed'], GATEWAY_ADDRESS),
  );
  lab.gateway.newLog();
  const { code, text } = await lab.unit.swanctl('--initiate', '--ike', 'segw', '--timeout', '15');
  if (code === 0) await lab.unit.swanctl('--terminate', '--ike', 'segw');
  return code === 0 ? 'established' : text;
}

function credentials(own: VendorCertificate, anchors: Record<string, VendorCertificate>) {
  return {
    anchors: Object.fromEntries(Object.entries(anchors).map(([file, anchor]) => [file, pem(anchor)])),
    certificates: { 'own.pem': pem(own) },
    keys: { 'own.key': readFileSync(own.keyFile, 'utf8') },
  };
}

function pem({ der }: VendorCertificate): string {
  return new X509Certificate(der).toString();
}

function connection(name: string, local: string, id: string, remote: string[], peer?: string): string {
  return section('connections', [
    section(name, [
      'version = 2',
      `local_addrs = ${local}`,
      ...(peer === undefined ? [] : [`remote_addrs = ${peer}`]),
      'proposals = aes128gcm16-prfsha256-ecp256',
      'childless = force',
      'unique = never',
      'send_cert = always',
      section('local', ['auth = pubkey', 'certs = own.pem', `id = ${id}`]),
      section('remote', ['auth = pubkey', ...remote]),
    ]),
  ]);
}

/** strongSwan wants one setting a line. */
function section(name: string, lines: readonly string[]): string {
  return [`${name} {`, ...lines, '}'].join('\n');
}
