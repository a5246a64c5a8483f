import { createHash } from 'node:crypto';
import { integer, nullValue, octetString, oid, sequence, TAG } from './der.js';
import { badDer, type DerElement, DerReader, oidValue, unsignedMagnitude } from './der-reader.js';
import { OID } from './oids.js';
import type { Spki } from './spki.js';

export type CertIdHash = 'sha1' | 'sha256';

/** Which certificate is asked about (RFC 6960 section 4.1.1). SHA-1 is a look-up key here, not a protection. */
export interface CertId {
  readonly hashAlg: CertIdHash;
  /** Hash of the issuer's subject Name, DER. */
  readonly issuerNameHash: Buffer;
  /** Hash of the issuer's key bits without tag, length and unused-bits octet. */
  readonly issuerKeyHash: Buffer;
  /** Magnitude without sign octet. */
  readonly serial: Buffer;
  /** As received: answers echo it byte for byte. */
  readonly certIdDer: Buffer;
}

export interface IssuerHashes {
  readonly nameHash: Buffer;
  readonly keyHash: Buffer;
}

const HASH_OCTETS = { sha1: 20, sha256: 32 } as const;
const HASH_BY_OID: Readonly<Record<string, CertIdHash>> = { [OID.sha1]: 'sha1', [OID.sha256]: 'sha256' };
const SERIAL_OCTETS_MAX = 21;
const WHAT = 'CertID';

/** Both hash pairs of one issuer, computed once and looked up per request. */
export function ocspIssuerHashes(
  issuerSubjectDer: Buffer,
  issuerSpki: Spki,
): Readonly<Record<CertIdHash, IssuerHashes>> {
  const pair = (hash: CertIdHash): IssuerHashes => ({
    nameHash: createHash(hash).update(issuerSubjectDer).digest(),
    keyHash: createHash(hash).update(issuerSpki.keyBits).digest(),
  });
  return { sha1: pair('sha1'), sha256: pair('sha256') };
}

/** SHA-1 of the key bits: how a responder names itself by key (RFC 6960 section 4.2.1). */
export function ocspKeyHash(spki: Spki): Buffer {
  return createHash('sha1').update(spki.keyBits).digest();
}

/** A CertID of our own making: for answers made ahead and for asking. */
export function certIdOf(hashAlg: CertIdHash, issuer: IssuerHashes, serial: Buffer): CertId {
  const algorithm = sequence(oid(OID[hashAlg]), nullValue());
  return {
    hashAlg,
    issuerNameHash: issuer.nameHash,
    issuerKeyHash: issuer.keyHash,
    serial,
    certIdDer: sequence(algorithm, octetString(issuer.nameHash), octetString(issuer.keyHash), integer(serial)),
  };
}

/** @throws FemtoError BAD_REQUEST, also for hashes other than SHA-1 and SHA-256 */
export function readCertId(element: DerElement): CertId {
  const fields = new DerReader(element.content, WHAT);
  const algorithm = fields.enter(TAG.SEQUENCE, WHAT);
  const hashAlg = HASH_BY_OID[oidValue(algorithm.expect(TAG.OID).content, WHAT)];
  // Parameters NULL or absent: both are in use for SHA-2, and SHA-1 requests carry NULL.
  const parameters = algorithm.optional(TAG.NULL);
  if (parameters !== undefined && parameters.content.length > 0) throw badDer(WHAT, 'has a NULL with content');
  algorithm.end();
  const issuerNameHash = fields.expect(TAG.OCTET_STRING, 'issuerNameHash').content;
  const issuerKeyHash = fields.expect(TAG.OCTET_STRING, 'issuerKeyHash').content;
  const serialContent = fields.expect(TAG.INTEGER, 'serialNumber').content;
  fields.end();
  if (hashAlg === undefined) throw badDer(WHAT, 'uses a hash other than SHA-1 and SHA-256');
  const octets = HASH_OCTETS[hashAlg];
  if (issuerNameHash.length !== octets || issuerKeyHash.length !== octets) {
    throw badDer(WHAT, 'has a hash of the wrong length');
  }
  if (serialContent.length > SERIAL_OCTETS_MAX) throw badDer(WHAT, 'has a serial number longer than 20 octets');
  return {
    hashAlg,
    issuerNameHash,
    issuerKeyHash,
    serial: unsignedMagnitude(serialContent, 'serial number'),
    certIdDer: element.der,
  };
}
