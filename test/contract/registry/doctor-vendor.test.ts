import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { opensslProgram, vendorAnchorLife } from '../../../src/apps/doctor-vendor.js';
import { wireCore } from '../../../src/apps/wire-core.js';
import { transactorOf } from '../../../src/platform/db/transaction.pg.js';
import { freshDatabase, type TestDatabase } from '../../support/database.js';
import { VendorPki } from '../../support/vendor-ca.js';

const pki = new VendorPki();
let db: TestDatabase;
beforeAll(async () => {
  db = await freshDatabase();
  await db.pool.query(
    `INSERT INTO maker (name, manifest_key_spki, eui_prefixes, created_at) VALUES ('garam', '\\x00', '{02}', now())`,
  );
});
afterAll(async () => {
  pki.remove();
  await db.drop();
});

test('doctor knows the openssl program', () => {
  expect(opensslProgram()).toMatchObject({ severity: 'ok', evidence: expect.stringContaining('OpenSSL 3') });
});

test('doctor warns before a maker’s CRL runs out and says when it has, and no longer once the anchor is disabled', async () => {
  const { vendorOffice } = wireCore(transactorOf(db.pool));
  const lifeIn = async (days: number) =>
    (await vendorAnchorLife(db.url, new Date(Date.now() + days * 86_400_000))).severity;
  expect(await lifeIn(0)).toBe('ok');
  const root = pki.root({ subject: '/CN=Root' });
  const anchor = { name: 'a', makerName: 'garam', model: 'FC-1', certificateDer: root.der, intermediates: [] };
  await vendorOffice.add({ ...anchor, actor: 'person:kim' }, async () => 'person:lee');
  await vendorOffice.importCrl({ name: 'a', crlDer: pki.crl(root, { days: 8 }), actor: 'person:kim' });
  expect([await lifeIn(1), await lifeIn(7), await lifeIn(9)]).toEqual(['ok', 'warning', 'critical']);
  await vendorOffice.disable({ name: 'a', actor: 'person:kim', reason: 'replaced' });
  expect(await lifeIn(9)).toBe('ok');
});
