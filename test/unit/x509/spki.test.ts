import { spawnSync } from 'node:child_process';
import { createECDH, generateKeyPairSync, sign, verify } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { bitString, integer, nullValue, oid, sequence } from '../../../src/x509/der.js';
import { OID } from '../../../src/x509/oids.js';
import { importPublicKey, readSpki, rsaNumbers, spkiOfPoint } from '../../../src/x509/spki.js';

const CURVES = ['P-256', 'P-384'] as const;
const OPENSSL_NAME = { 'P-256': 'prime256v1', 'P-384': 'secp384r1' } as const;
const CURVE_OID = { 'P-256': OID.prime256v1, 'P-384': OID.secp384r1 } as const;

const ecSpki = (curveOid: string, point: Buffer): Buffer =>
  sequence(sequence(oid(OID.ecPublicKey), oid(curveOid)), bitString(point));
const pointOf = (curve: (typeof CURVES)[number], form: 'uncompressed' | 'compressed' | 'hybrid'): Buffer => {
  const ecdh = createECDH(OPENSSL_NAME[curve]);
  ecdh.generateKeys();
  return ecdh.getPublicKey(null, form);
};
const weak = expect.objectContaining({ code: 'KEY_WEAK' });
const codeOf = (act: () => unknown): unknown => {
  try {
    act();
    return 'accepted';
  } catch (thrown) {
    return thrown;
  }
};

describe.each(CURVES)('EC keys on %s', (curve) => {
  test('an uncompressed point is read, and its key object verifies', () => {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: curve });
    const spki = readSpki(publicKey.export({ format: 'der', type: 'spki' }));
    expect(spki.algorithm).toBe(curve);
    expect(spki.keyIdentifier).toHaveLength(20);
    const data = Buffer.from('proof');
    expect(verify('sha256', data, importPublicKey(spki), sign('sha256', data, privateKey))).toBe(true);
    expect(importPublicKey(spki).export({ format: 'der', type: 'spki' })).toEqual(spki.spkiDer);
  });

  test.each(['compressed', 'hybrid'] as const)('a %s point is weak: one key must have one encoding', (form) => {
    expect(codeOf(() => readSpki(ecSpki(CURVE_OID[curve], pointOf(curve, form))))).toEqual(weak);
  });

  test('a point off the curve, or with a coordinate at or above p, is weak', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 7 }),
        fc.integer({ min: 1, max: pointOf(curve, 'uncompressed').length - 1 }),
        (bit, at) => {
          const point = pointOf(curve, 'uncompressed');
          point[at] = (point[at] ?? 0) ^ (1 << bit);
          expect(codeOf(() => readSpki(ecSpki(CURVE_OID[curve], point)))).toEqual(weak);
        },
      ),
      { numRuns: 60 },
    );
    const all = Buffer.alloc(pointOf(curve, 'uncompressed').length, 0xff);
    all[0] = 4;
    expect(codeOf(() => readSpki(ecSpki(CURVE_OID[curve], all)))).toEqual(weak);
  });

  test('parameters NULL, absent, or an explicit curve are weak', () => {
    const point = pointOf(curve, 'uncompressed');
    const explicit = sequence(integer(1), sequence(oid('1.2.840.10045.1.1'), integer(23)));
    for (const parameters of [nullValue(), Buffer.alloc(0), explicit]) {
      const spki = sequence(sequence(oid(OID.ecPublicKey), parameters), bitString(point));
      expect(codeOf(() => readSpki(spki))).toEqual(weak);
    }
  });

  test('spkiOfPoint writes what OpenSSL writes', () => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: curve });
    const der = publicKey.export({ format: 'der', type: 'spki' });
    expect(spkiOfPoint(curve, readSpki(der).keyBits)).toEqual(der);
  });
});

describe('other keys', () => {
  test.each([
    ['secp256k1', generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey],
    ['P-521', generateKeyPairSync('ec', { namedCurve: 'P-521' }).publicKey],
    ['Ed25519', generateKeyPairSync('ed25519').publicKey],
    ['X25519', generateKeyPairSync('x25519').publicKey],
    ['RSA-PSS', generateKeyPairSync('rsa-pss', { modulusLength: 2_048 }).publicKey],
  ])('%s is weak, also where RSA is allowed', (_name, publicKey) => {
    const der = publicKey.export({ format: 'der', type: 'spki' });
    expect(codeOf(() => readSpki(der, { allowRsa: true }))).toEqual(weak);
  });

  test('RSA is weak unless allowed, and then read in one form only', () => {
    const der = generateKeyPairSync('rsa', { modulusLength: 2_048 }).publicKey.export({ format: 'der', type: 'spki' });
    expect(codeOf(() => readSpki(der))).toEqual(weak);
    const spki = readSpki(der, { allowRsa: true });
    expect(spki.algorithm).toBe('RSA');
    expect(rsaNumbers(spki).exponent).toBe(65_537n);
    const withoutNull = sequence(sequence(oid(OID.rsaEncryption)), bitString(spki.keyBits));
    expect(codeOf(() => readSpki(withoutNull, { allowRsa: true }))).toEqual(weak);
    const negative = sequence(
      sequence(oid(OID.rsaEncryption), nullValue()),
      bitString(sequence(Buffer.from('020180', 'hex'), integer(3))),
    );
    expect(codeOf(() => readSpki(negative, { allowRsa: true }))).toEqual(weak);
  });

  test('an RSA key of 524,288 bits is refused before any arithmetic', () => {
    const huge = sequence(
      sequence(oid(OID.rsaEncryption), nullValue()),
      bitString(sequence(integer(Buffer.alloc(65_536, 0xff)), integer(65_537))),
    );
    expect(codeOf(() => readSpki(huge, { allowRsa: true }))).toEqual(weak);
  });

  test('what is no SubjectPublicKeyInfo at all is BAD_REQUEST', () => {
    for (const junk of ['', '30', '3000', '0500', '30030101ff', '3080']) {
      expect(codeOf(() => readSpki(Buffer.from(junk, 'hex')))).toMatchObject({ code: 'BAD_REQUEST' });
    }
  });
});

test('the 27-byte point at infinity is refused by a process that lives on', () => {
  // Node 20 aborts, uncatchably, when a key object of this SPKI is asked for its details: hence a child process.
  const script = `
    const { readSpki } = await import(${JSON.stringify(new URL('../../../src/x509/spki.ts', import.meta.url).href)});
    const spki = Buffer.from('3019301306072a8648ce3d020106082a8648ce3d03010703020000', 'hex');
    try { readSpki(spki); console.log('accepted'); } catch (thrown) { console.log(thrown.code); }
  `;
  const loader = fileURLToPath(new URL('../../../bin/ts-loader.mjs', import.meta.url));
  const child = spawnSync(process.execPath, ['--import', loader, '--input-type=module', '-e', script], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'] },
  });
  expect({ status: child.status, signal: child.signal, stdout: child.stdout.trim() }).toEqual({
    status: 0,
    signal: null,
    stdout: 'KEY_WEAK',
  });
});
