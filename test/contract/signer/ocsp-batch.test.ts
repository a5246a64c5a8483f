import { createPublicKey, verify } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { BarredKeys } from '../../../src/platform/hsm/barred-keys.js';
import { type NewestCrl, NewestCrlReader } from '../../../src/platform/hsm/crl-memory.js';
import { Judge, labelsOfClass } from '../../../src/platform/hsm/judge.js';
import { readSignerConfig } from '../../../src/platform/hsm/signer-config.js';
import type { TokenKey } from '../../../src/platform/hsm/token.js';
import type { SignRequest } from '../../../src/platform/signer.js';
import { crlRequest, leafRequest, ocspRequest } from '../../support/tbs.js';
import { type FreshToken, freshToken } from '../../support/token.js';

const ROWS = 64;

let token: FreshToken;
beforeAll(async () => {
  token = await freshToken();
}, 60_000);
afterAll(() => token.dispose());

function answersOf(serials: readonly string[]): SignRequest[] {
  const [issuer, responder] = [token.entry('device-ca-1'), token.entry('ocsp-device-ca-1')];
  return serials.map((hex) =>
    ocspRequest({ issuer, responder, serial: Buffer.from(hex, 'hex'), status: { kind: 'good' } }),
  );
}

function freshSerials(count: number): string[] {
  return Array.from({ length: count }, () => leafRequest({ issuer: token.entry('device-ca-1') }).name);
}

test('a frame of many OCSP answers is judged row by row and signed, each under its own name', async () => {
  const [revoked = '', ...others] = freshSerials(ROWS);
  const crl = crlRequest({ issuer: token.entry('device-ca-1'), number: 7n, serials: [Buffer.from(revoked, 'hex')] });
  expect(await token.connect('worker').sign([crl])).toMatchObject([{ ok: true }]);
  const requests = answersOf([revoked, ...others]);
  const [first, ...results] = await token.connect('status').sign(requests);
  expect(first).toMatchObject({ ok: false, code: 'DENIED', message: expect.stringContaining('newest CRL lists') });
  const key = createPublicKey(token.entry('ocsp-device-ca-1').certificatePem);
  const verified = results.filter((result, index) => {
    const tbs = requests[index + 1]?.tbs ?? Buffer.alloc(0);
    return result.ok && verify('sha256', tbs, key, result.signature);
  });
  expect(verified).toHaveLength(ROWS - 1);
});

test("a batch asks once for the CA's newest CRL, and the next batch asks again", () => {
  const config = readSignerConfig(token.signerConfigPath);
  const seen: string[] = [];
  let listed: NewestCrl | undefined;
  class CountingReader extends NewestCrlReader {
    override newest(issuerLabel: string): NewestCrl | undefined {
      seen.push(issuerLabel);
      return listed;
    }
  }
  const judge = new Judge({
    barred: new BarredKeys(config.stateDir),
    config,
    hierarchy: token.hierarchy,
    keyClass: 'ocsp',
    now: () => Date.now(),
    crls: new CountingReader(config.stateDir),
    signedParts: () => new Map(),
    lastHead: () => undefined,
  });
  judge.learn(new Map(labelsOfClass(config, 'ocsp').map((label) => [label, keyOf(label)])));
  const [serial = '', ...others] = freshSerials(ROWS);
  const requests = answersOf([serial, ...others]);
  judge.startBatch();
  expect(requests.map((request) => judge.judge(request, 'status').ok)).not.toContain(false);
  expect(seen).toEqual(['device-ca-1']);

  listed = {
    number: 8n,
    thisUpdateMs: Date.now(),
    serials: Buffer.concat([Buffer.alloc(4), Buffer.from(serial, 'hex')]),
  };
  judge.startBatch();
  expect(requests.map((request) => judge.judge(request, 'status').ok)).toEqual([false, ...others.map(() => true)]);
  expect(seen).toEqual(['device-ca-1', 'device-ca-1']);
});

function keyOf(label: string): TokenKey {
  const spki = Buffer.from(token.entry(label).spkiHex, 'hex');
  return { label, spki, curve: 'P-256', attributes: {} as TokenKey['attributes'] };
}
