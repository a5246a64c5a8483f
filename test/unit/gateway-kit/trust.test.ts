import 'reflect-metadata';
import { generateKeyPairSync, type KeyObject, sign, webcrypto } from 'node:crypto';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { BasicConstraintsExtension, cryptoProvider, X509CertificateGenerator } from '@peculiar/x509';
import { kitModule } from './kit.js';

const { makeTrust } = await kitModule('trust');
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const TEXT = '{"verdict":"permit"}';

interface Party {
  readonly pem: string;
  readonly der: Buffer;
  readonly key: KeyObject;
  readonly keys: webcrypto.CryptoKeyPair;
  readonly name: string;
}

let root: Party;
let ca: Party;
let decision: Party;
let station: Party;

beforeAll(async () => {
  cryptoProvider.set(webcrypto as unknown as Parameters<typeof cryptoProvider.set>[0]);
  root = await certify('CN=Services Root');
  ca = await certify('CN=Services CA', root);
  decision = await certify('OU=decision, CN=decision-1', ca);
  station = await certify('OU=station, CN=station-1', ca);
});

describe('what the connector believes', () => {
  test('a decision under a decision key that chains to the Services Root', () => {
    expect(trust().decision(TEXT, signed(decision), decision.pem)).toEqual({ verdict: 'permit' });
  });

  test('no decision with another text, or a signature with one bit changed', () => {
    expect(() => trust().decision(`${TEXT} `, signed(decision), decision.pem)).toThrow('the signature does not hold');
    const changed = signed(decision);
    changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
    expect(() => trust().decision(TEXT, changed, decision.pem)).toThrow('the signature does not hold');
  });

  test('no decision under another role of the same CA, however well signed', () => {
    expect(() => trust().decision(TEXT, signed(station), station.pem)).toThrow('no decision key');
  });

  test('no decision under a CA of another root, although it has the same name', async () => {
    const otherRoot = await certify('CN=Services Root');
    const otherCa = await certify('CN=Services CA', otherRoot);
    const other = await certify('OU=decision, CN=decision-1', otherCa);
    expect(() => trust().decision(TEXT, signed(other), other.pem)).toThrow('no CA of "intermediates" vouches for');
    expect(() => trust({ intermediatesPem: otherCa.pem }).decision(TEXT, signed(other), other.pem)).toThrow(
      'the Services Root does not vouch for',
    );
  });

  test('no decision under a certificate whose time is over', () => {
    const now = () => Date.now() + 2 * 86_400_000;
    expect(() => trust({ now }).decision(TEXT, signed(decision), decision.pem)).toThrow('outside its life');
  });

  test('a page of the feed as ES256, and neither "none" nor another type', () => {
    expect(trust().page(jws('ES256', 'femtopki-feed+jws'))).toEqual({ verdict: 'permit' });
    expect(() => trust().page(jws('none', 'femtopki-feed+jws'))).toThrow('no page of the feed');
    expect(() => trust().page(jws('ES256', 'femtopki-snapshot+jws'))).toThrow('no page of the feed');
    expect(() => trust().page(`${jws('ES256', 'femtopki-feed+jws').slice(0, -4)}AAAA`)).toThrow('does not hold');
  });
});

function trust(options: { intermediatesPem?: string; now?: () => number } = {}) {
  return makeTrust({ rootPem: root.pem, intermediatesPem: ca.pem, ...options });
}

function signed({ key }: Party): Buffer {
  return sign('sha256', Buffer.from(TEXT), key);
}

function jws(alg: string, typ: string): string {
  const header = { alg, typ, x5c: [decision.der.toString('base64')] };
  const text = [JSON.stringify(header), TEXT].map((part) => Buffer.from(part).toString('base64url')).join('.');
  const signature = sign('sha256', Buffer.from(text), { key: decision.key, dsaEncoding: 'ieee-p1363' });
  return `${text}.${signature.toString('base64url')}`;
}

async function certify(name: string, issuer?: Party): Promise<Party> {
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
  const isCa = !name.includes('OU=');
  const certificate = await X509CertificateGenerator.create({
    subject: name,
    issuer: issuer?.name ?? name,
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 86_400_000),
    publicKey: keys.publicKey,
    signingKey: (issuer?.keys ?? keys).privateKey,
    signingAlgorithm: ALGORITHM,
    extensions: isCa ? [new BasicConstraintsExtension(true, undefined, true)] : [],
  });
  const der = Buffer.from(certificate.rawData);
  return { pem: certificate.toString('pem'), der, key: pair.privateKey, keys, name };
}
