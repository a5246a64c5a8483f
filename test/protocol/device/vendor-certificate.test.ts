/** TS 33.310 mode over TLS: units that leave the factory with their maker's certificate, made by OpenSSL. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type CurlCredential, curlUnit } from '../../support/curl-unit.js';
import { type DeviceWorld, startDeviceWorld, type WorldUnit } from '../../support/device-world.js';
import { spkiHashOf, type VendorCertificate, VendorPki } from '../../support/vendor-ca.js';

const pki = new VendorPki();
let world: DeviceWorld;
let unit: ReturnType<typeof curlUnit>;
let root: VendorCertificate;
let ca: VendorCertificate;
beforeAll(async () => {
  world = await startDeviceWorld();
  unit = curlUnit(world.dir, world.port);
  root = pki.root({ subject: '/O=Garam/CN=Root', key: 'rsa2048' });
  ca = pki.ca(root, { subject: '/O=Garam/CN=CA', key: 'rsa2048' });
  await world.core.vendorOffice.add(
    {
      name: 'garam-root',
      makerName: 'garam',
      model: 'FC-1',
      certificateDer: root.der,
      intermediates: [],
      actor: 'person:kim',
    },
    async () => 'person:lee',
  );
});
afterAll(async () => {
  pki.remove();
  await world.close();
});

/** A unit whose manifest names the key of a certificate that the maker's CA signed. */
async function vendorUnit(leaf = pki.leaf(ca, { subject: '/O=Garam/CN=unit', key: 'rsa2048' })) {
  const who = await world.addUnit();
  await world.db.pool.query('UPDATE unit SET vendor_spki_hash = $2 WHERE id = $1', [who.id, spkiHashOf(leaf)]);
  return { who, leaf, as: sent(leaf, ca) };
}

/** What the unit's TLS stack sends: its certificate, then the CAs above it. */
function sent(leaf: VendorCertificate, ...above: readonly VendorCertificate[]): CurlCredential {
  const pem = [leaf, ...above].map(({ certFile }) => readFileSync(certFile, 'utf8')).join('');
  return { pemFile: unit.store('vendor.pem', pem), keyFile: leaf.keyFile };
}

async function activate(as: CurlCredential, code: string, keyFile?: string) {
  const csr = await unit.csr(keyFile ?? (await unit.newKey()), await unit.nonce(as));
  return unit.call('POST', '/v1/activate', {
    as,
    json: { csr: await unit.base64(csr), code },
    headers: [`Idempotency-Key: ${randomUUID()}`],
  });
}

const stateOf = async (who: WorldUnit): Promise<string> =>
  (await world.db.pool.query('SELECT state FROM unit WHERE id = $1', [who.id])).rows[0].state;

describe('a unit with its maker’s certificate', () => {
  test('activates with it and a code: an operational certificate of ours, in the name of the registry', async () => {
    const { who, as } = await vendorUnit();
    const answer = await activate(as, await world.grant(who));
    expect(answer).toMatchObject({ status: 200, body: { generation: 1 } });
    const text = await unit.openssl('x509', '-in', unit.store('op.pem', answer.body.certificate), '-noout', '-text');
    expect(text).toContain(`DNS:${who.fqdn}`);
    expect(text).not.toContain('Garam');
    expect(await stateOf(who)).toBe('ACTIVE');
  });

  test('is refused without the CA between, and with a certificate of a look-alike maker', async () => {
    const { who, leaf } = await vendorUnit();
    const nonce = (as: CurlCredential) => unit.call('GET', '/v1/nonce', { as });
    expect(await nonce(sent(leaf))).toMatchObject({ status: 403, body: { code: 'DENIED' } });
    const twin = pki.root({ subject: '/O=Garam/CN=Root', key: 'rsa2048' });
    const forged = pki.leaf(twin, { subject: '/O=Garam/CN=unit', keyOf: leaf });
    expect(spkiHashOf(forged)).toEqual(spkiHashOf(leaf));
    expect(await nonce(sent(forged, twin))).toMatchObject({ status: 403, body: { code: 'DENIED' } });
    expect(await stateOf(who)).toBe('BOOTSTRAPPED');
  });

  test('cannot use another unit’s code, nor its vendor key as its operational one', async () => {
    const [victim, thief] = [await vendorUnit(), await vendorUnit(pki.leaf(ca, { subject: '/O=Garam/CN=unit' }))];
    const code = await world.grant(victim.who);
    expect((await activate(thief.as, code)).status).toBe(403);
    const own = await activate(thief.as, await world.grant(thief.who), thief.leaf.keyFile);
    expect(own.status).toBeGreaterThanOrEqual(400);
    expect([await stateOf(victim.who), await stateOf(thief.who)]).toEqual(['BOOTSTRAPPED', 'BOOTSTRAPPED']);
    // The victim is none the worse for it.
    expect((await activate(victim.as, code)).status).toBe(200);
  });

  // Last: from here on the anchor has CRLs, which every unit below it needs.
  test('is refused once its maker has revoked it', async () => {
    const { leaf, as } = await vendorUnit(pki.leaf(root, { subject: '/O=Garam/CN=unit' }));
    const nonce = () => unit.call('GET', '/v1/nonce', { as });
    expect(await nonce()).toMatchObject({ status: 200 });
    const crlDer = pki.crl(root, { revoked: [leaf] });
    await world.core.vendorOffice.importCrl({ name: 'garam-root', crlDer, actor: 'person:kim' });
    expect(await nonce()).toMatchObject({ status: 403 });
  });
});
