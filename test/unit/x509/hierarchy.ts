import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { assembleCertificate, type Certificate, readCertificate } from '../../../src/x509/certificate.js';
import { type CertificateFacts, certificateTemplate } from '../../../src/x509/certificate-template.js';
import { certificateName } from '../../../src/x509/parsed-tbs.js';
import { notAfterOf, PROFILES, type ProfileName } from '../../../src/x509/profiles.js';
import { newSerial } from '../../../src/x509/serial.js';
import { readSpki, type Spki } from '../../../src/x509/spki.js';

export const NOW = new Date('2026-11-24T12:00:00Z');
export const OPERATOR = 'Hanbit Telecom';
export const REALM = 'femto.hanbit.example';
export const FQDN = `00005e005317.${REALM}`;
export const URLS = {
  crlUrl: 'http://status.hanbit.example:8080/crl/device-ca-1.crl',
  ocspUrl: 'http://status.hanbit.example:8080/ocsp',
  caUrl: 'http://status.hanbit.example:8080/ca/device-ca-1.cer',
} as const;

export interface KeyPair {
  readonly privateKey: KeyObject;
  readonly spki: Spki;
}

export function keyPair(namedCurve: 'P-256' | 'P-384' = 'P-256'): KeyPair {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve });
  return { privateKey, spki: readSpki(publicKey.export({ format: 'der', type: 'spki' })) };
}

export interface Issuer extends KeyPair {
  readonly certificate: Certificate;
  readonly alg: 'ecdsa-with-SHA256' | 'ecdsa-with-SHA384';
}

/** Access Root (P-384) and a Device CA (P-256) under it, made with the product's own templates. */
export function hierarchy(): { root: Issuer; deviceCa: Issuer } {
  const rootKey = keyPair('P-384');
  const rootSubjectDer = certificateName({ organization: OPERATOR, commonName: 'Access Root' });
  const rootTemplate = certificateTemplate({
    profile: PROFILES.root,
    issuerSubjectDer: rootSubjectDer,
    issuerKeyIdentifier: Buffer.alloc(0),
    issuerSignature: 'ecdsa-with-SHA384',
    operator: OPERATOR,
  });
  const root: Issuer = {
    ...rootKey,
    alg: 'ecdsa-with-SHA384',
    certificate: issued(rootTemplate.build(factsOf('root', rootKey.spki, 'Access Root')), rootKey, 'ecdsa-with-SHA384'),
  };
  const caKey = keyPair();
  const caTemplate = certificateTemplate({
    profile: PROFILES['device-ca'],
    issuerSubjectDer: rootSubjectDer,
    issuerKeyIdentifier: root.certificate.ski ?? Buffer.alloc(0),
    issuerSignature: 'ecdsa-with-SHA384',
    operator: OPERATOR,
    crlUrl: 'http://status.hanbit.example:8080/crl/access-root.crl',
    nameConstraintDns: REALM,
  });
  const certificate = issued(caTemplate.build(factsOf('device-ca', caKey.spki, 'Device CA 1')), rootKey, root.alg);
  return { root, deviceCa: { ...caKey, certificate, alg: 'ecdsa-with-SHA256' } };
}

export function factsOf(profile: ProfileName, spki: Spki, commonName: string): CertificateFacts {
  return {
    serial: newSerial(NOW, randomBytes),
    subject: { organization: OPERATOR, commonName },
    spki,
    notBefore: NOW,
    notAfter: notAfterOf(NOW, PROFILES[profile].lifeMaxSeconds),
  };
}

export function issued(tbs: Buffer, key: KeyPair, alg: Issuer['alg']): Certificate {
  return readCertificate(assembleCertificate(tbs, alg, signed(tbs, key, alg)));
}

export function signed(tbs: Buffer, key: KeyPair, alg: Issuer['alg']): Buffer {
  return sign(alg === 'ecdsa-with-SHA256' ? 'sha256' : 'sha384', tbs, key.privateKey);
}

export function operationalTemplate(issuer: Issuer): ReturnType<typeof certificateTemplate> {
  return certificateTemplate({
    profile: PROFILES.operational,
    issuerSubjectDer: issuer.certificate.subjectDer,
    issuerKeyIdentifier: issuer.certificate.ski ?? Buffer.alloc(0),
    issuerSignature: issuer.alg,
    operator: OPERATOR,
    ...URLS,
  });
}
