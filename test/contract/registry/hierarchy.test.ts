import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { loadHierarchy } from '../../../src/lifecycle/registry/index.js';
import { issuerStore } from '../../../src/lifecycle/registry/issuer-store.pg.js';
import { transactorOf } from '../../../src/platform/db/transaction.pg.js';
import type { Hierarchy } from '../../../src/platform/hsm/hierarchy.js';
import { certificatePem, readCertificate } from '../../../src/x509/certificate.js';
import { freshDatabase, type TestDatabase } from '../../support/database.js';
import { REALM, type StatusWorld, startStatusWorld, type WorldCa } from '../../support/status-world.js';

let made: StatusWorld;
let db: TestDatabase;
beforeAll(async () => {
  made = await startStatusWorld();
});
afterAll(async () => {
  await made.close();
});

const at = new Date('2026-11-24T00:00:00Z');

async function enter(hierarchy: Hierarchy) {
  return transactorOf(db.pool).run((tx) => loadHierarchy({ issuers: issuerStore }, tx, hierarchy, at));
}

function entry(label: string, kind: Hierarchy['entries'][number]['kind'], der: Buffer, issuerLabel: string) {
  const certificate = readCertificate(der);
  return {
    label,
    kind,
    state: kind.startsWith('root') ? ('offline' as const) : ('active' as const),
    keyLabel: label,
    tokenLabel: 'token',
    issuerLabel,
    certificatePem: certificatePem(der),
    certificateSha256: certificate.fingerprint,
    serialHex: certificate.serial.toString('hex'),
    subjectDerHex: certificate.subjectDer.toString('hex'),
    keyIdentifierHex: certificate.spki.keyIdentifier.toString('hex'),
    spkiHex: certificate.spki.spkiDer.toString('hex'),
    notBefore: certificate.notBefore.toISOString(),
    notAfter: certificate.notAfter.toISOString(),
  };
}

async function ceremony(): Promise<Hierarchy> {
  const ca = (issuer: WorldCa, parent: WorldCa) =>
    entry(issuer.label, issuer.kind, issuer.certificateDer, parent.label);
  const { access, bootstrap, services } = made.roots;
  const { rows } = await made.db.pool.query<{ der: Buffer }>(
    'SELECT certificate_der AS der FROM ocsp_signer WHERE issuer_id = $1',
    [made.deviceCa.id],
  );
  const ocsp = entry('ocsp-device-ca-1', 'ocsp-signer', rows[0]?.der ?? Buffer.alloc(0), made.deviceCa.label);
  return {
    version: 1,
    installation: 'test-1',
    operator: 'Hanbit Mobile',
    realm: REALM,
    mode: 'demo',
    entries: [
      ca(access, access),
      ca(bootstrap, bootstrap),
      ca(services, services),
      ca(made.deviceCa, access),
      ca(made.bootstrapCa, bootstrap),
      ca(made.servicesCa, services),
      { ...ocsp, answersFor: made.deviceCa.label },
    ],
  };
}

beforeAll(async () => {
  db = await freshDatabase();
});
afterAll(async () => {
  await db.drop();
});

test('the ceremony’s CAs, OCSP signers and installation are entered once; a state that people changed stays', async () => {
  const hierarchy = await ceremony();
  const first = await enter(hierarchy);
  expect(first.map(({ label, state }) => `${label} ${state}`)).toEqual([
    'access-root offline',
    'bootstrap-root offline',
    'services-root offline',
    'device-ca-1 active',
    'bootstrap-ca active',
    'services-ca active',
  ]);
  await db.pool.query(`UPDATE issuer SET state = 'retired' WHERE label = 'device-ca-1'`);
  const second = await enter(hierarchy);
  expect(second.find(({ label }) => label === 'device-ca-1')).toMatchObject({ state: 'retired' });
  const { rows } = await db.pool.query(
    `SELECT (SELECT count(*)::int FROM ocsp_signer) AS signers, (SELECT realm FROM installation) AS realm,
       (SELECT parent_label FROM issuer WHERE label = 'access-root') AS parent`,
  );
  expect(rows).toEqual([{ signers: 1, realm: REALM, parent: null }]);
});

test('another certificate under a label that is here already is refused, and nothing of the file is entered', async () => {
  const hierarchy = await ceremony();
  const other = await startStatusWorld();
  const foreign = entry('device-ca-1', 'device-ca', other.deviceCa.certificateDer, 'access-root');
  const root = entry('access-root', 'root-access', other.roots.access.certificateDer, 'access-root');
  await expect(enter({ ...hierarchy, entries: [root, foreign] })).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
  await other.close();
});

test('a certificate that its named parent did not sign is refused', async () => {
  const hierarchy = await ceremony();
  const [access, bootstrap, , device] = hierarchy.entries;
  if (access === undefined || bootstrap === undefined || device === undefined) throw new Error('entries are missing');
  const entries = [access, bootstrap, { ...device, issuerLabel: 'bootstrap-root' }];
  await expect(enter({ ...hierarchy, entries })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  await expect(enter({ ...hierarchy, entries: [device] })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
});
