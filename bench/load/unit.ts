import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readCertificate } from '../../src/x509/certificate.js';
import { readSpki } from '../../src/x509/spki.js';
import type { UnitSeed } from '../servers/renewal-ports.js';

/** A unit as the generator keeps it between renewals. */
export interface LoadUnit {
  readonly fqdn: string;
  /** The operational credential it holds. */
  readonly key: KeyObject;
  readonly certificateDer: Buffer;
  /** The key that it will ask a certificate for, made before the clock runs. */
  readonly nextKey: KeyObject;
  readonly nextSpkiDer: Buffer;
}

export function unitOf({ fqdn, certificate, key }: UnitSeed): LoadUnit {
  return nextUnit(fqdn, createPrivateKey(key), Buffer.from(certificate, 'base64'));
}

/** The same unit with the credential that it was just given. @throws when the certificate is another key's */
export function renewed({ fqdn, nextKey, nextSpkiDer }: LoadUnit, certificateDer: Buffer): LoadUnit {
  const { spki } = readCertificate(certificateDer);
  if (!spki.spkiHash.equals(readSpki(nextSpkiDer).spkiHash)) throw new Error('a certificate for another key came back');
  return { fqdn, key: nextKey, certificateDer, nextKey, nextSpkiDer };
}

/** Armed anew. */
export function nextUnit(fqdn: string, key: KeyObject, certificateDer: Buffer): LoadUnit {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const nextSpkiDer = publicKey.export({ type: 'spki', format: 'der' });
  return { fqdn, key, certificateDer, nextKey: privateKey, nextSpkiDer };
}
