import { randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { momentWithin, stretched, unreachableWaitSeconds } from '../../../src/agent/waits.js';

const least = (length: number) => Buffer.alloc(length);
const most = (length: number) => Buffer.alloc(length, 0xff);

test('Retry-After is never shortened and stretched by a half at most', () => {
  expect(stretched(600, least)).toBe(600);
  expect(stretched(600, most)).toBeLessThanOrEqual(900);
  expect(stretched(600, most)).toBeGreaterThan(890);
});

test('a server that cannot be had is asked ever less often, up to every quarter of an hour, and not by all at once', () => {
  const longest = [1, 2, 3, 4, 5, 6, 1_000].map((tries) => unreachableWaitSeconds(tries, most));
  expect(longest).toEqual([60, 120, 240, 480, 900, 900, 900]);
  expect(unreachableWaitSeconds(1_000, least)).toBe(450);
  const drawn = new Set(Array.from({ length: 50 }, () => unreachableWaitSeconds(9, randomBytes)));
  expect(drawn.size).toBeGreaterThan(20);
});

test('the moment of a renewal lies anywhere in its window', () => {
  const [from, until] = ['2026-11-25T00:00:00.000Z', '2026-11-26T00:00:00.000Z'];
  expect(momentWithin(from, until, least)).toBe(from);
  const moment = momentWithin(from, until, randomBytes);
  expect(moment >= from && moment <= until).toBe(true);
});
