/** Whoever has a certificate of the Services CA and sits on the path: a station, a gateway, a server. None of them is the RA. */
import { generateKeyPairSync, sign } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { RaCredential } from '../../../src/protocol/cmp/cmp-deps.js';
import { readCertificate } from '../../../src/x509/certificate.js';
import { readExtendedKeyUsage } from '../../../src/x509/extension-values.js';
import { OID } from '../../../src/x509/oids.js';
import type { ProfileName } from '../../../src/x509/profiles.js';
import { type CmpWorld, type OpensslRun, startCmpWorld } from '../../support/cmp-world.js';
import { servicesLeaf } from '../../support/services-leaf.js';

let cmp: CmpWorld;
let genuine: RaCredential;

beforeAll(async () => {
  cmp = await startCmpWorld();
  if (cmp.ra === null) throw new Error('there is no RA');
  genuine = cmp.ra;
});
afterAll(() => cmp.close());

const OTHERS = [
  'services-station',
  'services-operator',
  'services-gateway',
  'services-server',
  'services-decision',
] as const;

describe.each(OTHERS)('a certificate of %s', (profile) => {
  test('answers for nobody: neither in its own name, nor in the RA’s', async () => {
    const impostor = await impostorOf(profile);
    const own = await answeredBy(impostor);
    expect(own.hasCertificate).toBe(false);
    const asRa = await answeredBy({ ...impostor, subjectDer: genuine.subjectDer });
    expect(asRa.hasCertificate).toBe(false);
    // And firmware that looks at the certificate sees it as well.
    expect(usagesOf(impostor)).not.toContain(OID.cmcRa);
  });
});

test('the RA’s own says that it is one, and is believed', async () => {
  expect(usagesOf(genuine)).toContain(OID.cmcRa);
  expect((await answeredBy(genuine)).hasCertificate).toBe(true);
});

function usagesOf({ certificateDer }: RaCredential): readonly string[] {
  const found = readCertificate(certificateDer).extensions.find(({ id }) => id === OID.extendedKeyUsage);
  return found === undefined ? [] : readExtendedKeyUsage(found.value);
}

async function impostorOf(profile: ProfileName): Promise<RaCredential> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const commonName = profile === 'services-server' ? 'localhost' : 'enrol-server-cmp';
  const certificateDer = await servicesLeaf(cmp.world.token, { profile, commonName, publicKey });
  const { ski = Buffer.alloc(0), subjectDer } = readCertificate(certificateDer);
  const { chain } = genuine;
  return { certificateDer, chain, keyIdentifier: ski, subjectDer, sign: (data) => sign('sha256', data, privateKey) };
}

async function answeredBy(ra: RaCredential): Promise<OpensslRun> {
  const unit = await cmp.world.addUnit();
  await cmp.order(unit);
  cmp.ra = ra;
  const run = await cmp.openssl('ir', { as: cmp.bootstrapOf(unit), flags: ['-newkey', await cmp.newKey()] });
  cmp.ra = genuine;
  return run;
}
