import { expect, test } from '@jest/globals';
import { FewAtOnce } from '../../../src/platform/few-at-once.js';

const full = () => new Error('full');

test('no more than the limit run, the next wait in order, and the rest are turned away', async () => {
  const few = new FewAtOnce(2, 2);
  const begun: number[] = [];
  const ends: (() => void)[] = [];
  const start = (n: number) =>
    few.run(() => {
      begun.push(n);
      return new Promise<number>((resolve) => ends.push(() => resolve(n)));
    }, full);
  const runs = [1, 2, 3, 4].map(start);
  await expect(start(5)).rejects.toThrow('full');
  expect(begun).toEqual([1, 2]);
  ends[0]?.();
  await runs[0];
  expect(begun).toEqual([1, 2, 3]);
  for (let n = 1; n < 4; n += 1) {
    ends[n]?.();
    await runs[n];
  }
  expect(await Promise.all(runs)).toEqual([1, 2, 3, 4]);
});

test('work that fails gives its place to the next', async () => {
  const few = new FewAtOnce(1, 1);
  const first = few.run(() => Promise.reject(new Error('broken')), full);
  const second = few.run(async () => 'done', full);
  await expect(first).rejects.toThrow('broken');
  await expect(second).resolves.toBe('done');
});
