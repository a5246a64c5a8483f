import { expect, test } from '@jest/globals';
import { VerdictMemory } from '../../../../src/lifecycle/registry/verdict-memory.js';
import type { ChainVerdict } from '../../../../src/platform/chain-judge.js';

const trusted: ChainVerdict = { isTrusted: true };
const at = (seconds: number) => new Date(1_800_000_000_000 + seconds * 1_000);

function counted(memory: VerdictMemory) {
  let asked = 0;
  return {
    recall: (key: string, seconds: number, judge = async () => trusted) =>
      memory.recall(key, at(seconds), () => {
        asked += 1;
        return judge();
      }),
    asked: () => asked,
  };
}

test('a verdict serves for a minute of the clock that asks, forwards and back, and no longer', async () => {
  const { recall, asked } = counted(new VerdictMemory());
  for (const seconds of [0, 30, 60, -60]) expect(await recall('a', seconds)).toEqual(trusted);
  expect(asked()).toBe(1);
  await recall('a', 61);
  expect(asked()).toBe(2);
  await recall('b', 61);
  expect(asked()).toBe(3);
});

test('callers at the same moment share one question', async () => {
  const { recall, asked } = counted(new VerdictMemory());
  await Promise.all(Array.from({ length: 20 }, () => recall('a', 0)));
  expect(asked()).toBe(1);
});

test('a judge who was busy is asked again', async () => {
  const { recall, asked } = counted(new VerdictMemory());
  await expect(recall('a', 0, () => Promise.reject(new Error('busy')))).rejects.toThrow('busy');
  expect(await recall('a', 0)).toEqual(trusted);
  expect(asked()).toBe(2);
});

test('it does not grow with the number of chains: the oldest go first', async () => {
  const { recall, asked } = counted(new VerdictMemory());
  for (let n = 0; n <= 2_000; n += 1) await recall(String(n), 0);
  await recall('2000', 0);
  expect(asked()).toBe(2_001);
  await recall('0', 0);
  expect(asked()).toBe(2_002);
});
