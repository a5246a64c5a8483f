/** Builds, lints, signs and checks one certificate or CRL with a key of the ceremony's open token. */
import { createHash } from 'node:crypto';
import type { RandomBytes } from '../../platform/clock.js';
import { FemtoError } from '../../platform/errors.js';
import type { CeremonySession, TokenKey } from '../../platform/hsm/token.js';
import {
  assembleCertificate,
  type Certificate,
  readCertificate,
  verifyCertificateSignature,
} from '../../x509/certificate.js';
import { certificateTemplate } from '../../x509/certificate-template.js';
import { assembleCrl, buildCrlTbs, lintCrl, readCrl, verifyCrlSignature } from '../../x509/crl.js';
import { certificateName } from '../../x509/distinguished-name.js';
import { rawToDer } from '../../x509/ecdsa.js';
import { lintTbs } from '../../x509/lint-certificate.js';
import { notAfterOf, PROFILES, type ProfileName } from '../../x509/profiles.js';
import { newSerial } from '../../x509/serial.js';
import type { IssuerSignature } from '../../x509/signature-algorithm.js';
import { readSpki } from '../../x509/spki.js';

export interface Urls {
  readonly crlUrl?: string;
  readonly ocspUrl?: string;
  readonly caUrl?: string;
}

export interface CertifyRequest {
  readonly profile: ProfileName;
  readonly operator: string;
  readonly commonName: string;
  readonly key: TokenKey;
  /** Undefined: self-signed. */
  readonly issuer: { readonly certificate: Certificate; readonly key: TokenKey } | undefined;
  readonly urls: Urls;
  readonly nameConstraintDns?: string;
  readonly now: Date;
  /** notBefore lies this long before `now`. */
  readonly backdateSeconds: number;
  readonly lifeSeconds: number;
}

/**
 * @param session  open on the token that holds the issuer's key
 * @throws FemtoError when the certificate breaks its profile or its signature does not verify
 */
export function certify(session: CeremonySession, random: RandomBytes, request: CertifyRequest): Certificate {
  const profile = PROFILES[request.profile];
  const signingKey = request.issuer?.key ?? request.key;
  const issuerSpki = readSpki(signingKey.spki);
  const subject = { organization: request.operator, commonName: request.commonName };
  const issuerSubjectDer = request.issuer?.certificate.subjectDer ?? certificateName(subject);
  const issuerKeyIdentifier = request.issuer?.certificate.ski ?? Buffer.alloc(0);
  const algorithm = signatureOf(signingKey);
  const notBefore = new Date(Math.floor(request.now.getTime() / 1_000 - request.backdateSeconds) * 1_000);
  const notAfter = notAfterOf(notBefore, request.lifeSeconds);
  const serial = newSerial(request.now, random);
  const spki = readSpki(request.key.spki);
  const template = certificateTemplate({
    profile,
    issuerSubjectDer,
    issuerKeyIdentifier,
    issuerSignature: algorithm,
    operator: request.operator,
    ...request.urls,
    ...(request.nameConstraintDns === undefined ? {} : { nameConstraintDns: request.nameConstraintDns }),
  });
  const tbs = template.build({ serial, subject, spki, notBefore, notAfter });
  lintTbs(tbs, profile, {
    issuerNotAfter: request.issuer?.certificate.notAfter ?? notAfter,
    issuerSubjectDer,
    issuerSignature: algorithm,
    ...(request.issuer ? { issuerKeyIdentifier } : {}),
    serial,
    commonName: request.commonName,
    spkiHash: spki.spkiHash,
    ...(request.nameConstraintDns === undefined ? {} : { nameConstraintDns: request.nameConstraintDns }),
  });
  const certificate = readCertificate(assembleCertificate(tbs, algorithm, signTbs(session, signingKey, tbs)));
  if (!verifyCertificateSignature(certificate, issuerSpki)) {
    throw new FemtoError(
      'INTERNAL',
      `The signature of ${request.commonName} does not verify; the token is not fit for a ceremony.`,
    );
  }
  return certificate;
}

/** @param terms  `entries`: CA certificates that the root takes back, ready-made; `days`: nextUpdate − thisUpdate */
export function signRootCrl(
  session: CeremonySession,
  { certificate, key }: { certificate: Certificate; key: TokenKey },
  terms: { number: bigint; thisUpdate: Date; days: number; entries: readonly Buffer[] },
): Buffer {
  const algorithm = signatureOf(key);
  const lifeMaxSeconds = terms.days * 86_400;
  const thisUpdate = new Date(Math.floor(terms.thisUpdate.getTime() / 1_000) * 1_000);
  const tbs = buildCrlTbs({
    issuerSubjectDer: certificate.subjectDer,
    issuerKeyIdentifier: certificate.ski ?? Buffer.alloc(0),
    alg: algorithm,
    number: terms.number,
    thisUpdate,
    nextUpdate: new Date(thisUpdate.getTime() + lifeMaxSeconds * 1_000),
    entries: terms.entries,
  });
  const crl = readCrl(assembleCrl(tbs, algorithm, signTbs(session, key, tbs)));
  lintCrl(crl, { issuerSubjectDer: certificate.subjectDer, lifeMaxSeconds, entryCount: terms.entries.length });
  if (!verifyCrlSignature(crl, readSpki(key.spki))) {
    throw new FemtoError(
      'INTERNAL',
      'The signature of a root CRL does not verify; the token is not fit for a ceremony.',
    );
  }
  return crl.der;
}

/** DER signature over whole bytes with the hash of the key's curve. */
export function signTbs(session: CeremonySession, key: TokenKey, bytes: Buffer): Buffer {
  const hash = key.curve === 'P-256' ? 'sha256' : 'sha384';
  return rawToDer(session.sign(key.label, createHash(hash).update(bytes).digest()));
}

function signatureOf(key: TokenKey): IssuerSignature {
  return key.curve === 'P-256' ? 'ecdsa-with-SHA256' : 'ecdsa-with-SHA384';
}
