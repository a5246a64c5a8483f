import { createHash, randomBytes, sign } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import type { OcspSigner } from '../../../../src/lifecycle/status/index.js';
import {
  certIdBySpelling,
  certIdOfPlainRequest,
  certIdSpellings,
  spellingOf,
} from '../../../../src/protocol/ocsp/cert-id-spellings.js';
import type { SharedAnswer } from '../../../../src/protocol/ocsp/ocsp-reply.js';
import { ReplyCache } from '../../../../src/protocol/ocsp/reply-cache.js';
import { TokenBucket } from '../../../../src/protocol/ocsp/token-bucket.js';
import { explicitTag, octetString, oid, sequence } from '../../../../src/x509/der.js';
import { assembleOcspResponse, buildResponseData, certIdOf, readOcspRequest } from '../../../../src/x509/ocsp.js';
import { importPublicKey } from '../../../../src/x509/spki.js';
import { keyPair } from '../../x509/hierarchy.js';

const hashes = {
  sha1: { nameHash: randomBytes(20), keyHash: randomBytes(20) },
  sha256: { nameHash: randomBytes(32), keyHash: randomBytes(32) },
};
const spellings = certIdSpellings(hashes);
const [SHA1 = '', SHA1_BARE = '', SHA256 = ''] = spellings;
const responderKey = keyPair();
const responder = {
  keyHash: randomBytes(20),
  algorithm: 'ecdsa-with-SHA256',
  publicKey: importPublicKey(responderKey.spki),
  certificateDer: sequence(randomBytes(400)),
} as unknown as OcspSigner;

/** A serial of ours for each name. */
function serialOf(name: string): Buffer {
  return Buffer.concat([Buffer.from([1]), createHash('sha256').update(name).digest().subarray(0, 15)]);
}

function idOf(name: string, spelling = SHA1): Buffer {
  return certIdBySpelling(spelling, serialOf(name));
}

/** Made at second 0, to be made anew from second 500 on, gone at second 1,000. */
function answer(name: string, changes: { to?: number; revoked?: boolean; spelling?: string } = {}): SharedAnswer {
  const { to = 1_000, revoked = false, spelling } = changes;
  const reason = 1;
  const fields = {
    certIdDer: idOf(name, spelling),
    status: revoked ? { kind: 'revoked' as const, at: new Date(86_399_000), reason } : { kind: 'good' as const },
    thisUpdate: new Date(0),
    nextUpdate: new Date(to * 1_000),
  };
  const producedAt = new Date(0);
  const data = buildResponseData({ responderKeyHash: responder.keyHash, producedAt, responses: [fields] });
  return { responder, answer: fields, producedAt, signature: sign('sha256', data, responderKey.privateKey) };
}

describe('answers kept', () => {
  test.each([
    ['good', false],
    ['revoked', true],
  ])('%s: until its end they are the octets that were signed, and not after', (_what, revoked) => {
    const cache = new ReplyCache();
    // Signatures differ in length; each comes back as it was.
    for (let index = 0; index < 60; index += 1) {
      const made = answer(`id${index}`, { revoked });
      const whole = assembleOcspResponse({
        responseData: buildResponseData({
          responderKeyHash: responder.keyHash,
          producedAt: made.producedAt,
          responses: [made.answer],
        }),
        alg: 'ecdsa-with-SHA256',
        signature: made.signature,
        certs: [responder.certificateDer],
      }).toString('latin1');
      const first = cache.store(made, cache.era);
      const again = cache.get(idOf(`id${index}`), 999_999);
      expect(first.body).toBe(whole);
      expect(again).toEqual(first);
      expect(again?.headers.slice(2, 4)).toEqual(['Content-Length', String(whole.length)]);
      expect(again?.headers.slice(-2)).toEqual(['Last-Modified', new Date(0).toUTCString()]);
    }
    expect(cache.counts.answers).toBe(60);
    expect(cache.get(idOf('id7'), 1_000_000)).toBeUndefined();
    expect(cache.counts.answers).toBe(59);
  });

  test('a serial asked for in another way, and another serial, are other answers', () => {
    const cache = new ReplyCache();
    cache.store(answer('id'), cache.era);
    cache.store(answer('id', { spelling: SHA256 }), cache.era);
    expect(cache.get(idOf('id', SHA1_BARE), 1)).toBeUndefined();
    expect(cache.get(idOf('other'), 1)).toBeUndefined();
    expect(cache.get(idOf('id', SHA256), 1)?.etag).not.toBe(cache.get(idOf('id'), 1)?.etag);
  });

  test('a serial of another length is answered and not kept', () => {
    const cache = new ReplyCache();
    const made = answer('id');
    const { certIdDer } = certIdOf('sha1', hashes.sha1, randomBytes(9));
    expect(cache.store({ ...made, answer: { ...made.answer, certIdDer } }, cache.era).body.length).toBeGreaterThan(400);
    expect(cache.counts.answers).toBe(0);
  });

  test('what is asked for again and again is the same answer, until it is made anew, withdrawn or at its end', () => {
    const cache = new ReplyCache({ bytesMax: 100_000 });
    const asked = (nowMs = 1) => Array.from({ length: 20 }, () => cache.get(idOf('id'), nowMs)?.body);
    const first = cache.store(answer('id'), cache.era);
    expect(new Set(asked())).toEqual(new Set([first.body]));
    const second = cache.store(answer('id', { revoked: true }), cache.era);
    expect(new Set(asked())).toEqual(new Set([second.body]));
    cache.withdraw(spellings, serialOf('id'));
    expect(new Set(asked())).toEqual(new Set([undefined]));
    const third = cache.store(answer('id'), cache.era);
    expect(new Set(asked(999_999))).toEqual(new Set([third.body]));
    expect(new Set(asked(1_000_000))).toEqual(new Set([undefined]));
  });

  test('a new signer does not change what the one before has signed', () => {
    const cache = new ReplyCache();
    const { body } = cache.store(answer('id'), cache.era);
    const next = { ...responder, certificateDer: sequence(randomBytes(300)) };
    cache.store({ ...answer('other'), responder: next }, cache.era);
    expect(cache.get(idOf('id'), 1)?.body).toBe(body);
    expect(cache.get(idOf('other'), 1)?.body).toContain(next.certificateDer.toString('latin1'));
  });

  test("a signature that is not the delegate's is given to nobody else, and is told of", () => {
    let bad = 0;
    const cache = new ReplyCache({
      onBadSignature: () => {
        bad += 1;
      },
    });
    cache.store({ ...answer('id'), signature: answer('other').signature }, cache.era);
    expect(cache.get(idOf('id'), 1)).toBeUndefined();
    expect({ bad, ...cache.counts }).toEqual({ bad: 1, answers: 0, bytes: 0 });
    const { body } = cache.store(answer('id'), cache.era);
    expect(cache.get(idOf('id'), 1)?.body).toBe(body);
  });

  test('withdrawing takes every spelling away, and nothing else', () => {
    const cache = new ReplyCache();
    for (const spelling of [SHA1, SHA256]) cache.store(answer('id', { spelling }), cache.era);
    cache.store(answer('other'), cache.era);
    cache.withdraw(spellings, serialOf('id'));
    const found = [idOf('id'), idOf('id', SHA256), idOf('other')].map((id) => cache.get(id, 1) !== undefined);
    expect(found).toEqual([false, false, true]);
  });

  test('what was read before a withdrawal is not stored after it', () => {
    const cache = new ReplyCache();
    const { era } = cache;
    cache.withdraw(spellings, serialOf('id')); // the revocation commits while the good answer is being signed
    cache.store(answer('id'), era);
    expect(cache.get(idOf('id'), 1)).toBeUndefined();
  });

  test('it holds so many bytes and no more; what is asked for stays, a flood of others passes through', () => {
    const cache = new ReplyCache({ bytesMax: 100_000 });
    for (let index = 0; index < 5; index += 1) cache.store(answer(`hot${index}`), cache.era);
    let bytesMost = 0;
    for (let index = 0; index < 2_000; index += 1) {
      cache.store(answer(`cold${index}`), cache.era);
      for (let hot = 0; hot < 5; hot += 1) cache.get(idOf(`hot${hot}`), 1);
      bytesMost = Math.max(bytesMost, cache.counts.bytes);
    }
    expect(bytesMost).toBeLessThanOrEqual(100_000);
    for (let index = 0; index < 5; index += 1) expect(cache.get(idOf(`hot${index}`), 1)).toBeDefined();
    expect(cache.counts.answers).toBeGreaterThan(700);
  });

  test('random histories: it never gives out what was withdrawn, replaced or has ended', () => {
    const cache = new ReplyCache({ bytesMax: 11_000 });
    const truth = new Map<string, { etag: string; to: number }>();
    let faults = 0;
    for (let second = 0; second < 5_000; second += 1) {
      const name = `k${Math.floor(Math.random() * 120)}`;
      const dice = Math.random();
      if (dice < 0.3) {
        const to = second + Math.floor(Math.random() * 2_000);
        const { etag } = cache.store(answer(name, { to }), cache.era);
        truth.set(name, { etag, to });
      } else if (dice < 0.35) {
        cache.withdraw(spellings, serialOf(name));
        truth.delete(name);
      } else if (dice < 0.3501) {
        cache.withdrawAll();
        truth.clear();
      } else if (dice < 0.4) cache.dueForRefresh(second * 1_000, 7, 3);
      const found = cache.get(idOf(name), second * 1_000);
      if (found === undefined) continue; // evicted, or not there
      const { etag, to = 0 } = truth.get(name) ?? {};
      if (found.etag !== etag || to <= second) faults += 1;
    }
    expect(faults).toBe(0);
    expect(cache.counts.answers).toBeGreaterThan(10);
  });

  test('due for refresh: revoked ones, and those that were asked for since they were made', () => {
    const cache = new ReplyCache({ bytesMax: 10_000 });
    const due = (second: number, dueMax = 10) =>
      cache.dueForRefresh(second * 1_000, 100_000, dueMax).map((id) => id.toString('hex'));
    const hex = (...names: string[]) => names.map((name) => idOf(name).toString('hex'));
    cache.store(answer('asked'), cache.era);
    cache.store(answer('idle'), cache.era);
    cache.store(answer('revoked', { revoked: true }), cache.era);
    cache.get(idOf('asked'), 1);
    expect(due(499)).toEqual([]);
    expect(due(500).sort()).toEqual(hex('asked', 'revoked').sort());
    const [one] = due(500, 1);
    expect(due(500, 1)).not.toEqual([one]);
    expect(due(1_000)).toEqual([]);
    cache.store(answer('asked', { to: 3_000 }), cache.era);
    cache.withdraw(spellings, serialOf('revoked'));
    expect(due(2_500)).toEqual([]);
  });

  test('withdrawAll empties everything', () => {
    const cache = new ReplyCache();
    cache.store(answer('id'), cache.era);
    cache.withdrawAll();
    expect(cache.counts).toEqual({ answers: 0, bytes: 0 });
    expect(cache.get(idOf('id'), 1)).toBeUndefined();
  });
});

describe('the spellings of a CertID', () => {
  test('four, among them what we write, and each CertID is a slice of its plain request', () => {
    const serial = serialOf('id');
    const found = spellings.map((spelling) => certIdBySpelling(spelling, serial));
    expect(new Set(spellings).size).toBe(4);
    for (const name of ['sha1', 'sha256'] as const) {
      expect(found).toContainEqual(certIdOf(name, hashes[name], serial).certIdDer);
    }
    for (const [index, certIdDer] of found.entries()) {
      const request = sequence(sequence(sequence(sequence(certIdDer))));
      expect(certIdOfPlainRequest(request)).toEqual(certIdDer);
      expect(spellingOf(certIdDer)).toBe(spellings[index]);
      const [certId] = readOcspRequest(request).certIds;
      expect(certId?.serial).toEqual(serial);
      expect(certId?.certIdDer).toEqual(certIdDer);
    }
  });

  test.each([
    ['of one octet', Buffer.from([5])],
    ['of twenty octets', Buffer.concat([Buffer.from([0xff]), randomBytes(19)])],
    ['with its first bit set', Buffer.concat([Buffer.from([0x80]), randomBytes(15)])],
    ['padded', Buffer.concat([Buffer.from([0]), randomBytes(15)])],
  ])('a serial %s has none', (_what, serial) => {
    expect(spellingOf(certIdBySpelling(SHA1, serial))).toBeUndefined();
    expect(spellingOf(certIdOf('sha1', hashes.sha1, serial).certIdDer)).toBeUndefined();
  });

  test('a request that says more, or less, or something else is no plain one', () => {
    const { certIdDer } = certIdOf('sha1', hashes.sha1, serialOf('id'));
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
