import 'reflect-metadata';
import { generateKeyPairSync, X509Certificate as NodeCertificate, webcrypto } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import * as x509 from '@peculiar/x509';
import { certificatePem, readCertificate, verifyCertificateSignature } from '../../../src/x509/certificate.js';
import { certificateTemplate } from '../../../src/x509/certificate-template.js';
import { parseTbsCertificate } from '../../../src/x509/parsed-tbs.js';
import { notAfterOf, PROFILES } from '../../../src/x509/profiles.js';
import { readSpki } from '../../../src/x509/spki.js';
import {
  FQDN,
  factsOf,
  hierarchy,
  issued,
  keyPair,
  NOW,
  OPERATOR,
  operationalTemplate,
  REALM,
  URLS,
} from './hierarchy.js';
import { openssl } from './openssl.js';

const LIFE = 7 * 86_400;

describe('the byte template and @peculiar/x509 write the same TBSCertificate', () => {
  // The library builds the same certificate from the same facts; its TBS must be equal byte for byte.
  test.each(['P-256', 'P-384'] as const)('operational certificate with a %s key', async (curve) => {
    const { issuer, issuerName, signingKey } = await libraryIssuer();
    const leaf = generateKeyPairSync('ec', { namedCurve: curve });
    const spki = readSpki(leaf.publicKey.export({ format: 'der', type: 'spki' }));
    const facts = { ...factsOf('operational', spki, FQDN), sanDns: FQDN, notAfter: notAfterOf(NOW, LIFE) };
    const template = certificateTemplate({
      profile: PROFILES.operational,
      issuerSubjectDer: Buffer.from(issuerName.toArrayBuffer()),
      issuerKeyIdentifier: issuer.keyIdentifier,
      issuerSignature: 'ecdsa-with-SHA256',
      operator: OPERATOR,
      ...URLS,
    });
    const algorithm = { name: 'ECDSA', namedCurve: curve };
    const theirs = await x509.X509CertificateGenerator.create({
      serialNumber: facts.serial.toString('hex'),
      issuer: issuerName,
      subject: nameOf(FQDN),
      notBefore: facts.notBefore,
      notAfter: facts.notAfter,
      publicKey: await webcrypto.subtle.importKey('spki', spki.spkiDer, algorithm, true, ['verify']),
      signingKey,
      signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
      extensions: [
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth, '1.3.6.1.5.5.7.3.17'], false),
        new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: FQDN }], false),
        new x509.SubjectKeyIdentifierExtension(spki.keyIdentifier.toString('hex'), false),
        new x509.AuthorityKeyIdentifierExtension(issuer.keyIdentifier.toString('hex'), false),
        new x509.CRLDistributionPointsExtension([URLS.crlUrl]),
        new x509.AuthorityInfoAccessExtension({ ocsp: URLS.ocspUrl, caIssuers: URLS.caUrl }),
      ],
    });
    const theirTbs = readCertificate(Buffer.from(theirs.rawData)).tbsDer;
    expect(template.build(facts).toString('hex')).toBe(theirTbs.toString('hex'));
  });

  test('Device CA with path length and name constraints', async () => {
    const { issuer, issuerName, signingKey } = await libraryIssuer();
    const ca = keyPair();
    const facts = factsOf('device-ca', ca.spki, 'Device CA 2');
    const template = certificateTemplate({
      profile: PROFILES['device-ca'],
      issuerSubjectDer: Buffer.from(issuerName.toArrayBuffer()),
      issuerKeyIdentifier: issuer.keyIdentifier,
      issuerSignature: 'ecdsa-with-SHA256',
      operator: OPERATOR,
      crlUrl: URLS.crlUrl,
      nameConstraintDns: REALM,
    });
    const algorithm = { name: 'ECDSA', namedCurve: 'P-256' };
    const theirs = await x509.X509CertificateGenerator.create({
      serialNumber: facts.serial.toString('hex'),
      issuer: issuerName,
      subject: nameOf('Device CA 2'),
      notBefore: facts.notBefore,
      notAfter: facts.notAfter,
      publicKey: await webcrypto.subtle.importKey('spki', ca.spki.spkiDer, algorithm, true, ['verify']),
      signingKey,
      signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
      extensions: [
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.Extension('2.5.29.30', true, nameConstraintsByHand()),
        new x509.SubjectKeyIdentifierExtension(ca.spki.keyIdentifier.toString('hex'), false),
        new x509.AuthorityKeyIdentifierExtension(issuer.keyIdentifier.toString('hex'), false),
        new x509.CRLDistributionPointsExtension([URLS.crlUrl]),
      ],
    });
    const theirTbs = readCertificate(Buffer.from(theirs.rawData)).tbsDer;
    expect(template.build(facts).toString('hex')).toBe(theirTbs.toString('hex'));
  });
});

describe('other readers agree about what was built', () => {
  const { root, deviceCa } = hierarchy();
  const leafKey = keyPair();
  const facts = { ...factsOf('operational', leafKey.spki, FQDN), sanDns: FQDN, notAfter: notAfterOf(NOW, LIFE) };
  const leaf = issued(operationalTemplate(deviceCa).build(facts), deviceCa, deviceCa.alg);
  const chain = {
    'root.pem': certificatePem(root.certificate.der),
    'ca.pem': certificatePem(deviceCa.certificate.der),
    'leaf.pem': certificatePem(leaf.der),
  };
  const at = String(Math.floor(NOW.getTime() / 1_000) + 60);
  const verifyArgs = [
    'verify',
    '-x509_strict',
    '-attime',
    at,
    '-CAfile',
    'root.pem',
    '-untrusted',
    'ca.pem',
    'leaf.pem',
  ];

  test('openssl verify -x509_strict takes the chain, and refuses it with another root', () => {
    expect(openssl(verifyArgs, chain)).toContain('leaf.pem: OK');
    const other = { ...chain, 'root.pem': certificatePem(hierarchy().root.certificate.der) };
    expect(() => openssl(verifyArgs, other)).toThrow(/unable to get local issuer|signature failure/);
  });

  test('openssl refuses a name outside the Device CA realm: the constraint is real', () => {
    const strange = '00005e005317.other.example';
    const tbs = operationalTemplate(deviceCa).build({ ...facts, subject: { commonName: strange }, sanDns: strange });
    const files = { ...chain, 'leaf.pem': certificatePem(issued(tbs, deviceCa, deviceCa.alg).der) };
    expect(() => openssl(verifyArgs, files)).toThrow(/permitted subtree violation/);
  });

  test('openssl prints the fields as meant', () => {
    const text = openssl(
      ['x509', '-in', 'leaf.pem', '-noout', '-text', '-nameopt', 'utf8,sep_comma_plus,sname'],
      chain,
    );
    expect(text).toContain(`Subject: O=${OPERATOR},CN=${FQDN}`);
    expect(text).toMatch(/X509v3 Key Usage: critical\s+Digital Signature\n/);
    expect(text).toMatch(/TLS Web Client Authentication, ipsec Internet Key Exchange/);
    expect(text).toContain(`DNS:${FQDN}`);
    expect(text).toContain(`URI:${URLS.crlUrl}`);
    expect(text).toContain(`OCSP - URI:${URLS.ocspUrl}`);
    expect(text).not.toContain('Basic Constraints');
  });

  test('node reads the same serial, names and dates', () => {
    const node = new NodeCertificate(leaf.der);
    expect(node.serialNumber.toLowerCase()).toBe(facts.serial.toString('hex'));
    expect(node.subjectAltName).toBe(`DNS:${FQDN}`);
    expect(new Date(node.validTo)).toEqual(facts.notAfter);
    expect(node.verify(new NodeCertificate(deviceCa.certificate.der).publicKey)).toBe(true);
    expect(node.fingerprint256.replaceAll(':', '').toLowerCase()).toBe(leaf.fingerprint);
  });

  test('our reader gets back what was put in, and its signature check can fail', () => {
    const parsed = parseTbsCertificate(operationalTemplate(deviceCa).build(facts));
    expect(parsed).toMatchObject({
      serial: facts.serial,
      commonName: FQDN,
      organization: OPERATOR,
      sanDns: [FQDN],
      sanOther: [],
      notBefore: facts.notBefore,
      notAfter: facts.notAfter,
      ekus: PROFILES.operational.ekus,
      keyUsage: ['digitalSignature'],
      isCa: false,
      crlUrls: [URLS.crlUrl],
      ocspUrls: [URLS.ocspUrl],
      caUrls: [URLS.caUrl],
      aki: deviceCa.spki.keyIdentifier,
      ski: leafKey.spki.keyIdentifier,
    });
    expect(verifyCertificateSignature(leaf, deviceCa.spki)).toBe(true);
    expect(verifyCertificateSignature(leaf, root.spki)).toBe(false);
    expect(verifyCertificateSignature({ ...leaf, tbsDer: Buffer.from(`${leaf.tbsDer}x`) }, deviceCa.spki)).toBe(false);
  });
});

test('a name of another organization, a role and host addresses are written where asked', () => {
  const { deviceCa } = hierarchy();
  const template = certificateTemplate({
    profile: PROFILES['services-server'],
    issuerSubjectDer: deviceCa.certificate.subjectDer,
    issuerKeyIdentifier: deviceCa.spki.keyIdentifier,
    issuerSignature: 'ecdsa-with-SHA256',
    operator: OPERATOR,
  });
  const parsed = parseTbsCertificate(
    template.build({
      ...factsOf('services-server', keyPair().spki, 'enrol'),
      subject: { organization: 'Maker AG', organizationalUnit: 'server', commonName: 'enrol' },
      sanDns: ['enrol.hanbit.example', 'localhost'],
      sanIp: [Buffer.from([127, 0, 0, 1])],
    }),
  );
  expect(parsed).toMatchObject({
    organization: 'Maker AG',
    organizationalUnit: 'server',
    sanDns: ['enrol.hanbit.example', 'localhost'],
    sanOther: [{ kind: 'ip', value: '7f000001' }],
  });
});

async function libraryIssuer(): Promise<{
  issuer: ReturnType<typeof readSpki>;
  issuerName: x509.Name;
  signingKey: webcrypto.CryptoKey;
}> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pkcs8 = privateKey.export({ format: 'der', type: 'pkcs8' });
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' };
  return {
    issuer: readSpki(publicKey.export({ format: 'der', type: 'spki' })),
    issuerName: nameOf('Device CA 1'),
    signingKey: await webcrypto.subtle.importKey('pkcs8', pkcs8, algorithm, false, ['sign']),
  };
}

function nameOf(commonName: string): x509.Name {
  return new x509.Name([{ O: [{ utf8String: OPERATOR }] }, { CN: [{ utf8String: commonName }] }]);
}

/** NameConstraints { permittedSubtrees [0] { { base [2] realm } } }, octet by octet (RFC 5280 section 4.2.1.10). */
function nameConstraintsByHand(): Buffer {
  const base = Buffer.concat([Buffer.from([0x82, REALM.length]), Buffer.from(REALM)]);
  const subtree = Buffer.concat([Buffer.from([0x30, base.length]), base]);
  const permitted = Buffer.concat([Buffer.from([0xa0, subtree.length]), subtree]);
  return Buffer.concat([Buffer.from([0x30, permitted.length]), permitted]);
}
