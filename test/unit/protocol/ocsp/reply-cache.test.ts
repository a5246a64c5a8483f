import { describe, expect, test } from '@jest/globals';
import { type OcspReply, ReplyCache } from '../../../../src/protocol/ocsp/reply-cache.js';
import { TokenBucket } from '../../../../src/protocol/ocsp/token-bucket.js';

const reply = (bytes = 500): OcspReply => ({
  body: Buffer.alloc(bytes),
  headers: [],
  etag: '"x"',
  refreshAtMs: 500,
  endsAtMs: 1_000,
  isDead: false,
});

function filled(): { cache: ReplyCache; made: OcspReply } {
  const cache = new ReplyCache();
  const made = reply();
  cache.store('1:aa', 'id', made, cache.era);
  cache.remember('request', made);
  return { cache, made };
}

describe('answers kept', () => {
  test('the exact request bytes find it until its end and not after', () => {
    const { cache, made } = filled();
    expect(cache.forRequest('request', 999)).toBe(made);
    expect(cache.forRequest('request', 1_000)).toBeUndefined();
  });

  test('withdrawing a certificate takes every answer about it away, by whatever request', () => {
    const { cache, made } = filled();
    cache.remember('another spelling', made);
    cache.withdraw('1:bb');
    expect(cache.forRequest('request', 1)).toBe(made);
    cache.withdraw('1:aa');
    expect(cache.forRequest('request', 1)).toBeUndefined();
    expect(cache.forRequest('another spelling', 1)).toBeUndefined();
    expect(cache.forCertificate('1:aa', 'id', 1)).toBeUndefined();
  });

  test('what was read before a withdrawal is not stored after it', () => {
    const cache = new ReplyCache();
    const { era } = cache;
    cache.withdraw('1:aa'); // the revocation commits while the good answer is being signed
    cache.store('1:aa', 'id', reply(), era);
    expect(cache.forCertificate('1:aa', 'id', 1)).toBeUndefined();
  });

  test('an answer that fell out of the index by certificate cannot be found by its request either', () => {
    const { cache, made } = filled();
    for (let index = 0; index < 4_000; index += 1) cache.store(`2:${index}`, 'id', reply(16_000), cache.era);
    expect(cache.counts.certificates).toBeLessThan(2_100);
    expect(made.isDead).toBe(true);
    expect(cache.forRequest('request', 1)).toBeUndefined();
  });

  test('a flood of spellings for one certificate does not grow without end', () => {
    const cache = new ReplyCache();
    const all = Array.from({ length: 100 }, () => reply());
    for (const [index, each] of all.entries()) cache.store('1:aa', `id${index}`, each, cache.era);
    expect(all.filter(({ isDead }) => !isDead).length).toBeLessThan(12);
  });

  test('withdrawAll empties everything', () => {
    const { cache } = filled();
    cache.withdrawAll();
    expect(cache.counts).toEqual({ requests: 0, certificates: 0 });
    expect(cache.forRequest('request', 1)).toBeUndefined();
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
