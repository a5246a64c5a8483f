import { expect, test } from '@jest/globals';
import { makeUnitClock } from '../../../src/agent/unit-clock.js';

test('a unit in 1970 believes the stored time first, and the network’s signed time above all', () => {
  let device = new Date(0);
  const clock = makeUnitClock(() => device, '2026-11-20T00:00:00.000Z');
  expect(clock.now().toISOString()).toBe('2026-11-20T00:00:00.000Z');
  clock.set(new Date('2026-11-24T10:00:00Z'));
  device = new Date(60_000);
  expect(clock.now().toISOString()).toBe('2026-11-24T10:01:00.000Z');
});

test('a fresh answer moves a clock back that ran ahead', () => {
  const clock = makeUnitClock(() => new Date('2031-01-01T00:00:00Z'), '2030-01-01T00:00:00Z');
  clock.set(new Date('2026-11-24T10:00:00Z'));
  expect(clock.now().toISOString()).toBe('2026-11-24T10:00:00.000Z');
});
