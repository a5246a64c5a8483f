import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  type X509Certificate,
} from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { assembleCertificate, certificatePem } from '../../x509/certificate.js';
import { integer, sequence, x509Time } from '../../x509/der.js';
import { relativeName } from '../../x509/distinguished-name.js';
import { OID } from '../../x509/oids.js';
import { algorithmIdentifier } from '../../x509/signature-algorithm.js';
import { FemtoError } from '../errors.js';
import type { SignerRole } from '../signer.js';

/** One end of the line between a server and a signer on another host. */
export interface LinkIdentity {
  readonly keyPem: string;
  /** Signed by itself: the other end knows the key, so nothing in it is believed and its dates do not matter. */
  readonly certificatePem: string;
  /** SHA-256 of the SubjectPublicKeyInfo, 64 hex digits: what the other end is told. */
  readonly spkiSha256: string;
}

/** Both ends: the signer, and the processes that call it, each with a key of its own because the key gives the role. */
export const LINK_ENDS = ['signer', 'enrol', 'status', 'worker'] as const satisfies readonly (SignerRole | 'signer')[];
export type LinkEnd = (typeof LINK_ENDS)[number];

const DAY_MS = 86_400_000;

/** Where a data directory keeps the link key of an end. */
export function linkKeyPath({ signer, secrets }: { signer: string; secrets: string }, end: LinkEnd): string {
  return end === 'signer' ? join(signer, 'link.key') : join(secrets, `signer-link-${end}.key`);
}

/** Makes a P-256 key in a new file, mode 0600. @returns false where the file is there already; it is left alone */
export function makeLinkKey(path: string): boolean {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  let file: number;
  try {
    file = openSync(path, 'wx', 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
  try {
    writeSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }) as string);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  return true;
}

/** @throws FemtoError INTERNAL when the file is no P-256 key, or others may read it */
export function readLinkKey(path: string): Pick<LinkIdentity, 'keyPem' | 'spkiSha256'> {
  let keyPem: string;
  try {
    keyPem = readFileSync(path, 'utf8');
  } catch (cause) {
    throw refused(path, 'cannot be read: make it with "femtopki signer link-key"', cause);
  }
  if ((statSync(path).mode & 0o077) !== 0) throw refused(path, 'may be read by others: chmod 600');
  try {
    const key = createPrivateKey(keyPem);
    if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') throw new Error('not P-256');
    return { keyPem, spkiSha256: spkiSha256Of(createPublicKey(key).export({ type: 'spki', format: 'der' })) };
  } catch (cause) {
    throw refused(path, 'holds no P-256 private key: remove it and run "femtopki signer link-key"', cause);
  }
}

/** The key of a file with a certificate for this process's life. @throws FemtoError INTERNAL as {@link readLinkKey} */
export function openLinkIdentity(path: string): LinkIdentity {
  const { keyPem, spkiSha256 } = readLinkKey(path);
  return { keyPem, spkiSha256, certificatePem: selfSigned(createPrivateKey(keyPem)) };
}

/** Version 1: a key and nothing that one could believe. */
function selfSigned(key: KeyObject): string {
  const name = sequence(relativeName(OID.commonName, 'femtopki signer link'));
  const nowMs = Date.now();
  const tbs = sequence(
    integer(randomBytes(16)),
    algorithmIdentifier('ecdsa-with-SHA256'),
    name,
    sequence(x509Time(new Date(nowMs - DAY_MS)), x509Time(new Date(nowMs + 365 * DAY_MS))),
    name,
    createPublicKey(key).export({ type: 'spki', format: 'der' }),
  );
  return certificatePem(assembleCertificate(tbs, 'ecdsa-with-SHA256', sign('sha256', tbs, key)));
}

/** Of the certificate the other end showed, whose key the handshake proved; undefined where it showed none. */
export function shownSpkiSha256(certificate: X509Certificate | undefined): string | undefined {
  return certificate && spkiSha256Of(certificate.publicKey.export({ type: 'spki', format: 'der' }));
}

function spkiSha256Of(spkiDer: Buffer): string {
  return createHash('sha256').update(spkiDer).digest('hex');
}

function refused(path: string, why: string, cause?: unknown): FemtoError {
  return new FemtoError('INTERNAL', `The link key ${path} ${why}.`, cause === undefined ? {} : { cause });
}
