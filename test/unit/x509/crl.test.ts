import { randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { certificatePem } from '../../../src/x509/certificate.js';
import {
  assembleCrl,
  buildCrlTbs,
  CRL_REASONS,
  type CrlFields,
  type CrlReason,
  crlEntries,
  crlEntry,
  crlReasonOf,
  lintCrl,
  readCrl,
  verifyCrlSignature,
} from '../../../src/x509/crl.js';
import { crlStatus } from '../../../src/x509/crl-status.js';
import { pemBlock } from '../../../src/x509/pem.js';
import { newSerial } from '../../../src/x509/serial.js';
import { FQDN, factsOf, hierarchy, issued, keyPair, NOW, operationalTemplate, signed } from './hierarchy.js';
import { openssl } from './openssl.js';

const { root, deviceCa } = hierarchy();
const HOUR = 3_600;
const later = (seconds: number): Date => new Date(NOW.getTime() + seconds * 1_000);
const fields = (change: Partial<CrlFields> = {}): CrlFields => ({
  issuerSubjectDer: deviceCa.certificate.subjectDer,
  issuerKeyIdentifier: deviceCa.spki.keyIdentifier,
  alg: deviceCa.alg,
  number: 7n,
  thisUpdate: NOW,
  nextUpdate: later(6 * HOUR),
  entries: [],
  ...change,
});
const whole = (change: Partial<CrlFields> = {}): Buffer => {
  const tbs = buildCrlTbs(fields(change));
  return assembleCrl(tbs, deviceCa.alg, signed(tbs, deviceCa, deviceCa.alg));
};
const EXPECTED = { lifeMaxSeconds: 24 * HOUR };

describe('CRL, RFC 5280 section 5', () => {
  const serials = Array.from({ length: 3 }, () => newSerial(NOW, randomBytes));
  const entries = serials.map((serial, index) =>
    crlEntry({
      serial,
      revokedAt: later(-index),
      reason: (['keyCompromise', 'certificateHold', 'unspecified'] as const)[index] ?? 0,
    }),
  );

  test('what is written is read back, and the signature check can fail', () => {
    const crl = lintCrl(readCrl(whole({ entries })), { ...EXPECTED, entryCount: 3, previousNumber: 6n });
    expect([...crlEntries(crl)]).toMatchObject([
      { serial: serials[0], reason: 'keyCompromise', revokedAt: NOW },
      { serial: serials[1], reason: 'certificateHold', revokedAt: later(-1) },
      { serial: serials[2], reason: 'unspecified', reasonWritten: false },
    ]);
    expect(crl).toMatchObject({ number: 7n, thisUpdate: NOW, nextUpdate: later(6 * HOUR), deltaBase: undefined });
    expect(verifyCrlSignature(crl, deviceCa.spki)).toBe(true);
    expect(verifyCrlSignature(crl, root.spki)).toBe(false);
  });

  test('openssl reads it, verifies it, and finds the revoked certificate on it', () => {
    const key = keyPair();
    const facts = { ...factsOf('operational', key.spki, FQDN), sanDns: FQDN };
    const leaf = issued(operationalTemplate(deviceCa).build(facts), deviceCa, deviceCa.alg);
    const files = (list: Buffer[]): Record<string, string> => ({
      'all.pem': certificatePem(root.certificate.der) + certificatePem(deviceCa.certificate.der),
      'leaf.pem': certificatePem(leaf.der),
      'list.pem': pemBlock('X509 CRL', whole({ entries: list })),
    });
    const at = ['-attime', String(later(60).getTime() / 1_000)];
    const verify = ['verify', ...at, '-CAfile', 'all.pem', '-crl_check', '-CRLfile', 'list.pem', 'leaf.pem'];
    expect(openssl(['crl', '-in', 'list.pem', '-noout', '-CAfile', 'all.pem'], files(entries))).toContain('verify OK');
    expect(openssl(verify, files(entries))).toContain('leaf.pem: OK');
    const revoked = [...entries, crlEntry({ serial: leaf.serial, revokedAt: NOW, reason: 'keyCompromise' })];
    expect(() => openssl(verify, files(revoked))).toThrow(/certificate revoked/);
    const text = openssl(['crl', '-in', 'list.pem', '-noout', '-text'], files(revoked));
    expect(text).toMatch(/X509v3 CRL Number:\s+7\n/);
    expect(text).toContain(leaf.serial.toString('hex').toUpperCase());
    expect(text).toContain('Key Compromise');
  });

  test('an empty list is left out, and a reader refuses an empty SEQUENCE', () => {
    const empty = whole();
    expect(readCrl(empty).entryCount).toBe(0);
    expect(openssl(['crl', '-inform', 'DER', '-in', 'l', '-noout', '-text'], { l: empty })).toContain(
      'No Revoked Certificates',
    );
    const tbs = buildCrlTbs(fields());
    const bent = Buffer.concat([
      tbs.subarray(0, tbs.indexOf(0xa0, 60)),
      Buffer.from('3000', 'hex'),
      tbs.subarray(tbs.indexOf(0xa0, 60)),
    ]);
    bent.writeUInt8((bent[2] ?? 0) + 2, 2);
    expect(() => readCrl(bent, { tbsOnly: true })).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  });

  test('every reason has a name and a number, 7 has neither', () => {
    for (const [name, code] of Object.entries(CRL_REASONS)) {
      expect(crlReasonOf(code)).toBe(name);
      const [entry] = crlEntries(
        readCrl(
          whole({ entries: [crlEntry({ serial: Buffer.from([1]), revokedAt: NOW, reason: name as CrlReason })] }),
        ),
      );
      expect(entry?.reason).toBe(name);
    }
    expect(crlReasonOf(7)).toBeUndefined();
  });

  test('delta and distribution point are critical, numbers up to 20 octets', () => {
    const crl = readCrl(
      whole({ number: 1n << 158n, deltaBase: 5n, distributionPointUrl: 'http://status.example/crl/1.crl' }),
    );
    expect(crl).toMatchObject({
      number: 1n << 158n,
      deltaBase: 5n,
      distributionPoint: { urls: ['http://status.example/crl/1.crl'] },
    });
    expect(() => readCrl(whole({ number: 1n << 160n }))).toThrow(/20 octets/);
  });

  test('an invalidity date is carried', () => {
    const entry = crlEntry({
      serial: Buffer.from([9]),
      revokedAt: NOW,
      reason: 'keyCompromise',
      invalidSince: later(-86_400),
    });
    expect([...crlEntries(readCrl(whole({ entries: [entry] })))]).toMatchObject([{ invalidSince: later(-86_400) }]);
  });

  test('a hundred thousand entries are built, read and linted in seconds, without deep stacks', () => {
    const many = Array.from({ length: 100_000 }, () =>
      crlEntry({ serial: newSerial(NOW, randomBytes), revokedAt: NOW, reason: 'superseded' }),
    );
    const started = performance.now();
    const crl = lintCrl(readCrl(whole({ entries: many })), EXPECTED);
    expect(crl.entryCount).toBe(100_000);
    expect(performance.now() - started).toBeLessThan(20_000);
  });
});

describe('lint of our own lists', () => {
  const twice = crlEntry({ serial: Buffer.from([5]), revokedAt: NOW });
  test.each<[string, Partial<CrlFields>, Partial<Parameters<typeof lintCrl>[1]>]>([
    ['issuer-name', {}, { issuerSubjectDer: root.certificate.subjectDer }],
    ['validity-period', { nextUpdate: later(25 * HOUR) }, {}],
    ['validity-period', { nextUpdate: NOW }, {}],
    ['number-rises', {}, { previousNumber: 7n }],
    ['time-does-not-go-back', {}, { previousThisUpdate: later(1) }],
    ['authority-key-identifier', {}, { issuerKeyIdentifier: root.spki.keyIdentifier }],
    ['distribution-point', { distributionPointUrl: 'https://status.example/1.crl' }, {}],
    ['delta-base-older', { deltaBase: 7n }, {}],
    ['entry-count', { entries: [twice] }, { entryCount: 2 }],
    ['entries', { entries: [twice, twice] }, {}],
    ['entries', { entries: [crlEntry({ serial: Buffer.from([5]), revokedAt: NOW, reason: 'removeFromCRL' })] }, {}],
    [
      'entries',
      { entries: [crlEntry({ serial: Buffer.from([5]), revokedAt: NOW, reason: 'cACompromise' })] },
      { scope: 'leaf' },
    ],
  ])('%s', (rule, change, expected) => {
    expect(() => lintCrl(readCrl(whole(change)), { ...EXPECTED, ...expected })).toThrow(
      expect.objectContaining({ code: 'BAD_REQUEST', facts: expect.objectContaining({ rule }) }),
    );
  });
});

describe('what a list says about a certificate', () => {
  const facts = { ...factsOf('operational', keyPair().spki, FQDN), sanDns: FQDN };
  const certificate = issued(operationalTemplate(deviceCa).build(facts), deviceCa, deviceCa.alg);
  const ask = (change: Partial<CrlFields>, now = later(60), issuers = [deviceCa.certificate]): string =>
    crlStatus({ crl: readCrl(whole(change)), certificate, issuers, now, ageMaxSeconds: 86_400 });
  const revoked = [crlEntry({ serial: certificate.serial, revokedAt: NOW })];

  test('good, revoked, and unknown wherever the list cannot speak', () => {
    expect(ask({})).toBe('good');
    expect(ask({ entries: revoked })).toBe('revoked');
    expect(ask({}, later(-1))).toBe('unknown');
    expect(ask({}, later(7 * HOUR))).toBe('unknown');
    expect(ask({ deltaBase: 3n })).toBe('unknown');
    expect(ask({ issuerSubjectDer: root.certificate.subjectDer })).toBe('unknown');
    expect(ask({ distributionPointUrl: 'http://other.example/crl' })).toBe('unknown');
    expect(ask({}, later(60), [root.certificate])).toBe('unknown');
  });
});

test('a bent list is read, or refused with a listed code', () => {
  const der = whole({
    entries: [crlEntry({ serial: newSerial(NOW, randomBytes), revokedAt: NOW, reason: 'keyCompromise' })],
  });
  fc.assert(
    fc.property(fc.nat({ max: der.length - 1 }), fc.nat({ max: 255 }), (at, octet) => {
      const bent = Buffer.from(der);
      bent[at] = octet;
      try {
        if (verifyCrlSignature(readCrl(bent), deviceCa.spki)) expect(readCrl(bent).tbsDer).toEqual(readCrl(der).tbsDer);
      } catch (thrown) {
        expect(['BAD_REQUEST', 'KEY_WEAK']).toContain((thrown as { code?: string }).code);
      }
    }),
    { numRuns: 2_000 },
  );
});
