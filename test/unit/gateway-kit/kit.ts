import 'reflect-metadata';
import { generateKeyPairSync, type KeyObject, sign, webcrypto } from 'node:crypto';
import {
  BasicConstraintsExtension,
  cryptoProvider,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
  X509CrlGenerator,
} from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
cryptoProvider.set(webcrypto as unknown as Parameters<typeof cryptoProvider.set>[0]);

/** The kit is plain JavaScript that a gateway runs as it stands; its modules are loaded from there. */
// biome-ignore lint/suspicious/noExplicitAny: modules without declarations
export async function kitModule(name: string): Promise<any> {
  return import(new URL(`../../../deploy/gateway/connector/${name}.mjs`, import.meta.url).href);
}

export interface Party {
  readonly pem: string;
  readonly der: Buffer;
  readonly key: KeyObject;
  readonly keys: webcrypto.CryptoKeyPair;
  readonly name: string;
}

/** A compact JWS as ES256, whatever its header says. */
export function jwsBy(
  { der, key }: Party,
  { alg = 'ES256', type, text }: { alg?: string; type: string; text: string },
) {
  const header = { alg, typ: type, x5c: [der.toString('base64')] };
  const signed = [JSON.stringify(header), text].map((part) => Buffer.from(part).toString('base64url')).join('.');
  return `${signed}.${sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

export async function crlBy(
  { keys, name }: Party,
  {
    serials,
    thisUpdate = new Date(),
    lifeMs = 6 * 3_600_000,
  }: { serials: readonly string[]; thisUpdate?: Date; lifeMs?: number },
): Promise<Buffer> {
  const crl = await X509CrlGenerator.create({
    issuer: name,
    thisUpdate,
    nextUpdate: new Date(thisUpdate.getTime() + lifeMs),
    entries: serials.map((serialNumber) => ({ serialNumber, revocationDate: thisUpdate })),
    signingAlgorithm: ALGORITHM,
    signingKey: keys.privateKey,
  });
  return Buffer.from(crl.rawData);
}

/** A CA, unless its name has an OU or a DNS name is given. */
export async function certify(
  name: string,
  issuer?: Party,
  { serialHex, dns }: { serialHex?: string; dns?: string } = {},
): Promise<Party> {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const usages: webcrypto.KeyUsage[] = ['sign'];
  const keys = {
    privateKey: await webcrypto.subtle.importKey(
      'pkcs8',
      pair.privateKey.export({ format: 'der', type: 'pkcs8' }),
      ALGORITHM,
      true,
      usages,
    ),
    publicKey: await webcrypto.subtle.importKey(
      'spki',
      pair.publicKey.export({ format: 'der', type: 'spki' }),
      ALGORITHM,
      true,
      ['verify'],
    ),
  };
  const isCa = dns === undefined && !name.includes('OU=');
  const certificate = await X509CertificateGenerator.create({
    subject: name,
    issuer: issuer?.name ?? name,
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 86_400_000),
    publicKey: keys.publicKey,
    signingKey: (issuer?.keys ?? keys).privateKey,
    signingAlgorithm: ALGORITHM,
    ...(serialHex === undefined ? {} : { serialNumber: serialHex }),
    extensions: [
      ...(isCa ? [new BasicConstraintsExtension(true, undefined, true)] : []),
      ...(dns === undefined ? [] : [new SubjectAlternativeNameExtension([{ type: 'dns', value: dns }])]),
    ],
  });
  const der = Buffer.from(certificate.rawData);
  return { pem: certificate.toString('pem'), der, key: pair.privateKey, keys, name };
}
