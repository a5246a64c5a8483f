import { randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { certificatePem } from '../../../src/x509/certificate.js';
import { assembleCrl, buildCrlTbs, type CrlFields, crlEntry, lintCrl, readCrl } from '../../../src/x509/crl.js';
import { crlPartFile, shardOfSerial, shardOfUrl, shardPart } from '../../../src/x509/crl-part.js';
import { pemBlock } from '../../../src/x509/pem.js';
import { FQDN, factsOf, hierarchy, issued, keyPair, NOW, operationalTemplate, signed } from './hierarchy.js';
import { openssl } from './openssl.js';

const { root, deviceCa } = hierarchy();
const later = (seconds: number): Date => new Date(NOW.getTime() + seconds * 1_000);
const whole = (change: Partial<CrlFields>): Buffer => {
  const tbs = buildCrlTbs({
    issuerSubjectDer: deviceCa.certificate.subjectDer,
    issuerKeyIdentifier: deviceCa.spki.keyIdentifier,
    alg: deviceCa.alg,
    number: 7n,
    thisUpdate: NOW,
    nextUpdate: later(21_600),
    entries: [],
    ...change,
  });
  return assembleCrl(tbs, deviceCa.alg, signed(tbs, deviceCa, deviceCa.alg));
};
const FRESHEST = 'http://status.example/crl/device-ca-1.delta.crl';

describe('delta CRL, RFC 5280 section 5.2.4, as openssl -use_deltas reads it', () => {
  const facts = { ...factsOf('operational', keyPair().spki, FQDN), sanDns: FQDN };
  const leaf = issued(operationalTemplate(deviceCa).build(facts), deviceCa, deviceCa.alg);
  const said = (reason: 'keyCompromise' | 'certificateHold' | 'removeFromCRL') => [
    crlEntry({ serial: leaf.serial, revokedAt: NOW, reason }),
  ];
  const verdict = (base: Partial<CrlFields>, delta: Partial<CrlFields>): string => {
    const files = {
      'all.pem': certificatePem(root.certificate.der) + certificatePem(deviceCa.certificate.der),
      'leaf.pem': certificatePem(leaf.der),
      'base.pem': pemBlock('X509 CRL', whole({ freshestCrlUrl: FRESHEST, ...base })),
      'delta.pem': pemBlock('X509 CRL', whole({ number: 9n, deltaBase: 7n, ...delta })),
    };
    const at = ['-attime', String(later(60).getTime() / 1_000), '-CAfile', 'all.pem', '-crl_check'];
    const lists = ['-use_deltas', '-extended_crl', '-CRLfile', 'base.pem', '-CRLfile', 'delta.pem'];
    try {
      return /leaf.pem: OK/.test(openssl(['verify', ...at, ...lists, 'leaf.pem'], files)) ? 'good' : 'unclear';
    } catch (thrown) {
      return /certificate revoked/.test(String(thrown)) ? 'revoked' : String(thrown);
    }
  };

  test('adds a revocation to its base and takes a hold away from it', () => {
    expect(verdict({}, {})).toBe('good');
    expect(verdict({}, { entries: said('keyCompromise') })).toBe('revoked');
    expect(verdict({ entries: said('certificateHold') }, {})).toBe('revoked');
    expect(verdict({ entries: said('certificateHold') }, { entries: said('removeFromCRL') })).toBe('good');
    // Without the pointer in the base openssl asks for no delta; of a later base it uses none.
    expect(verdict({}, { deltaBase: 8n, entries: said('keyCompromise') })).not.toBe('revoked');
  });

  test('only a complete CRL names the freshest one, once and over plain HTTP', () => {
    const text = openssl(['crl', '-inform', 'DER', '-in', 'l', '-noout', '-text'], {
      l: whole({ freshestCrlUrl: FRESHEST }),
    });
    expect(text).toMatch(new RegExp(`X509v3 Freshest CRL:\\s+Full Name:\\s+URI:${FRESHEST}`));
    const lint = (change: Partial<CrlFields>) => lintCrl(readCrl(whole(change)), { lifeMaxSeconds: 86_400 });
    expect(lint({ freshestCrlUrl: FRESHEST }).freshestCrlUrls).toEqual([FRESHEST]);
    const broken: Partial<CrlFields>[] = [
      { freshestCrlUrl: FRESHEST, deltaBase: 3n },
      { freshestCrlUrl: FRESHEST, distributionPointUrl: 'http://status.example/1.crl' },
      { freshestCrlUrl: 'https://status.example/crl/device-ca-1.delta.crl' },
    ];
    for (const change of broken) expect(() => lint(change)).toThrow(/freshest-crl/);
  });
});

describe('shards', () => {
  test('every serial is in one shard, and shards grow alike', () => {
    const counts = new Array<number>(16).fill(0);
    for (let index = 0; index < 16_000; index += 1) {
      const shard = shardOfSerial(randomBytes(16), 16);
      counts[shard] = (counts[shard] ?? 0) + 1;
    }
    expect(counts.every((count) => count > 800 && count < 1_200)).toBe(true);
  });

  test('an address says which shard of which CA it is, and a complete CRL’s says none', () => {
    const of = (count: number, index: number) =>
      `http://status.example/crl/${crlPartFile('device-ca-1', shardPart({ count, index }))}`;
    expect(shardOfUrl(of(16, 3), 'device-ca-1')).toEqual({ count: 16, index: 3 });
    expect(shardOfUrl(of(16, 3), 'device-ca')).toBeUndefined();
    for (const [count, index] of [
      [1, 0],
      [16, 16],
      [12, 3],
      [512, 3],
    ] as const) {
      expect(shardOfUrl(of(count, index), 'device-ca-1')).toBeUndefined();
    }
    expect(shardOfUrl('http://status.example/crl/device-ca-1.crl', 'device-ca-1')).toBeUndefined();
  });
});
