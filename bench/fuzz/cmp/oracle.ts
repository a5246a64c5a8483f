import { createHash, createHmac, createPublicKey, type KeyObject, pbkdf2Sync, sign, verify } from 'node:crypto';
import { bitString, explicitTag, sequence } from '../../../src/x509/der.js';
import { split } from '../tree.js';

/**
 * What a message proves, judged once more with node:crypto over its bytes and without any reader of the product. Asked
 * where the product was about to act, and used to protect a bent message anew.
 */

export type FuzzKey =
  | { readonly kind: 'signature'; readonly key: KeyObject }
  | { readonly kind: 'mac'; readonly secret: Buffer };

/** A message in the parts that protection knows. */
interface Parts {
  readonly header: Buffer;
  readonly body: Buffer;
  /** Content of the BIT STRING, without its count of unused bits. */
  readonly protection: Buffer | undefined;
  readonly extraCerts: Buffer | undefined;
}

function partsOf(der: Buffer): Parts {
  const [root] = split(der);
  const [header, body, ...rest] = split(root?.content ?? der);
  if (header === undefined || body === undefined) throw new Error('neither header nor body');
  const protection = rest.find(({ tag }) => tag === 0xa0);
  return {
    header: header.der,
    body: body.der,
    protection: protection === undefined ? undefined : split(protection.content)[0]?.content.subarray(1),
    extraCerts: rest.find(({ tag }) => tag === 0xa1)?.der,
  };
}

/** Is the message protected by one of these keys? */
export function isProtected(der: Buffer, keys: readonly FuzzKey[]): boolean {
  const { header, body, protection } = partsOf(der);
  if (protection === undefined) return false;
  const bytes = sequence(header, body);
  return keys.some((one) =>
    one.kind === 'mac'
      ? macOf(header, one.secret, bytes)?.equals(protection) === true
      : verify(DIGEST_BY_ECDSA[algorithmOf(header)] ?? 'sha256', bytes, createPublicKey(one.key), protection),
  );
}

/** Header and body as they became, under a right protection. */
export function protectAnew(der: Buffer, key: FuzzKey): Buffer {
  const { header, body, extraCerts } = partsOf(der);
  const bytes = sequence(header, body);
  const bits = key.kind === 'mac' ? macOf(header, key.secret, bytes) : sign('sha256', bytes, key.key);
  return sequence(
    header,
    body,
    explicitTag(0, bitString(bits ?? Buffer.alloc(32))),
    extraCerts === undefined ? Buffer.alloc(0) : extraCerts,
  );
}

/** One message's header and certificates around another's body. */
export function withBodyOf(own: Buffer, foreign: Buffer): Buffer {
  const { header, extraCerts = Buffer.alloc(0) } = partsOf(own);
  return sequence(header, partsOf(foreign).body, extraCerts);
}

/** Is the one request in the message signed by the key that it asks for? */
export function provesPossession(der: Buffer): boolean {
  const [body] = split(partsOf(der).body);
  const [content] = split(body?.content ?? der);
  if (body === undefined || content === undefined) return false;
  if (body.tag === P10CR) {
    const [info, , signature] = split(content.content);
    const [, , spki] = split(info?.content ?? Buffer.alloc(0));
    return isSignedBy(spki?.der, info?.der, signature?.content);
  }
  const [request] = split(content.content);
  const [certReq, popo] = split(request?.content ?? Buffer.alloc(0));
  const [, template] = split(certReq?.content ?? Buffer.alloc(0));
  const publicKey = split(template?.content ?? Buffer.alloc(0)).find(({ tag }) => tag === 0xa6);
  const proof = popo?.tag === 0xa1 ? split(popo.content) : [];
  const input = proof.find(({ tag }) => tag === 0xa0);
  const signed = input === undefined ? certReq?.der : sequence(input.content);
  const spki = publicKey === undefined ? undefined : sequence(publicKey.content);
  return isSignedBy(spki, signed, proof.find(({ tag }) => tag === 0x03)?.content);
}

/** The same message with the first request's proof made anew, by this key, over what it became. */
export function proveAnew(der: Buffer, key: KeyObject): Buffer {
  const { header, body, extraCerts, protection } = partsOf(der);
  const [outer] = split(body);
  const [content] = split(outer?.content ?? body);
  if (outer === undefined || content === undefined) throw new Error('no body');
  const made = outer.tag === P10CR ? provenCsr(content.content, key) : provenRequests(content.content, key);
  return sequence(
    header,
    explicitTag(outer.tag & 0x1f, sequence(...made)),
    protection === undefined ? Buffer.alloc(0) : explicitTag(0, bitString(protection)),
    extraCerts === undefined ? Buffer.alloc(0) : extraCerts,
  );
}

function provenCsr(content: Buffer, key: KeyObject): Buffer[] {
  const [info, algorithm] = split(content);
  if (info === undefined || algorithm === undefined) throw new Error('no request');
  return [info.der, algorithm.der, bitString(sign('sha256', info.der, key))];
}

function provenRequests(content: Buffer, key: KeyObject): Buffer[] {
  const [first, ...more] = split(content);
  const [certReq, popo, ...rest] = split(first?.content ?? Buffer.alloc(0));
  if (certReq === undefined || popo?.tag !== 0xa1) throw new Error('no proof to make anew');
  const proof = split(popo.content);
  const input = proof.find(({ tag }) => tag === 0xa0);
  const signature = bitString(sign('sha256', input === undefined ? certReq.der : sequence(input.content), key));
  const renewed = proof.map((part) => (part.tag === 0x03 ? signature : part.der));
  const request = sequence(certReq.der, taggedWhole(0xa1, renewed), ...rest.map((part) => part.der));
  return [request, ...more.map((part) => part.der)];
}

function taggedWhole(tag: number, parts: readonly Buffer[]): Buffer {
  const whole = sequence(...parts);
  return Buffer.concat([Buffer.from([tag]), whole.subarray(1)]);
}

function isSignedBy(spki: Buffer | undefined, signed: Buffer | undefined, bits: Buffer | undefined): boolean {
  if (spki === undefined || signed === undefined || bits === undefined) return false;
  const key = createPublicKey({ key: spki, format: 'der', type: 'spki' });
  return ['sha256', 'sha384', 'sha512'].some((digest) => verify(digest, signed, key, bits.subarray(1)));
}

/** Content of the OID in protectionAlg, hex; empty where there is none. */
function algorithmOf(header: Buffer): string {
  return algorithmParts(header)[0]?.content.toString('hex') ?? '';
}

function algorithmParts(header: Buffer): ReturnType<typeof split> {
  const field = split(split(header)[0]?.content ?? header).find(({ tag }) => tag === 0xa1);
  return field === undefined ? [] : split(split(field.content)[0]?.content ?? Buffer.alloc(0));
}

/** PBM (RFC 9810 section 5.1.3.1) or PBMAC1 (RFC 8018 appendix A.5), as the header's parameters say. */
function macOf(header: Buffer, secret: Buffer, bytes: Buffer): Buffer | undefined {
  const [algorithm, parameters] = algorithmParts(header);
  if (algorithm === undefined || parameters === undefined) return undefined;
  try {
    const id = algorithm.content.toString('hex');
    if (id === PBM) return pbmOf(split(parameters.content), secret, bytes);
    return id === PBMAC1 ? pbmac1Of(split(parameters.content), secret, bytes) : undefined;
  } catch {
    return undefined; // bent beyond what could be computed: no MAC is right
  }
}

type Elements = ReturnType<typeof split>;

function pbmOf([salt, owf, rounds, hmac]: Elements, secret: Buffer, bytes: Buffer): Buffer {
  let key = Buffer.concat([secret, salt?.content ?? Buffer.alloc(0)]);
  const count = number(rounds);
  for (let round = 0; round < count; round += 1) key = createHash(digestOf(owf)).update(key).digest();
  return createHmac(digestOf(hmac), key).update(bytes).digest();
}

function pbmac1Of([derivation, scheme]: Elements, secret: Buffer, bytes: Buffer): Buffer {
  const [, parameters] = split(derivation?.content ?? Buffer.alloc(0));
  const [salt, rounds, ...rest] = split(parameters?.content ?? Buffer.alloc(0));
  const length = rest[0]?.tag === 0x02 ? number(rest[0]) : 32;
  const prf = rest.find(({ tag }) => tag === 0x30);
  const key = pbkdf2Sync(secret, salt?.content ?? Buffer.alloc(0), number(rounds), length, digestOf(prf));
  return createHmac(digestOf(scheme), key).update(bytes).digest();
}

function number(element: Elements[number] | undefined): number {
  const value = Number(BigInt(`0x${element?.content.toString('hex') || '0'}`));
  if (value > ROUNDS_MAX) throw new Error('more rounds than anybody computes');
  return value;
}

function digestOf(algorithm: Elements[number] | undefined): string {
  const [id] = split(algorithm?.content ?? Buffer.alloc(0));
  const digest = DIGESTS[id?.content.toString('hex') ?? ''];
  if (digest === undefined) throw new Error('no hash of ours');
  return digest;
}

const P10CR = 0xa4;
const ROUNDS_MAX = 20_000;
const PBM = '2a864886f67d07420d';
const PBMAC1 = '2a864886f70d01050e';
const DIGEST_BY_ECDSA: Readonly<Record<string, string>> = {
  '2a8648ce3d040302': 'sha256',
  '2a8648ce3d040303': 'sha384',
  '2a8648ce3d040304': 'sha512',
};
const DIGESTS: Readonly<Record<string, string>> = {
  '608648016503040201': 'sha256',
  '608648016503040202': 'sha384',
  '608648016503040203': 'sha512',
  '2a864886f70d0207': 'sha1',
  '2b06010505080102': 'sha1',
  '2a864886f70d0209': 'sha256',
  '2a864886f70d020a': 'sha384',
  '2a864886f70d020b': 'sha512',
};
