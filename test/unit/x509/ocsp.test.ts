import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { certificatePem } from '../../../src/x509/certificate.js';
import { certificateTemplate } from '../../../src/x509/certificate-template.js';
import {
  boolean,
  enumerated,
  explicitTag,
  integer,
  nullValue,
  octetString,
  oid,
  sequence,
} from '../../../src/x509/der.js';
import { extension } from '../../../src/x509/extension.js';
import {
  assembleOcspResponse,
  buildResponseData,
  certIdOf,
  type OcspStatus,
  ocspError,
  ocspIssuerHashes,
  ocspKeyHash,
  parseResponseData,
  readOcspRequest,
  readOcspResponse,
} from '../../../src/x509/ocsp.js';
import { ocspStatus, verifyOcspResponse } from '../../../src/x509/ocsp-status.js';
import { OID } from '../../../src/x509/oids.js';
import { PROFILES } from '../../../src/x509/profiles.js';
import { FQDN, factsOf, hierarchy, issued, keyPair, NOW, OPERATOR, operationalTemplate, signed } from './hierarchy.js';
import { openssl, opensslFile } from './openssl.js';

const { root, deviceCa } = hierarchy();
const leafKey = keyPair();
const leaf = issued(
  operationalTemplate(deviceCa).build({ ...factsOf('operational', leafKey.spki, FQDN), sanDns: FQDN }),
  deviceCa,
  deviceCa.alg,
);
const responderKey = keyPair();
const responder = issued(
  certificateTemplate({
    profile: PROFILES['ocsp-signer'],
    issuerSubjectDer: deviceCa.certificate.subjectDer,
    issuerKeyIdentifier: deviceCa.spki.keyIdentifier,
    issuerSignature: deviceCa.alg,
    operator: OPERATOR,
  }).build(factsOf('ocsp-signer', responderKey.spki, 'OCSP signer 1')),
  deviceCa,
  deviceCa.alg,
);
const hashes = ocspIssuerHashes(deviceCa.certificate.subjectDer, deviceCa.spki);
const later = (seconds: number): Date => new Date(NOW.getTime() + seconds * 1_000 + 123);
const PEMS = {
  'all.pem': certificatePem(root.certificate.der) + certificatePem(deviceCa.certificate.der),
  'ca.pem': certificatePem(deviceCa.certificate.der),
  'leaf.pem': certificatePem(leaf.der),
};

describe('requests, RFC 6960 section 4.1', () => {
  const byOpenssl = (...args: string[]): Buffer =>
    opensslFile(['ocsp', '-issuer', 'ca.pem', ...args, '-reqout', 'request'], PEMS, 'request');
  test('openssl asks with SHA-1 and a nonce, or with SHA-256 and none', () => {
    const sha1 = readOcspRequest(byOpenssl('-cert', 'leaf.pem'));
    expect(sha1.certIds).toEqual([certIdOf('sha1', hashes.sha1, leaf.serial)]);
    expect(sha1.nonce).toHaveLength(16);
    const sha256 = readOcspRequest(byOpenssl('-sha256', '-cert', 'leaf.pem', '-no_nonce'));
    expect(sha256.certIds).toEqual([certIdOf('sha256', hashes.sha256, leaf.serial)]);
    expect(sha256.nonce).toBeUndefined();
  });

  test('a serial never issued, and several in one request', () => {
    const [strange] = readOcspRequest(byOpenssl('-serial', '0x00ff12')).certIds;
    expect(strange?.serial.toString('hex')).toBe('ff12');
    expect(readOcspRequest(byOpenssl('-serial', '1', '-serial', '2', '-serial', '3')).certIds).toHaveLength(3);
  });

  const { certIdDer } = certIdOf('sha1', hashes.sha1, leaf.serial);
  const asking = (list: Buffer[], ...rest: Buffer[]): Buffer => sequence(sequence(sequence(...list), ...rest));
  const nonce = (octets: number): Buffer =>
    explicitTag(2, sequence(extension(OID.ocspNonce, false, octetString(Buffer.alloc(octets, 7)))));

  test('nonces of 1 to 128 octets are read, 0 and 129 are malformed (RFC 9654 section 2.1)', () => {
    for (const octets of [1, 16, 32, 128]) {
      expect(readOcspRequest(asking([sequence(certIdDer)], nonce(octets))).nonce).toHaveLength(octets);
    }
    for (const octets of [0, 129, 1_000]) {
      expect(() => readOcspRequest(asking([sequence(certIdDer)], nonce(octets)))).toThrow(/nonce is not 1 to 128/);
    }
  });

  test('version 1 spelt out, a requestor name and a signature are tolerated', () => {
    const tbs = sequence(
      explicitTag(0, integer(0)),
      explicitTag(1, explicitTag(4, deviceCa.certificate.subjectDer)),
      sequence(sequence(certIdDer)),
    );
    const request = sequence(tbs, explicitTag(0, sequence(nullValue())));
    expect(readOcspRequest(request).certIds).toHaveLength(1);
  });

  const algorithm = (dotted: string): Buffer => sequence(oid(dotted), nullValue());
  const certId = (hash: Buffer, name: number, key: number, serial = integer(1)): Buffer =>
    sequence(sequence(hash, octetString(Buffer.alloc(name)), octetString(Buffer.alloc(key)), serial));
  test.each<[string, Buffer]>([
    ['nothing', Buffer.alloc(0)],
    ['no request', asking([])],
    ['nine requests', asking(Array.from({ length: 9 }, () => sequence(certIdDer)))],
    ['500 requests', asking(Array.from({ length: 500 }, () => sequence(certIdDer)))],
    ['SHA-512', asking([certId(algorithm(OID.sha512), 64, 64)])],
    ['an unknown hash', asking([certId(algorithm('1.2.3'), 20, 20)])],
    ['a short name hash', asking([certId(algorithm(OID.sha1), 19, 20)])],
    ['a long key hash', asking([certId(algorithm(OID.sha1), 20, 21)])],
    ['a serial that is no INTEGER', asking([certId(algorithm(OID.sha1), 20, 20, octetString(Buffer.from([1])))])],
    ['a negative serial', asking([certId(algorithm(OID.sha1), 20, 20, integer(-1))])],
    ['a serial of 30 octets', asking([certId(algorithm(OID.sha1), 20, 20, integer(Buffer.alloc(30, 1)))])],
    ['version 2', sequence(sequence(explicitTag(0, integer(1)), sequence(sequence(certIdDer))))],
    [
      'one extension twice',
      asking(
        [sequence(certIdDer)],
        explicitTag(2, sequence(...[1, 2].map(() => extension(OID.ocspNonce, false, octetString(Buffer.alloc(16)))))),
      ),
    ],
    [
      'an unknown critical extension',
      asking([sequence(certIdDer)], explicitTag(2, sequence(extension('1.2.3', true, nullValue())))),
    ],
    [
      'an unknown critical single extension',
      asking([sequence(certIdDer, explicitTag(0, sequence(extension('1.2.3', true, nullValue()))))]),
    ],
    ['trailing bytes', Buffer.concat([asking([sequence(certIdDer)]), Buffer.from([0])])],
    ['five thousand bytes', sequence(Buffer.alloc(5_000, Buffer.from('0500', 'hex')))],
  ])('%s is BAD_REQUEST', (_name, der) => {
    expect(() => readOcspRequest(der)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  });

  test('a bent request is read or BAD_REQUEST', () => {
    const der = asking([sequence(certIdDer)], nonce(16));
    fc.assert(
      fc.property(fc.nat({ max: der.length - 1 }), fc.nat({ max: 255 }), (at, octet) => {
        const bent = Buffer.from(der);
        bent[at] = octet;
        try {
          readOcspRequest(bent);
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: 'BAD_REQUEST' });
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('answers, RFC 6960 section 4.2', () => {
  const id = certIdOf('sha1', hashes.sha1, leaf.serial);
  const data = (status: OcspStatus, nonce?: Buffer): Buffer =>
    buildResponseData({
      responderKeyHash: ocspKeyHash(responderKey.spki),
      producedAt: later(1),
      responses: [{ certIdDer: id.certIdDer, status, thisUpdate: later(0), nextUpdate: later(3_600) }],
      ...(nonce === undefined ? {} : { nonce }),
      extendedRevoke: status.kind === 'revoked',
    });
  const answer = (responseData: Buffer, key = responderKey, certs = [responder.der]): Buffer =>
    assembleOcspResponse({
      responseData,
      alg: 'ecdsa-with-SHA256',
      signature: signed(responseData, key, deviceCa.alg),
      certs,
    });
  const check = (response: Buffer, ...args: string[]): string =>
    openssl(
      [
        'ocsp',
        '-issuer',
        'ca.pem',
        '-cert',
        'leaf.pem',
        '-respin',
        'r',
        '-CAfile',
        'all.pem',
        '-no_nonce',
        '-attime',
        String((later(60).getTime() / 1_000) | 0),
        '-validity_period',
        '999999999',
        ...args,
      ],
      { ...PEMS, r: response },
    );

  test('openssl verifies good, revoked and unknown, signed by a delegate', () => {
    expect(check(answer(data({ kind: 'good' })))).toMatch(/Response verify OK\s+leaf.pem: good/);
    expect(check(answer(data({ kind: 'unknown' })))).toMatch(/Response verify OK\s+leaf.pem: unknown/);
    const revoked = check(answer(data({ kind: 'revoked', at: later(-60), reason: 'keyCompromise' })));
    expect(revoked).toMatch(/Response verify OK\s+leaf.pem: revoked/);
    expect(revoked).toContain('Reason: keyCompromise');
  });

  test('openssl refuses an answer by another key, and one by a leaf that is no responder', () => {
    expect(() => expectVerified(check(answer(data({ kind: 'good' }), keyPair())))).toThrow();
    expect(() => expectVerified(check(answer(data({ kind: 'good' }), leafKey, [leaf.der])))).toThrow();
  });

  test('what is written is read back: whole seconds, nonce, extended revoke', () => {
    const status: OcspStatus = { kind: 'revoked', at: new Date(0), reason: 'certificateHold' };
    const parsed = parseResponseData(data(status, Buffer.alloc(32, 1)));
    expect(parsed).toEqual({
      responderKeyHash: ocspKeyHash(responderKey.spki),
      producedAt: new Date(NOW.getTime() + 1_000),
      extendedRevoke: true,
      nonce: Buffer.alloc(32, 1),
      responses: [
        {
          certId: id,
          certIdDer: id.certIdDer,
          status,
          thisUpdate: NOW,
          nextUpdate: new Date(NOW.getTime() + 3_600_000),
        },
      ],
    });
    expect(data(status).toString('latin1')).not.toMatch(/\d\.\d+Z/);
    expect(data(status).toString('latin1')).toContain('19700101000000Z');
  });

  test('reason by number and by name are the same, unspecified is left out', () => {
    const at = later(0);
    expect(data({ kind: 'revoked', at, reason: 1 })).toEqual(data({ kind: 'revoked', at, reason: 'keyCompromise' }));
    expect(data({ kind: 'revoked', at, reason: 0 })).toEqual(data({ kind: 'revoked', at }));
  });

  test.each([
    [1, 'malformedRequest', '30030a0101'],
    [2, 'internalError', '30030a0102'],
    [3, 'tryLater', '30030a0103'],
    [6, 'unauthorized', '30030a0106'],
  ] as const)('error %d is %s, unsigned', (code, status, hex) => {
    expect(ocspError(code).toString('hex')).toBe(hex);
    expect(readOcspResponse(ocspError(code))).toEqual({ status });
  });

  const ask = (der: Buffer, now = later(60)): string =>
    ocspStatus({
      response: readOcspResponse(der),
      certificate: leaf,
      issuer: deviceCa.certificate,
      now,
      ageMaxSeconds: 86_400,
    });

  test('our own verifier says the same, and unknown whenever the answer cannot be trusted', () => {
    expect(ask(answer(data({ kind: 'good' })))).toBe('good');
    expect(ask(answer(data({ kind: 'revoked', at: NOW })))).toBe('revoked');
    expect(ask(answer(data({ kind: 'unknown' })))).toBe('unknown');
    expect(ask(answer(data({ kind: 'good' }), keyPair()))).toBe('unknown');
    expect(ask(answer(data({ kind: 'good' }), responderKey, []))).toBe('unknown');
    expect(ask(answer(data({ kind: 'good' }), leafKey, [leaf.der]))).toBe('unknown');
    expect(ask(answer(data({ kind: 'good' })), later(4_000))).toBe('unknown');
    expect(ask(answer(data({ kind: 'good' })), later(-10))).toBe('unknown');
    expect(ask(ocspError(3))).toBe('unknown');
  });

  test('a leaf of the issuer is no responder, even where the answer names its key', () => {
    const responseData = buildResponseData({
      responderKeyHash: ocspKeyHash(leafKey.spki),
      producedAt: later(1),
      responses: [{ certIdDer: id.certIdDer, status: { kind: 'good' }, thisUpdate: NOW }],
    });
    const forged = answer(responseData, leafKey, [leaf.der]);
    expect(ask(forged)).toBe('unknown');
    expect(() => expectVerified(check(forged))).toThrow();
  });

  test('an answer about another issuer does not verify', () => {
    const foreign = certIdOf('sha256', ocspIssuerHashes(root.certificate.subjectDer, root.spki).sha256, leaf.serial);
    const responseData = buildResponseData({
      responderKeyHash: ocspKeyHash(responderKey.spki),
      producedAt: later(1),
      responses: [{ certIdDer: foreign.certIdDer, status: { kind: 'good' }, thisUpdate: NOW }],
    });
    const response = readOcspResponse(answer(responseData));
    if (response.status !== 'successful') throw new Error('unreachable');
    expect(verifyOcspResponse(response.basic, deviceCa.certificate, later(60))).toBe(false);
  });

  test('a response with a status that does not fit its content is refused', () => {
    const good = answer(data({ kind: 'good' }));
    for (const der of [
      sequence(enumerated(0)),
      sequence(enumerated(4)),
      sequence(enumerated(7)),
      sequence(boolean(true)),
    ]) {
      expect(() => readOcspResponse(der)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
    }
    const bent = Buffer.from(good);
    bent[good.indexOf(Buffer.from('0a0100', 'hex')) + 2] = 3;
    expect(() => readOcspResponse(bent)).toThrow(/does not fit/);
  });
});

function expectVerified(text: string): void {
  expect(text).toContain('Response verify OK');
}
