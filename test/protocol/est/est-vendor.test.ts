import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { CurlCredential } from '../../support/curl-unit.js';
import { type DeviceWorld, startDeviceWorld, type WorldUnit } from '../../support/device-world.js';
import { estUnit } from '../../support/est-unit.js';
import { spkiHashOf, type VendorCertificate, VendorPki } from '../../support/vendor-ca.js';

const pki = new VendorPki();
let world: DeviceWorld;
let unit: ReturnType<typeof estUnit>;
let ca: VendorCertificate;

beforeAll(async () => {
  world = await startDeviceWorld();
  unit = estUnit(world.dir, world.port);
  const root = pki.root({ subject: '/O=Garam/CN=Garam Root' });
  ca = pki.ca(root, { subject: '/O=Garam/CN=Garam Device CA' });
  const anchor = {
    name: 'garam-root',
    makerName: 'garam',
    model: 'FC-1',
    certificateDer: root.der,
    intermediates: [],
    actor: 'person:kim',
  } as const;
  await world.core.vendorOffice.add(anchor, async () => 'person:lee');
});
afterAll(async () => {
  pki.remove();
  await world.close();
});

/** A unit whose manifest named the key of its maker's certificate; `chain.pem` is what the unit sends along. */
async function vendorUnit(): Promise<WorldUnit & { vendor: CurlCredential }> {
  const who = await world.addUnit();
  const leaf = pki.leaf(ca, { subject: `/O=Garam/serialNumber=${who.serialNumber}` });
  await world.db.pool.query('UPDATE unit SET vendor_spki_hash = $2 WHERE id = $1', [who.id, spkiHashOf(leaf)]);
  const both = [leaf, ca].map(({ certFile }) => readFileSync(certFile, 'utf8')).join('');
  return { ...who, vendor: { pemFile: unit.store('vendor.pem', both), keyFile: leaf.keyFile } };
}

const stateOf = async (who: WorldUnit): Promise<string> =>
  (await world.db.pool.query('SELECT state FROM unit WHERE id = $1', [who.id])).rows[0].state;

describe('EST under a maker’s own certificate (TS 33.310 clause 9)', () => {
  test('with the intermediate sent along and the code it activates, by either operation, and the result renews', async () => {
    for (const path of ['simpleenroll', 'simplereenroll']) {
      const who = await vendorUnit();
      const { status, op } = await unit.enroll(path, { as: who.vendor, code: await world.grant(who) });
      expect(status).toBe(200);
      expect((await unit.enroll('simplereenroll', { as: op as CurlCredential })).status).toBe(200);
      expect(await stateOf(who)).toBe('ACTIVE');
    }
  });

  test('another unit’s code is worth nothing under it, and it alone neither', async () => {
    const [owner, thief] = [await world.addUnit(), await vendorUnit()];
    const code = await world.grant(owner);
    expect((await unit.enroll('simpleenroll', { as: thief.vendor, code })).status).toBe(403);
    expect((await unit.enroll('simpleenroll', { as: thief.vendor })).status).toBe(403);
    expect((await unit.enroll('simpleenroll', { as: owner, code })).status).toBe(200);
    expect(await stateOf(thief)).toBe('BOOTSTRAPPED');
  });

  test('a certificate of the same CA whose key no manifest names is nobody’s', async () => {
    const leaf = pki.leaf(ca, { subject: '/O=Garam/serialNumber=SHB-24-99999' });
    const as = { pemFile: leaf.certFile, keyFile: leaf.keyFile };
    expect((await unit.enroll('simpleenroll', { as, code: 'AAAA-AAAA-AAAA-AAAA' })).status).toBe(403);
  });
});
