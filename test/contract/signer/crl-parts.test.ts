import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { HierarchyEntry } from '../../../src/platform/hsm/hierarchy.js';
import type { Signer, SignRequest, SignResult } from '../../../src/platform/signer.js';
import { assembleCrl, type CrlReason, crlEntry } from '../../../src/x509/crl.js';
import { type CrlWish, crlRequest, ocspRequest } from '../../support/tbs.js';
import { type FreshToken, freshToken } from '../../support/token.js';

let token: FreshToken;
let status: Signer;
let worker: Signer;
let issuer: HierarchyEntry;

beforeAll(async () => {
  token = await freshToken();
  status = token.connect('status');
  worker = token.connect('worker');
  issuer = token.entry('device-ca-1');
}, 60_000);
afterAll(() => token.dispose());

async function one(request: SignRequest, signer = worker): Promise<SignResult> {
  const [result] = await signer.sign([request]);
  if (!result) throw new Error('no result');
  return result;
}

async function refused(wish: Omit<CrlWish, 'issuer'>): Promise<string> {
  const result = await one(crlRequest({ issuer, ...wish }));
  return result.ok ? 'SIGNED' : result.message;
}

/** Signs a complete CRL; returns its whole DER. */
async function complete(wish: Omit<CrlWish, 'issuer'>): Promise<Buffer> {
  const request = crlRequest({ issuer, ...wish });
  const result = await one(request);
  if (!result.ok) throw new Error(result.message);
  return assembleCrl(request.tbs, 'ecdsa-with-SHA256', result.signature);
}

const thisUpdate = new Date(Math.floor(Date.now() / 1_000) * 1_000);
/** In rising order; the last octet, which chooses the shard, is given. */
const serialOf = (rank: number, last: number): Buffer =>
  Buffer.concat([Buffer.from([1, rank]), randomBytes(13), Buffer.from([last])]);
const entry = (serial: Buffer, reason: CrlReason): Buffer => crlEntry({ serial, revokedAt: thisUpdate, reason });

const stolen = serialOf(1, 0x10);
const held = serialOf(2, 0x21);
const later = serialOf(3, 0x30);
const released = serialOf(4, 0x40);
const unheard = serialOf(5, 0x50);
const POINT = 'http://status.hanbit.example/crl/device-ca-1.shard-16-0.crl';

describe('delta CRLs at the signer, RFC 5280 section 5.2.4', () => {
  let base: Buffer;
  let number = 100n;

  beforeAll(async () => {
    base = await complete({
      number,
      thisUpdate,
      entries: [entry(stolen, 'keyCompromise'), entry(held, 'certificateHold'), entry(released, 'certificateHold')],
    });
    number += 1n;
    await complete({
      number,
      thisUpdate,
      entries: [entry(stolen, 'keyCompromise'), entry(held, 'certificateHold'), entry(later, 'keyCompromise')],
    });
  });

  /** What is true: `later` was revoked since the base, `released` let go. */
  const truth = () => [entry(later, 'keyCompromise'), entry(released, 'removeFromCRL')];
  const delta = (wish: Partial<CrlWish> = {}): Omit<CrlWish, 'issuer'> => ({
    number,
    part: 'delta',
    deltaBase: 100n,
    thisUpdate,
    evidence: base,
    entries: truth(),
    ...wish,
  });

  test('says what the complete CRL of its number says of the time since its base, or is not signed', async () => {
    const [addsUnheard, omitsLater] = [
      'The delta lists a serial that the complete CRL does not.',
      'The delta leaves out a serial that was revoked since its base.',
    ];
    const lies: [string, Buffer[]][] = [
      [omitsLater, [entry(released, 'removeFromCRL')]],
      [addsUnheard, [...truth(), entry(unheard, 'keyCompromise')]],
      ['The delta removes a serial that the complete CRL lists.', [entry(stolen, 'removeFromCRL'), ...truth()]],
      ['The delta removes a serial that the complete CRL lists.', [entry(held, 'removeFromCRL'), ...truth()]],
      [
        'A delta is judged only where it, its base and the complete CRL list each serial once, in rising order.',
        [...truth(), entry(later, 'keyCompromise')],
      ],
    ];
    for (const [message, entries] of lies) expect(await refused(delta({ entries }))).toBe(message);
  });

  test('needs as its base an earlier complete CRL that this CA signed and somebody may still hold', async () => {
    const notTheBase = 'The evidence is not the earlier complete CRL that the delta names as its base.';
    expect(await refused(delta({ evidence: undefined }))).toBe('A delta needs its base CRL as evidence.');
    expect(await refused(delta({ deltaBase: 99n }))).toBe(notTheBase);
    expect(await refused(delta({ deltaBase: number }))).toBe(notTheBase);
    // A base that was never signed, which lists what the worker would like to pass over.
    const forged = crlRequest({ issuer, number: 100n, thisUpdate, entries: [entry(later, 'certificateHold')] });
    const evidence = assembleCrl(forged.tbs, 'ecdsa-with-SHA256', Buffer.from('3006020101020101', 'hex'));
    expect(await refused(delta({ evidence, entries: [] }))).toBe('The base CRL is not signed by us.');
  });

  test('is signed once a number, and only with the number and thisUpdate of the complete CRL signed last', async () => {
    const apart = 'A delta has number and thisUpdate of the complete CRL signed last (RFC 5280 section 5.2.3).';
    expect(await refused(delta({ number: number + 1n }))).toBe(apart);
    expect(await refused(delta({ number: 100n, deltaBase: 99n }))).toBe(apart);
    expect(await refused(delta({ thisUpdate: new Date(thisUpdate.getTime() + 1_000) }))).toBe(apart);
    // Under the name of a complete CRL, or of another part, the journal would lie.
    expect(await refused({ ...delta(), part: undefined })).toContain('is not crl-part:');
    expect(await refused(delta({ part: 'shard-16-0' }))).toContain('is not crl-part:');
    expect(await refused(delta({ lifeSeconds: 86_401 }))).toContain("the signer's ceiling is 86400 s");
    expect(await refused(delta())).toBe('SIGNED');
    const again = `Number ${number} of delta is not above ${number}, signed before.`;
    const other = delta({ lifeSeconds: 3_600 });
    expect(await refused(other)).toBe(again);
    await token.stopSigner();
    await token.startSigner();
    expect(await refused(other)).toBe(again);
    // Asked again after a lost answer: the same bytes.
    expect(await refused(delta())).toBe('SIGNED');
  }, 30_000);

  test('lifts nothing but a hold, and never becomes what good is judged by', async () => {
    number += 1n;
    // The complete CRL has lost a stolen unit: the worker may have thought it expired; a delta must not say it was let go.
    await complete({ number, thisUpdate, entries: [entry(held, 'certificateHold'), entry(later, 'keyCompromise')] });
    expect(await refused(delta({ entries: [entry(stolen, 'removeFromCRL'), ...truth()] }))).toBe(
      'The delta removes a serial that its base lists as more than held.',
    );
    expect(await refused(delta())).toBe('SIGNED');
    const responder = token.entry('ocsp-device-ca-1');
    const good = ocspRequest({ issuer, responder, serial: held, status: { kind: 'good' } });
    expect(await one(good, status)).toMatchObject({ ok: false, code: 'DENIED' });
  });
});

describe('IDP shards at the signer, RFC 5280 section 5.2.5', () => {
  // By their last octets `stolen`, `later` and `released` are in shard 0 of 16, `held` in shard 1.
  let number = 200n;
  const listed = () => [entry(stolen, 'keyCompromise'), entry(held, 'certificateHold'), entry(later, 'keyCompromise')];
  const shard = (wish: Partial<CrlWish> = {}): Omit<CrlWish, 'issuer'> => ({
    number,
    part: 'shard-16-0',
    distributionPointUrl: POINT,
    thisUpdate,
    entries: [entry(stolen, 'keyCompromise'), entry(later, 'keyCompromise')],
    ...wish,
  });

  beforeAll(() => complete({ number, thisUpdate, entries: listed() }));

  test('lists exactly what the complete CRL of its number lists of it', async () => {
    const unequal = 'The shard does not list the same serials, in the same order, as the complete CRL.';
    expect(await refused(shard({ entries: [entry(stolen, 'keyCompromise')] }))).toBe(unequal);
    expect(await refused(shard({ entries: listed() }))).toBe(unequal);
    expect(await refused(shard({ entries: [...(shard().entries ?? []), entry(released, 'keyCompromise')] }))).toBe(
      'The shard lists more serials than the complete CRL.',
    );
    // Verifiers take removeFromCRL as not listed.
    const removed = [entry(stolen, 'keyCompromise'), entry(later, 'removeFromCRL')];
    expect(await refused(shard({ entries: removed }))).toBe('Only a delta may say removeFromCRL.');
    expect(await refused({ number: number + 1n, thisUpdate, entries: removed })).toBe(
      'Only a delta may say removeFromCRL.',
    );
  });

  test('has a number line of its own, and leaves the complete CRL what good is judged by', async () => {
    expect(await refused(shard())).toBe('SIGNED');
    expect(await refused(shard({ lifeSeconds: 3_600 }))).toBe(
      `Number ${number} of shard-16-0 is not above ${number}, signed before.`,
    );
    // The sibling's serial is on no list of the shard, and still not good.
    const responder = token.entry('ocsp-device-ca-1');
    for (const serial of [held, stolen, later]) {
      const good = ocspRequest({ issuer, responder, serial, status: { kind: 'good' } });
      expect(await one(good, status)).toMatchObject({ ok: false, code: 'DENIED' });
    }
    // And its number holds no complete CRL back.
    expect(await refused({ number: number + 1n, thisUpdate, entries: listed() })).toBe('SIGNED');
    number += 1n;
    expect(await refused(shard())).toBe('SIGNED');
  });

  test('names the address of one shard of this CA and nothing else', async () => {
    const wrong = 'The issuing distribution point is not the address of a shard of this CA.';
    const at = (path: string) => `http://status.hanbit.example/crl/${path}`;
    for (const path of [
      'device-ca-1.crl', // the complete CRL's own address
      'device-ca-2.shard-16-0.crl',
      'device-ca-1.shard-16-16.crl',
      'device-ca-1.shard-3-0.crl',
      'device-ca-1.shard-512-0.crl',
      'device-ca-1.shard-16-0.crl?device-ca-1.crl',
    ]) {
      expect([path, await refused(shard({ distributionPointUrl: at(path) }))]).toEqual([path, wrong]);
    }
    expect(await refused(shard({ deltaBase: 100n }))).toContain('a delta and a shard at once');
    expect(await refused(shard({ freshestCrlUrl: at('device-ca-1.delta.crl') }))).toContain('Only a complete CRL');
  });
});
