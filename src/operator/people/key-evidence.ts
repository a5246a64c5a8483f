import { FemtoError } from '../../platform/errors.js';
import { readCertificate } from '../../x509/certificate.js';
import { readCsr } from '../../x509/csr.js';
import { DerReader } from '../../x509/der-reader.js';
import { exposedKeys } from '../../x509/exposed-key.js';
import { bytesOfBase64, pemBlocks } from '../../x509/pem.js';
import { holdsPrivateKey } from '../../x509/private-key-material.js';
import { readSpki, type Spki } from '../../x509/spki.js';

/** Which key somebody reports: only its fingerprint is ever kept (REV-5). */
export interface ReportedKey {
  readonly spkiHash: Buffer;
  /** `private-key`: shown to be the private half, by making the public one from it; nobody has to believe it. */
  readonly shownAs: 'fingerprint' | 'private-key' | 'certificate' | 'request' | 'public-key';
}

/** Large enough for a certificate chain in one file. */
export const EVIDENCE_BYTES_MAX = 131_072;
const FINGERPRINT = /^(?:sha256:)?([0-9a-f]{2}(?::?[0-9a-f]{2}){31})$/i;

/**
 * Reads whatever names a key: SHA-256 of its SubjectPublicKeyInfo in hex, a PEM or DER certificate, request, public key or
 * private key. A private key is tested and then forgotten: what leaves this function is a hash.
 *
 * @param evidence  at most {@link EVIDENCE_BYTES_MAX}; never logged, and no part of it is in an error
 * @throws FemtoError BAD_REQUEST when no key is in it, or a private key that cannot be tested
 */
export function reportedKeys(evidence: Buffer): ReportedKey[] {
  if (evidence.length > EVIDENCE_BYTES_MAX) throw unreadable(`is larger than ${EVIDENCE_BYTES_MAX} bytes`);
  if (holdsPrivateKey(evidence) || blocksOf(evidence).some(({ label }) => label.includes('PRIVATE KEY'))) {
    return privateKeys(evidence);
  }
  const text = evidence.toString('latin1').trim();
  const blocks = blocksOf(evidence);
  if (blocks.length > 0) return blocks.map(({ label, der }) => publicOf(der, label));
  const lines = text.split(/[\s,;]+/).map((word) => FINGERPRINT.exec(word)?.[1]);
  if (lines.length > 0 && lines.every((hex) => hex !== undefined)) {
    return lines.map((hex) => ({ spkiHash: Buffer.from(hex.replaceAll(':', ''), 'hex'), shownAs: 'fingerprint' }));
  }
  return [publicOf(derOf(evidence, text), '')];
}

/** The public half is made from the private one, so that what is blocked is certainly the key that leaked. */
function privateKeys(evidence: Buffer): ReportedKey[] {
  const keys = exposedKeys(evidence);
  if (keys.length === 0) {
    throw new FemtoError(
      'BAD_REQUEST',
      'There is a private key that cannot be tested: it is encrypted, or of a kind that nobody has here. Give its certificate, public key or SHA-256 fingerprint.',
    );
  }
  return keys.map((spkiHash) => ({ spkiHash, shownAs: 'private-key' }));
}

const READERS: readonly [ReportedKey['shownAs'], string, (der: Buffer) => Spki][] = [
  ['certificate', 'CERTIFICATE', (der) => readCertificate(der).spki],
  ['request', 'CERTIFICATE REQUEST', (der) => readCsr(der, { allowRsa: true }).spki],
  ['public-key', 'PUBLIC KEY', (der) => readSpki(der, { allowRsa: true })],
];

function publicOf(der: Buffer, label: string): ReportedKey {
  const fitting = READERS.filter(([, name]) => label === '' || label.endsWith(name));
  for (const [shownAs, , read] of fitting) {
    try {
      return { spkiHash: read(der).spkiHash, shownAs };
    } catch (thrown) {
      if (fitting.length === 1) throw thrown;
    }
  }
  throw unreadable('is no certificate, request, public key, private key or SHA-256 fingerprint');
}

function derOf(evidence: Buffer, text: string): Buffer {
  try {
    new DerReader(evidence, 'key').next();
    return evidence;
  } catch {
    try {
      return bytesOfBase64(text, 'key');
    } catch (cause) {
      throw unreadable('is no certificate, request, public key, private key or SHA-256 fingerprint', cause);
    }
  }
}

function blocksOf(evidence: Buffer): { label: string; der: Buffer }[] {
  try {
    return pemBlocks(evidence.toString('latin1'));
  } catch {
    return [];
  }
}

function unreadable(fault: string, cause?: unknown): FemtoError {
  return new FemtoError('BAD_REQUEST', `What names the key ${fault}; give one of these.`, { cause });
}
