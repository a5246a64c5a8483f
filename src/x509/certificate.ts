import { createHash } from 'node:crypto';
import { bitString, sequence, TAG } from './der.js';
import { checkDer } from './der-gate.js';
import { badDer, readDer, wholeOctets } from './der-reader.js';
import { type ParsedTbs, parseTbsCertificate } from './parsed-tbs.js';
import { pemBlock } from './pem.js';
import {
  algorithmIdentifier,
  type IssuerSignature,
  signatureAlgorithmOf,
  verifySignature,
} from './signature-algorithm.js';
import type { Spki } from './spki.js';

export { pemBlocks } from './pem.js';

/** A whole certificate, read strictly. */
export interface Certificate extends ParsedTbs {
  readonly der: Buffer;
  /** Content of the signature BIT STRING. */
  readonly signature: Buffer;
  /** SHA-256 of `der`, lowercase hex. */
  readonly fingerprint: string;
}

export const CERTIFICATE_BYTES_MAX = 24_576;
const CERTIFICATE_DER_LIMITS = { bytesMax: CERTIFICATE_BYTES_MAX, depthMax: 24, elementsMax: 3_000 };

/**
 * Joins a TBS and its signature; the signature is not checked here.
 *
 * @param signatureDer  Ecdsa-Sig-Value, DER
 */
export function assembleCertificate(tbsDer: Buffer, algorithm: IssuerSignature, signatureDer: Buffer): Buffer {
  return sequence(tbsDer, algorithmIdentifier(algorithm), bitString(signatureDer));
}

/**
 * @throws FemtoError BAD_REQUEST form; KEY_WEAK an algorithm or key we refuse
 * @see RFC 5280 section 4.1
 */
export function readCertificate(der: Buffer): Certificate {
  checkDer(der, CERTIFICATE_DER_LIMITS);
  const outer = readDer(der, TAG.SEQUENCE, 'certificate');
  const tbsDer = outer.expect(TAG.SEQUENCE, 'tbsCertificate').der;
  const algorithmDer = outer.expect(TAG.SEQUENCE, 'signature algorithm').der;
  const signature = wholeOctets(outer.expect(TAG.BIT_STRING, 'signature').content, 'certificate signature');
  outer.end();
  const parsed = parseTbsCertificate(tbsDer);
  // The outer copy is not under the signature: a difference is an attack or a broken issuer (section 4.1.1.2).
  if (signatureAlgorithmOf(algorithmDer) !== parsed.signatureAlgorithm) {
    throw badDer('certificate', 'names two different signature algorithms');
  }
  return { ...parsed, der, signature, fingerprint: createHash('sha256').update(der).digest('hex') };
}

/** Does the issuer's key verify this signature? Says nothing about names, times or extensions. */
export function verifyCertificateSignature(certificate: Certificate, issuerSpki: Spki): boolean {
  if (SIGNED_BY.get(certificate)?.equals(issuerSpki.spkiDer)) return true;
  const { signatureAlgorithm, tbsDer, signature } = certificate;
  if (!verifySignature(signatureAlgorithm, tbsDer, issuerSpki, signature)) return false;
  SIGNED_BY.set(certificate, issuerSpki.spkiDer);
  return true;
}

/** By certificate as it was read: the key that was seen to have signed it. Neither ever changes. */
const SIGNED_BY = new WeakMap<Certificate, Buffer>();

export function certificatePem(der: Buffer): string {
  return pemBlock('CERTIFICATE', der);
}
