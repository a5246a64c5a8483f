import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Anchor, anchorSchema } from '../../../src/platform/ledger/anchor.js';
import { fact, startLedger, type TestLedger } from '../../support/test-ledger.js';

let kit: TestLedger;
beforeAll(async () => {
  kit = await startLedger();
});
afterAll(() => kit.db.drop());

describe('signed heads', () => {
  test('each head is proved to extend the one before, over many odd sizes', async () => {
    for (const count of [1, 1, 2, 3, 1, 7, 8, 31, 2, 64, 5]) {
      await kit.append(...Array.from({ length: count }, (_, n) => fact(n)));
      await kit.sequence();
      const head = await kit.sign();
      expect(head).not.toBeNull();
    }
    expect(kit.signer.signed).toHaveLength(11);
  });

  test('nothing new means no head; the entry about the last head is itself something new', async () => {
    await kit.sequence();
    expect(await kit.sign()).not.toBeNull();
    expect(await kit.sign()).toBeNull();
  });

  test('while the token is away heads wait and nothing is recorded', async () => {
    await kit.append(fact(1));
    await kit.sequence();
    kit.signer.fault = 'down';
    await expect(kit.sign()).rejects.toMatchObject({ code: 'HSM_UNAVAILABLE' });
    kit.signer.fault = 'none';
    expect(await kit.sign()).not.toBeNull();
  });

  test('a head that was signed while its answer was lost is signed again and recorded, though entries came since', async () => {
    await kit.append(fact(1));
    const { size } = await kit.sequence();
    kit.signer.fault = 'answer-lost';
    await expect(kit.sign()).rejects.toThrow('connection lost');
    kit.signer.fault = 'none';
    await kit.append(fact(2));
    await kit.sequence();
    expect((await kit.sign())?.size).toBe(size);
    expect((await kit.sign())?.size).toBe(size + 1);
  });

  test('a past that was changed gets no head: the rows no longer make the numbered tree', async () => {
    await kit.sequence();
    await kit.sign();
    await kit.append(fact(1), fact(2), fact(3));
    const { size } = await kit.sequence();
    await kit.db.pool.query('ALTER TABLE ledger DISABLE TRIGGER ledger_no_change');
    await kit.db.pool.query('UPDATE ledger SET hash = sha256(hash) WHERE seq = $1', [size - 1]);
    await expect(kit.sign()).rejects.toMatchObject({
      code: 'INTERNAL',
      message: expect.stringContaining('audit verify'),
    });
  });
});

describe('anchors', () => {
  let other: TestLedger;
  beforeAll(async () => {
    other = await startLedger();
  });
  afterAll(() => other.db.drop());

  const stored = (): Anchor[] =>
    readdirSync(other.anchorDir)
      .sort((a, b) => Number(a.split(/[-.]/)[1]) - Number(b.split(/[-.]/)[1]))
      .map((name) => anchorSchema.parse(JSON.parse(readFileSync(join(other.anchorDir, name), 'utf8'))));

  test('an anchor carries head, signature, certificates and what was issued and revoked since the one before', async () => {
    await other.append(fact(1), fact(2, 'certificate.issued'));
    await other.sequence();
    await other.sign();
    expect(await other.anchor()).toEqual({ anchored: 1, waiting: 0, failure: null });
    await other.append(fact(3, 'certificate.revoked'), fact(4, 'certificate.issued'), fact(5));
    await other.sequence();
    await other.sign();
    await other.anchor();
    const [first, second] = stored();
    expect(first?.delta.entries.map(({ seq, kind }) => [seq, kind])).toEqual([[2, 'certificate.issued']]);
    expect(second?.delta.after).toBe(first?.size);
    expect(second?.delta.entries.map(({ kind, body }) => [kind, body])).toEqual([
      ['certificate.revoked', '{"n":3}'],
      ['certificate.issued', '{"n":4}'],
    ]);
    expect(second?.certificates).toEqual([other.signer.certificatePem]);
    expect(second?.headText).toMatch(/^femtopki-audit-head-v1\n00c0ffee\n1\n/);
  });

  test('while the target is down anchors queue; afterwards all of them arrive, in order, without a gap', async () => {
    const down = join(other.anchorDir, '1-2.json', 'not-a-directory');
    for (let n = 0; n < 3; n++) {
      await other.append(fact(n, 'certificate.issued'));
      await other.sequence();
      await other.sign();
      const queue = await other.anchor(down);
      expect(queue).toMatchObject({ anchored: 0, waiting: n + 1 });
      expect(queue.failure).toBeInstanceOf(Error);
    }
    expect(await other.anchor()).toEqual({ anchored: 3, waiting: 0, failure: null });
    const anchors = stored();
    for (const [index, anchor] of anchors.entries()) expect(anchor.delta.after).toBe(anchors[index - 1]?.size ?? 0);
  });
});
