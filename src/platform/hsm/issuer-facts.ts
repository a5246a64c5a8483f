import { createHash } from 'node:crypto';
import { type Certificate, pemBlocks, readCertificate } from '../../x509/certificate.js';
import { implicitTag, sequence } from '../../x509/der.js';
import { algorithmIdentifier } from '../../x509/signature-algorithm.js';
import { readSpki, type Spki } from '../../x509/spki.js';
import type { Hierarchy, HierarchyEntry } from './hierarchy.js';
import type { TokenKey } from './token.js';
import { KeyRefusal } from './token.js';

/** What the judge knows of one key that it may use, checked against the token. */
export interface KeyFacts {
  readonly label: string;
  readonly kind: HierarchyEntry['kind'];
  readonly spki: Spki;
  readonly subjectDer: Buffer;
  readonly keyIdentifier: Buffer;
  /** Value of the authorityKeyIdentifier extension in all that this key signs: its key identifier alone. */
  readonly authorityKeyDer: Buffer;
  readonly notAfterMs: number;
  /** AlgorithmIdentifier this key signs with. */
  readonly algorithmDer: Buffer;
  readonly hash: 'sha256' | 'sha384';
}

/** Issuer as an OCSP CertID names it (RFC 6960 section 4.1.1), by hash length in bytes: 20 = SHA-1, 32 = SHA-256. */
export interface OcspIssuerHashes {
  readonly nameHashes: readonly Buffer[];
  readonly keyHashes: readonly Buffer[];
}

export function keyFacts(entry: HierarchyEntry, key: TokenKey): KeyFacts {
  const certificate = certificateOf(entry);
  // Whoever edits hierarchy.json must not be able to make one CA's key sign in another's name.
  if (!certificate.spki.spkiDer.equals(key.spki) || key.spki.toString('hex') !== entry.spkiHex) {
    throw new KeyRefusal(
      key.label,
      'the token holds another public key than its certificate; restore ca/hierarchy.json',
    );
  }
  const keyIdentifier = certificate.ski ?? Buffer.alloc(0);
  const hash = key.curve === 'P-256' ? 'sha256' : 'sha384';
  return {
    label: entry.label,
    kind: entry.kind,
    spki: certificate.spki,
    subjectDer: certificate.subjectDer,
    keyIdentifier,
    authorityKeyDer: sequence(implicitTag(0, keyIdentifier)),
    notAfterMs: certificate.notAfter.getTime(),
    algorithmDer: algorithmIdentifier(hash === 'sha256' ? 'ecdsa-with-SHA256' : 'ecdsa-with-SHA384'),
    hash,
  };
}

/** The certificate itself is believed, not the copies of its fields beside it, and the two must agree. */
function certificateOf(entry: HierarchyEntry): Certificate {
  const [block] = pemBlocks(entry.certificatePem);
  if (!block) throw new KeyRefusal(entry.keyLabel, 'ca/hierarchy.json holds no certificate for it; restore the file');
  const certificate = readCertificate(block.der);
  const agree =
    certificate.fingerprint === entry.certificateSha256 &&
    certificate.subjectDer.toString('hex') === entry.subjectDerHex &&
    certificate.ski?.toString('hex') === entry.keyIdentifierHex;
  if (!agree) {
    throw new KeyRefusal(entry.keyLabel, 'ca/hierarchy.json disagrees with the certificate in it; restore the file');
  }
  return certificate;
}

export function ocspIssuerHashes(entry: HierarchyEntry): OcspIssuerHashes {
  const subjectDer = Buffer.from(entry.subjectDerHex, 'hex');
  const { keyBits } = readSpki(Buffer.from(entry.spkiHex, 'hex'));
  const hashes = ['sha1', 'sha256', 'sha384', 'sha512'] as const;
  return {
    nameHashes: hashes.map((name) => createHash(name).update(subjectDer).digest()),
    keyHashes: hashes.map((name) => createHash(name).update(keyBits).digest()),
  };
}

export function entryOf(hierarchy: Hierarchy, label: string): HierarchyEntry {
  const entry = hierarchy.entries.find((candidate) => candidate.label === label);
  if (!entry) throw new KeyRefusal(label, 'ca/hierarchy.json does not list it; run the ceremony that makes it');
  return entry;
}
