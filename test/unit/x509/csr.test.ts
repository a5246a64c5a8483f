import { createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { FemtoError } from '../../../src/platform/errors.js';
import { csrBytesFromText, readCsr } from '../../../src/x509/csr.js';
import {
  bitString,
  boolean,
  explicitTag,
  implicitTag,
  integer,
  namedBits,
  nullValue,
  octetString,
  oid,
  printableString,
  sequence,
  set,
  TAG,
  tlv,
  utf8String,
} from '../../../src/x509/der.js';
import { exposedKeys } from '../../../src/x509/exposed-key.js';
import { extension } from '../../../src/x509/extension.js';
import { checkWishes, type KeyRequest, verifyPossession } from '../../../src/x509/key-request.js';
import { OID } from '../../../src/x509/oids.js';
import { algorithmIdentifier } from '../../../src/x509/signature-algorithm.js';
import { readSpki } from '../../../src/x509/spki.js';
import { FQDN } from './hierarchy.js';
import { openssl } from './openssl.js';

const unit = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const unitSpki = readSpki(unit.publicKey.export({ format: 'der', type: 'spki' }));
const unitKeyPem = unit.privateKey.export({ format: 'pem', type: 'pkcs8' }) as string;
const P256 = 'ecdsa-with-SHA256';

interface Parts {
  version?: Buffer;
  subject?: Buffer;
  spki?: Buffer;
  attributes?: Buffer[];
  algorithm?: Buffer;
  tail?: Buffer;
}

/** A request whose every part can be bent; the signature is right for what it is. */
function csr({ version, subject, spki, attributes, algorithm, tail }: Parts = {}): Buffer {
  const info = sequence(
    version ?? integer(0),
    subject ?? sequence(),
    spki ?? unitSpki.spkiDer,
    explicitTag(0, ...(attributes ?? [])),
  );
  const signature = bitString(sign('sha256', info, unit.privateKey));
  return Buffer.concat([sequence(info, algorithm ?? algorithmIdentifier(P256), signature), tail ?? Buffer.alloc(0)]);
}

const wishing = (...extensions: Buffer[]): Buffer =>
  csr({ attributes: [sequence(oid(OID.extensionRequest), set(sequence(...extensions)))] });
const san = (...names: Buffer[]): Buffer => extension(OID.subjectAltName, false, sequence(...names));
const dns = (name: string): Buffer => implicitTag(2, Buffer.from(name, 'latin1'));
const named = (value: Buffer): Buffer => sequence(set(sequence(oid(OID.commonName), value)));
const coded = (code: string): unknown => expect.objectContaining({ code });

describe('requests made by openssl', () => {
  const config = (body: string): Record<string, string> => ({ 'unit.key': unitKeyPem, 'req.cnf': body });
  const request = (body: string, ...args: string[]): KeyRequest => {
    const pem = openssl(['req', '-new', '-key', 'unit.key', '-config', 'req.cnf', ...args], config(body));
    return readCsr(csrBytesFromText(pem));
  };
  const PLAIN = '[req]\nprompt=no\nutf8=yes\ndistinguished_name=dn\n[dn]\n';

  test('name, SAN and challenge password are read, and possession is proved', () => {
    const read = request(
      `[req]\nprompt=no\ndistinguished_name=dn\nattributes=at\nreq_extensions=ex\n[dn]\nCN=${FQDN}\n[at]\nchallengePassword=nonce-0123456789\n[ex]\nsubjectAltName=DNS:${FQDN},IP:10.0.0.1\nkeyUsage=critical,digitalSignature\nbasicConstraints=CA:FALSE\n`,
    );
    expect(read).toMatchObject({
      commonName: FQDN,
      challengePassword: 'nonce-0123456789',
      sanDns: [FQDN],
      signatureAlgorithm: P256,
      asksFor: { ca: false, keyUsageCertSign: false, otherNames: ['ip:0a000001'] },
    });
    expect(read.spki.spkiHash).toEqual(unitSpki.spkiHash);
    expect(verifyPossession(read)).toBe(true);
    expect(() => checkWishes(read, { fqdn: FQDN })).not.toThrow();
  });

  test('an empty subject and a CN that is the unit serial are fine', () => {
    const serial = request(`${PLAIN}CN=SHB-24-00817\n`);
    expect(() => checkWishes(serial, { fqdn: FQDN })).not.toThrow();
    const nameless = request(`${PLAIN}CN=x\n`, '-subj', '/');
    expect(nameless.commonName).toBeUndefined();
    expect(() => checkWishes(nameless, { fqdn: FQDN })).not.toThrow();
  });

  test.each([
    ['another unit in the CN', `${PLAIN}CN=02${FQDN.slice(2)}\n`],
    ['a wildcard CN', `${PLAIN}CN=*.femto.hanbit.example\n`],
    [
      'another name in the SAN',
      `[req]\nprompt=no\ndistinguished_name=dn\nreq_extensions=ex\n[dn]\nCN=${FQDN}\n[ex]\nsubjectAltName=DNS:${FQDN},DNS:02${FQDN.slice(2)}\n`,
    ],
    [
      'a wildcard SAN',
      `[req]\nprompt=no\ndistinguished_name=dn\nreq_extensions=ex\n[dn]\nCN=${FQDN}\n[ex]\nsubjectAltName=DNS:*.hanbit.example\n`,
    ],
    [
      'CA:TRUE',
      `[req]\nprompt=no\ndistinguished_name=dn\nreq_extensions=ex\n[dn]\nCN=${FQDN}\n[ex]\nbasicConstraints=critical,CA:TRUE\n`,
    ],
    [
      'keyCertSign',
      `[req]\nprompt=no\ndistinguished_name=dn\nreq_extensions=ex\n[dn]\nCN=${FQDN}\n[ex]\nkeyUsage=critical,keyCertSign\n`,
    ],
  ])('%s is ID_MISMATCH', (_name, body) => {
    expect(() => checkWishes(request(body), { fqdn: FQDN })).toThrow(coded('ID_MISMATCH'));
  });

  test('names compare without case, and a look-alike letter is BAD_REQUEST', () => {
    expect(() => checkWishes(request(`${PLAIN}CN=${FQDN.toUpperCase()}\n`), { fqdn: FQDN })).not.toThrow();
    const lookAlike = request(`${PLAIN}CN=00005e005317.f\u0435mto.hanbit.example\n`, '-utf8');
    expect(() => checkWishes(lookAlike, { fqdn: FQDN })).toThrow(coded('BAD_REQUEST'));
  });
});

describe('form, RFC 2986 section 4', () => {
  test('the bare minimum is read', () => {
    expect(verifyPossession(readCsr(csr()))).toBe(true);
  });

  test.each<[string, Buffer]>([
    ['version 1', csr({ version: integer(1) })],
    ['a version padded to two octets', csr({ version: Buffer.from('02020000', 'hex') })],
    ['trailing bytes', csr({ tail: Buffer.from([0]) })],
    [
      'two extensionRequest attributes',
      csr({ attributes: [0, 1].map(() => sequence(oid(OID.extensionRequest), set(sequence(san(dns(FQDN)))))) }),
    ],
    ['an attribute without value', csr({ attributes: [sequence(oid(OID.extensionRequest), set())] })],
    [
      'two sets of extensions in one attribute',
      csr({
        attributes: [sequence(oid(OID.extensionRequest), set(sequence(san(dns(FQDN))), sequence(san(dns(FQDN)))))],
      }),
    ],
    ['an empty list of extensions', wishing()],
    ['one extension twice', wishing(san(dns(FQDN)), san(dns(FQDN)))],
    ['an unknown critical extension', wishing(extension('1.2.3.4', true, nullValue()))],
    [
      'critical FALSE spelt out',
      wishing(sequence(oid(OID.subjectAltName), boolean(false), octetString(sequence(dns(FQDN))))),
    ],
    ['a malformed known extension', wishing(extension(OID.basicConstraints, true, integer(1)))],
    ['a key usage with no bit', wishing(extension(OID.keyUsage, true, namedBits([])))],
    ['an empty SAN', wishing(san())],
    [
      'seventeen attributes',
      csr({ attributes: Array.from({ length: 17 }, (_, n) => sequence(oid(`1.2.3.${n}`), set(nullValue()))) }),
    ],
    [
      'two common names',
      csr({ subject: sequence(...[0, 1].map(() => set(sequence(oid(OID.commonName), utf8String('x'))))) }),
    ],
    ['a NUL in the name', csr({ subject: named(utf8String(`${FQDN}\u0000.evil.example`)) })],
    ['a control character', csr({ subject: named(utf8String('a\u001b[31m')) })],
    ['a right-to-left override', csr({ subject: named(utf8String('abc\u202efed')) })],
    ['invalid UTF-8', csr({ subject: named(tlv(TAG.UTF8_STRING, Buffer.from([0x61, 0xc0, 0x80]))) })],
    ['T61String', csr({ subject: named(tlv(TAG.T61_STRING, Buffer.from('x'))) })],
    ['BMPString', csr({ subject: named(tlv(TAG.BMP_STRING, Buffer.from([0, 0x61]))) })],
    ['a PrintableString with an at sign', csr({ subject: named(printableString('a@b')) })],
    ['a name of 10 kB', csr({ subject: named(utf8String('x'.repeat(10_000))) })],
    ['a NUL in the SAN', wishing(san(dns(`${FQDN}\u0000.evil.example`)))],
    ['bytes above ASCII in the SAN', wishing(san(dns('caf\u00e9.example')))],
    ['more than 16 KiB', Buffer.concat([csr(), Buffer.alloc(16_384)])],
    ['nothing', Buffer.alloc(0)],
  ])('%s is BAD_REQUEST', (_name, der) => {
    expect(() => readCsr(der)).toThrow(coded('BAD_REQUEST'));
  });

  test('an unknown extension that is not critical is recorded and otherwise ignored', () => {
    expect(readCsr(wishing(extension('1.3.6.1.5.5.7.1.24', false, Buffer.alloc(0)))).asksFor.extensionOids).toEqual([
      '1.3.6.1.5.5.7.1.24',
    ]);
  });
});

describe('keys and algorithms', () => {
  test.each<[string, Buffer]>([
    ['a SHA-1 signature', csr({ algorithm: sequence(oid('1.2.840.10045.4.1')) })],
    ['ECDSA with NULL parameters', csr({ algorithm: sequence(oid(OID.ecdsaWithSha256), nullValue()) })],
    [
      'the point at infinity',
      csr({ spki: Buffer.from('3019301306072a8648ce3d020106082a8648ce3d03010703020000', 'hex') }),
    ],
    [
      'an RSA key',
      csr({
        spki: generateKeyPairSync('rsa', { modulusLength: 2_048 }).publicKey.export({ format: 'der', type: 'spki' }),
      }),
    ],
  ])('%s is KEY_WEAK', (_name, der) => {
    expect(() => readCsr(der)).toThrow(coded('KEY_WEAK'));
  });

  test('a request signed by another key, or bent after signing, does not verify', () => {
    const other = readSpki(
      generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'der', type: 'spki' }),
    );
    expect(verifyPossession(readCsr(csr({ spki: other.spkiDer })))).toBe(false);
    const read = readCsr(csr());
    expect(verifyPossession({ ...read, signature: Buffer.concat([read.signature, Buffer.from([0])]) })).toBe(false);
    expect(verifyPossession({ ...read, signature: Buffer.alloc(0) })).toBe(false);
    expect(verifyPossession({ ...read, signatureAlgorithm: 'sha256WithRSAEncryption' })).toBe(false);
  });
});

describe('private keys sent by mistake are KEY_BLOCKED, wherever they hide', () => {
  const pkcs8 = unit.privateKey.export({ format: 'der', type: 'pkcs8' });
  const sec1 = unit.privateKey.export({ format: 'der', type: 'sec1' });
  const encrypted = unit.privateKey.export({ format: 'der', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'x' });
  const rsaKey = generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey;
  const rsaSpkiDer = createPublicKey(rsaKey).export({ format: 'der', type: 'spki' });
  const rsaHash = readSpki(rsaSpkiDer, { allowRsa: true }).spkiHash;
  test.each<[string, Buffer | string]>([
    ['PEM PKCS#8', unitKeyPem],
    [
      'PEM SEC1 behind a request',
      `${openssl(['req', '-new', '-key', 'k', '-subj', '/CN=x'], { k: unitKeyPem })}${unit.privateKey.export({ format: 'pem', type: 'sec1' })}`,
    ],
    ['DER PKCS#8', pkcs8],
    ['DER SEC1', sec1],
    ['DER encrypted PKCS#8', encrypted],
    ['DER RSA PKCS#1', rsaKey.export({ format: 'der', type: 'pkcs1' })],
    ['DER RSA PKCS#8', rsaKey.export({ format: 'der', type: 'pkcs8' })],
    ['base64 of PKCS#8', pkcs8.toString('base64')],
    ['an attribute of the request', csr({ attributes: [sequence(oid('1.2.3.4'), set(octetString(pkcs8)))] })],
    [
      'PKCS#12',
      Buffer.from(
        openssl(['pkcs12', '-export', '-nocerts', '-inkey', 'k', '-passout', 'pass:x'], { k: unitKeyPem }),
        'latin1',
      ),
    ],
  ])('%s', (_name, upload) => {
    expect(() => readCsr(csrBytesFromText(upload))).toThrow(coded('KEY_BLOCKED'));
  });

  test.each<[string, Buffer | string, () => Buffer]>([
    ['PKCS#8 as PEM', unitKeyPem, () => unitSpki.spkiHash],
    ['SEC1 as DER', sec1, () => unitSpki.spkiHash],
    ['PKCS#8 in base64', pkcs8.toString('base64'), () => unitSpki.spkiHash],
    [
      'PKCS#8 in an attribute',
      csr({ attributes: [sequence(oid('1.2.3.4'), set(octetString(pkcs8)))] }),
      () => unitSpki.spkiHash,
    ],
    ['RSA PKCS#8', rsaKey.export({ format: 'der', type: 'pkcs8' }), () => rsaHash],
    ['RSA PKCS#1', rsaKey.export({ format: 'der', type: 'pkcs1' }), () => rsaHash],
  ])('the exposed key is named for the block list: %s', (_name, upload, hash) => {
    expect(exposedKeys(Buffer.from(upload))).toEqual([hash()]);
  });

  test('also where the bytes come as DER and skip the text form, as in CMP', () => {
    expect(() => readCsr(csr({ attributes: [sequence(oid('1.2.3.4'), set(octetString(pkcs8)))] }))).toThrow(
      coded('KEY_BLOCKED'),
    );
  });

  test('marks of a private key with junk behind them expose nothing and end nothing', () => {
    for (const hex of [
      '0201010420',
      `0201010420${'00'.repeat(32)}`,
      `0201010430${'ff'.repeat(48)}`,
      '0201000282ffff',
      '02010002820001',
    ]) {
      expect(exposedKeys(Buffer.from(hex, 'hex'))).toEqual([]);
    }
  });
});

describe('text forms', () => {
  const der = csr();
  const base64 = der.toString('base64');
  test.each<[string, string | Buffer]>([
    ['DER', der],
    ['base64 on one line', base64],
    ['base64 with CRLF', base64.replace(/.{64}/g, '$&\r\n')],
    ['PEM', `-----BEGIN CERTIFICATE REQUEST-----\n${base64}\n-----END CERTIFICATE REQUEST-----\n`],
    [
      'PEM of the old label',
      `-----BEGIN NEW CERTIFICATE REQUEST-----\n${base64}\n-----END NEW CERTIFICATE REQUEST-----`,
    ],
  ])('%s is read', (_name, text) => {
    expect(csrBytesFromText(text)).toEqual(der);
  });

  test.each<[string, string | Buffer]>([
    ['a byte order mark', `\ufeff${base64}`],
    ['a NUL', `${base64}\u0000`],
    ['bad base64', `${base64}!`],
    ['two requests', `-----BEGIN CERTIFICATE REQUEST-----\n${base64}\n-----END CERTIFICATE REQUEST-----\n`.repeat(2)],
    ['another label', `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`],
    [
      'PEM inside base64',
      Buffer.from(`-----BEGIN CERTIFICATE REQUEST-----\n${base64}\n-----END CERTIFICATE REQUEST-----\n`).toString(
        'base64',
      ),
    ],
    ['a megabyte', 'A'.repeat(1_048_576)],
    ['nothing', ''],
  ])('%s is BAD_REQUEST', (_name, text) => {
    expect(() => readCsr(csrBytesFromText(text))).toThrow(coded('BAD_REQUEST'));
  });
});

test('a bent request is read, or refused with a listed code; it never verifies unless its signed part is whole', () => {
  const der = wishing(san(dns(FQDN)));
  fc.assert(
    fc.property(fc.nat({ max: der.length - 1 }), fc.nat({ max: 255 }), (at, octet) => {
      const bent = Buffer.from(der);
      bent[at] = octet;
      try {
        const read = readCsr(bent);
        if (verifyPossession(read)) expect(read.signedDer.equals(readCsr(der).signedDer)).toBe(true);
      } catch (thrown) {
        if (!(thrown instanceof FemtoError)) throw thrown;
        expect(['BAD_REQUEST', 'KEY_WEAK', 'KEY_BLOCKED']).toContain(thrown.code);
      }
    }),
    { numRuns: 3_000 },
  );
});
