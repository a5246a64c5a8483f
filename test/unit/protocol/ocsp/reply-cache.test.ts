import { randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { certIdOfPlainRequest, certIdSpellings } from '../../../../src/protocol/ocsp/cert-id-spellings.js';
import { ReplyCache, type SharedAnswer } from '../../../../src/protocol/ocsp/reply-cache.js';
import { TokenBucket } from '../../../../src/protocol/ocsp/token-bucket.js';
import { explicitTag, octetString, oid, sequence } from '../../../../src/x509/der.js';
import { certIdOf, readOcspRequest } from '../../../../src/x509/ocsp.js';

const answer = (changes: Partial<SharedAnswer> = {}): SharedAnswer => ({
  head: 'head',
  tail: 'tail',
  etag: '"x"',
  lastModified: 'Mon, 01 Jun 2026 00:00:00 GMT',
  isRevoked: false,
  refreshAtMs: 500,
  endsAtMs: 1_000,
  ...changes,
});

describe('answers kept', () => {
  test('the CertID finds it until its end and not after', () => {
    const cache = new ReplyCache();
    cache.store('id', answer(), cache.era);
    expect(cache.get('id', 999)?.body).toBe('headtail');
    expect(cache.get('id', 999)?.headers.slice(2, 4)).toEqual(['Content-Length', '8']);
    expect(cache.get('id', 1_000)).toBeUndefined();
    expect(cache.counts).toEqual({ answers: 0, bytes: 0 });
  });

  test('withdrawing takes every spelling away, and nothing else', () => {
    const cache = new ReplyCache();
    for (const key of ['sha1', 'sha256', 'other']) cache.store(key, answer(), cache.era);
    cache.withdraw(['sha1', 'sha1 without NULL', 'sha256']);
    expect(['sha1', 'sha256', 'other'].map((key) => cache.get(key, 1) !== undefined)).toEqual([false, false, true]);
  });

  test('what was read before a withdrawal is not stored after it', () => {
    const cache = new ReplyCache();
    const { era } = cache;
    cache.withdraw(['id']); // the revocation commits while the good answer is being signed
    cache.store('id', answer(), era);
    expect(cache.get('id', 1)).toBeUndefined();
  });

  test('it holds so many bytes and no more; what is asked for stays, a flood of others passes through', () => {
    const cache = new ReplyCache(100_000);
    for (let index = 0; index < 20; index += 1) cache.store(`hot${index}`, answer(), cache.era);
    for (let index = 0; index < 5_000; index += 1) {
      cache.store(`cold${index}`, answer({ head: 'x'.repeat(200) }), cache.era);
      for (let hot = 0; hot < 20; hot += 1) cache.get(`hot${hot}`, 1);
      expect(cache.counts.bytes).toBeLessThanOrEqual(100_000);
    }
    for (let index = 0; index < 20; index += 1) expect(cache.get(`hot${index}`, 1)).toBeDefined();
    expect(cache.counts.answers).toBeLessThan(200);
  });

  test('random histories: it never gives out what was withdrawn, replaced or has ended', () => {
    const cache = new ReplyCache(20_000);
    const truth = new Map<string, { head: string; endsAtMs: number }>();
    for (let nowMs = 0; nowMs < 20_000; nowMs += 1) {
      const key = `k${Math.floor(Math.random() * 120)}`;
      const dice = Math.random();
      if (dice < 0.3) {
        const made = { head: String(nowMs), endsAtMs: nowMs + Math.floor(Math.random() * 2_000) };
        cache.store(key, answer(made), cache.era);
        truth.set(key, made);
      } else if (dice < 0.35) {
        cache.withdraw([key]);
        truth.delete(key);
      } else if (dice < 0.3501) {
        cache.withdrawAll();
        truth.clear();
      } else if (dice < 0.4) cache.dueForRefresh(nowMs, 7, 3);
      const found = cache.get(key, nowMs);
      if (found === undefined) continue; // evicted, or not there
      expect(found.body).toBe(`${truth.get(key)?.head}tail`);
      expect(truth.get(key)?.endsAtMs).toBeGreaterThan(nowMs);
    }
    expect(cache.counts.answers).toBeGreaterThan(10);
  });

  test('due for refresh: revoked ones, and those that were asked for since they were made', () => {
    const cache = new ReplyCache();
    cache.store('asked', answer(), cache.era);
    cache.store('idle', answer(), cache.era);
    cache.store('revoked', answer({ isRevoked: true }), cache.era);
    cache.get('asked', 1);
    expect(cache.dueForRefresh(499, 100, 10)).toEqual([]);
    expect(cache.dueForRefresh(500, 100, 10)).toEqual(['asked', 'revoked']);
    expect(cache.dueForRefresh(500, 100, 1)).toEqual(['asked']);
    expect(cache.dueForRefresh(500, 100, 1)).toEqual(['revoked']);
    expect(cache.dueForRefresh(1_000, 100, 10)).toEqual([]);
    cache.store('asked', answer({ refreshAtMs: 2_000, endsAtMs: 3_000 }), cache.era);
    expect(cache.dueForRefresh(2_500, 100, 10)).toEqual([]);
  });

  test('withdrawAll empties everything', () => {
    const cache = new ReplyCache();
    cache.store('id', answer(), cache.era);
    cache.withdrawAll();
    expect(cache.counts).toEqual({ answers: 0, bytes: 0 });
    expect(cache.get('id', 1)).toBeUndefined();
  });
});

describe('the spellings of a CertID', () => {
  const hashes = {
    sha1: { nameHash: randomBytes(20), keyHash: randomBytes(20) },
    sha256: { nameHash: randomBytes(32), keyHash: randomBytes(32) },
  };
  const spellings = certIdSpellings(hashes);

  test.each([
    ['ours', Buffer.concat([Buffer.from([1]), randomBytes(15)])],
    ['with its first bit set', Buffer.concat([Buffer.from([0xff]), randomBytes(19)])],
    ['of one octet', Buffer.from([5])],
  ])('a serial %s: four, among them what we write, and each is a slice of its plain request', (_what, serial) => {
    const found = spellings(serial);
    expect(new Set(found).size).toBe(4);
    for (const name of ['sha1', 'sha256'] as const) {
      expect(found).toContain(certIdOf(name, hashes[name], serial).certIdDer.toString('latin1'));
    }
    for (const spelling of found) {
      const request = sequence(sequence(sequence(sequence(Buffer.from(spelling, 'latin1')))));
      expect(certIdOfPlainRequest(request)).toBe(spelling);
      const [certId] = readOcspRequest(request).certIds;
      expect(certId?.serial).toEqual(serial);
      expect(certId?.certIdDer.toString('latin1')).toBe(spelling);
    }
  });

  test('a request that says more, or less, or something else is no plain one', () => {
    const { certIdDer } = certIdOf('sha1', hashes.sha1, Buffer.from([5]));
    const plain = sequence(sequence(sequence(sequence(certIdDer))));
    const nonce = sequence(oid('1.3.6.1.5.5.7.48.1.2'), octetString(octetString(Buffer.alloc(16))));
    const others = [
      sequence(sequence(sequence(sequence(certIdDer)), explicitTag(2, sequence(nonce)))),
      sequence(sequence(sequence(sequence(certIdDer), sequence(certIdDer)))),
      Buffer.concat([plain, Buffer.from([0])]),
      plain.subarray(0, plain.length - 1),
      Buffer.alloc(0),
      Buffer.alloc(90, 0x30),
    ];
    for (const other of others) expect(certIdOfPlainRequest(other)).toBeUndefined();
  });
});

describe('the budget for answers signed for one asker', () => {
  test('a reserve, then so many a second; a clock that steps back gives nothing', () => {
    const bucket = new TokenBucket(10, 20, 0);
    const take = (count: number, nowMs: number) =>
      Array.from({ length: count }, () => bucket.take(nowMs)).filter(Boolean).length;
    expect(take(100, 0)).toBe(20);
    expect(take(100, 500)).toBe(5);
    expect(take(100, 200)).toBe(0);
    expect(take(100, 100_000)).toBe(20);
  });
});
