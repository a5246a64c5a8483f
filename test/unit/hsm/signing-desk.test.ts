import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { NewestCrlReader } from '../../../src/platform/hsm/crl-memory.js';
import type { KeyFacts } from '../../../src/platform/hsm/issuer-facts.js';
import type { Journal } from '../../../src/platform/hsm/journal.js';
import type { Consequence, Judge } from '../../../src/platform/hsm/judge.js';
import { RateCap } from '../../../src/platform/hsm/rate-cap.js';
import { SigningDesk } from '../../../src/platform/hsm/signing-desk.js';
import { TokenFault } from '../../../src/platform/hsm/token.js';
import type { TokenKeeper } from '../../../src/platform/hsm/token-keeper.js';
import type { SignRequest, SignResult } from '../../../src/platform/signer.js';
import { readSpki } from '../../../src/x509/spki.js';

const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const key = {
  label: 'device-ca-1',
  spki: readSpki(pair.publicKey.export({ type: 'spki', format: 'der' })),
  hash: 'sha256',
} as unknown as KeyFacts;

let stateDir: string;
let steps: string[];
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'fp-desk-'));
  steps = [];
});
afterEach(() => rmSync(stateDir, { recursive: true }));

/** A desk whose judge says yes to all, on a token and a journal that do as told. */
function desk(
  options: {
    token?: (digestHex: string) => Buffer | TokenFault | Promise<Buffer>;
    consequence?: (name: string) => Consequence;
    journal?: () => Promise<void>;
    nowMs?: () => number;
    state?: string;
    isSilent?: boolean;
    threadCount?: number;
  } = {},
) {
  const seen = {
    disk: [] as unknown[],
    unexpected: [] as unknown[],
    batches: [] as number[],
    parcels: [] as number[],
  };
  const digests: string[] = [];
  const made = new SigningDesk({
    judge: {
      startBatch: () => undefined,
      judge: ({ name }: SignRequest) => ({ ok: true, key, consequence: options.consequence?.(name) ?? {} }),
    } as unknown as Judge,
    journal: {
      append: async (items: { request: SignRequest; tbsSha256: Buffer }[]) => {
        if (items.length === 0) return;
        seen.batches.push(items.length);
        await options.journal?.();
        digests.push(...items.map(({ tbsSha256 }) => tbsSha256.toString('hex')));
        steps.push(...items.map(({ request }) => `journal ${request.name}`));
      },
    } as unknown as Journal,
    keeper: {
      state: options.state ?? 'ready',
      tryOnDemand: () => steps.push('try on demand'),
      isSilent: options.isSilent ?? false,
      threadCount: options.threadCount ?? 2,
      sign: (_label: string, parcel: readonly Buffer[]) => {
        seen.parcels.push(parcel.length);
        const signed = parcel.map((digest) => {
          const hex = digest.toString('hex');
          steps.push(`sign ${digests.includes(hex) ? 'journalled' : 'NOT JOURNALLED'}`);
          return options.token?.(hex) ?? Buffer.alloc(64, 1);
        });
        return Promise.all(signed.map((one) => Promise.resolve(one)));
      },
    } as unknown as TokenKeeper,
    rateCap: new RateCap(1_000_000, () => 0),
    stateDir,
    lookAhead: true,
    now: () => new Date(0),
    nowMs: options.nowMs ?? (() => performance.now()),
    onHeadSigned: () => undefined,
    onDiskFailure: (failure) => seen.disk.push(failure),
    onUnexpected: (failure) => seen.unexpected.push(failure),
  });
  const ask = (requests: SignRequest[]): Promise<SignResult[]> =>
    Promise.all(
      requests.map((request) => new Promise<SignResult>((answer) => made.submit({ request, role: 'worker', answer }))),
    );
  return { made, seen, ask };
}

function request(name: string, purpose: SignRequest['purpose'] = 'operational'): SignRequest {
  return { purpose, keyLabel: key.label, name, tbs: Buffer.from(`tbs ${name}`) };
}

describe('signing desk', () => {
  test('all that waits goes through one durable write before the first signature', async () => {
    const { made, seen, ask } = desk();
    const answers = ask(Array.from({ length: 100 }, (_none, index) => request(`n${index}`)));
    void made.run();
    expect((await answers).every((result) => result.ok)).toBe(true);
    expect(seen.batches).toEqual([100]);
    expect(steps.slice(0, 100).every((step) => step.startsWith('journal'))).toBe(true);
    expect(steps.slice(100)).toEqual(Array.from({ length: 100 }, () => 'sign journalled'));
    made.stop();
  });

  test('a batch is shared out among the token threads, and a small one among all of them', async () => {
    const { made, seen, ask } = desk({ threadCount: 2 });
    const answers = ask(Array.from({ length: 100 }, (_none, index) => request(`n${index}`)));
    void made.run();
    await answers;
    await ask([request('a'), request('b')]);
    expect(seen.parcels).toEqual([32, 32, 32, 4, 1, 1]);
    made.stop();
  });

  test('of two CRLs of one CA the newer is the one remembered, whichever thread is faster', async () => {
    const crl = (number: bigint): Consequence => ({
      crl: { kind: 'complete', crl: { number, thisUpdateMs: 0, serials: Buffer.alloc(0) } },
    });
    const first = createHash('sha256').update('tbs crl:device-ca-1:1').digest('hex');
    const rawOf = (name: string) =>
      sign('sha256', Buffer.from(`tbs ${name}`), { key: pair.privateKey, dsaEncoding: 'ieee-p1363' });
    const { made, ask } = desk({
      consequence: (name) => crl(name.endsWith('1') ? 1n : 2n),
      token: (digest) =>
        digest === first
          ? new Promise<Buffer>((wake) => setTimeout(() => wake(rawOf('crl:device-ca-1:1')), 50))
          : rawOf('crl:device-ca-1:2'),
    });
    const answers = ask([request('crl:device-ca-1:1', 'crl'), request('crl:device-ca-1:2', 'crl')]);
    void made.run();
    expect(await answers).toMatchObject([{ ok: true }, { ok: true }]);
    expect(new NewestCrlReader(stateDir).newest(key.label)?.number).toBe(2n);
    made.stop();
  });

  test('while a call into the token hangs, new rows are told so at once', async () => {
    const { ask } = desk({ isSilent: true });
    expect(await ask([request('a')])).toMatchObject([
      { ok: false, code: 'HSM_UNAVAILABLE', message: expect.stringContaining('does not answer') },
    ]);
    expect(steps).toEqual([]);
  });

  test('a journal that cannot be made durable signs nothing and ends the process (V3)', async () => {
    const { made, seen, ask } = desk({
      journal: async () => {
        throw new Error('EIO');
      },
    });
    const answers = ask([request('a'), request('b')]);
    void made.run();
    expect(await answers).toMatchObject([
      { ok: false, code: 'HSM_UNAVAILABLE' },
      { ok: false, code: 'HSM_UNAVAILABLE' },
    ]);
    expect(seen.disk).toHaveLength(1);
    expect(steps).toEqual([]);
    made.stop();
  });

  test('a token that returns a wrong signature gets no CRL out (F12)', async () => {
    const { made, seen, ask } = desk({ token: () => Buffer.alloc(64, 9) });
    const answers = ask([request('crl:x:1', 'crl')]);
    void made.run();
    expect(await answers).toMatchObject([{ ok: false, code: 'HSM_UNAVAILABLE' }]);
    expect(String(seen.unexpected[0])).toContain('a signature that does not verify');
    made.stop();
  });

  test('a right signature passes the same check', async () => {
    const tbs = Buffer.from('tbs crl:x:1');
    const raw = sign('sha256', tbs, { key: pair.privateKey, dsaEncoding: 'ieee-p1363' });
    const { made, ask } = desk({ token: () => raw });
    const answers = ask([request('crl:x:1', 'crl')]);
    void made.run();
    expect(await answers).toMatchObject([{ ok: true }]);
    made.stop();
  });

  test('one row that the token refuses does not disturb its neighbours', async () => {
    const bad = createHash('sha256').update('tbs b').digest('hex');
    const { made, ask } = desk({
      token: (digest) => (digest === bad ? new TokenFault('C_Sign', 0x30, 'stub') : Buffer.alloc(64, 1)),
    });
    const answers = ask(['a', 'b', 'c'].map((name) => request(name)));
    void made.run();
    expect((await answers).map((result) => (result.ok ? 'ok' : result.code))).toEqual(['ok', 'HSM_UNAVAILABLE', 'ok']);
    made.stop();
  });

  test('what waited past its deadline is neither journalled nor signed', async () => {
    let now = 0;
    const { made, ask } = desk({ nowMs: () => now });
    const answers = ask([request('late')]);
    now = 4_501;
    void made.run();
    expect(await answers).toMatchObject([
      { ok: false, code: 'HSM_UNAVAILABLE', message: 'The request waited too long; try again.' },
    ]);
    expect(steps).toEqual([]);
    made.stop();
  });

  test('a full queue answers at once instead of late (H7)', async () => {
    const { ask } = desk();
    const answers = ask(Array.from({ length: 20_001 }, (_none, index) => request(`n${index}`)));
    const last = await Promise.race([answers, new Promise((wake) => setTimeout(() => wake('still waiting'), 50))]);
    expect(last).toBe('still waiting');
    const [refused] = await ask([request('one more')]);
    expect(refused).toMatchObject({
      ok: false,
      code: 'HSM_UNAVAILABLE',
      message: 'The signer is busy; try again in a second.',
    });
  });

  test('while the token is away rows say so without a journal line, and ask for it', async () => {
    const { made, ask } = desk({ state: 'waiting' });
    const answers = ask([request('a')]);
    void made.run();
    expect(await answers).toMatchObject([{ ok: false, code: 'HSM_UNAVAILABLE' }]);
    expect(steps).toEqual(['try on demand']);
    made.stop();
  });
});
