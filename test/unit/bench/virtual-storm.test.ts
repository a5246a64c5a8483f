import { expect, test } from '@jest/globals';
import { virtualStorm } from '../../../bench/fleet/virtual-storm.js';

const HOUR_MS = 3_600_000;

test('after three days of outage a fleet comes back in order, at the rate, over two servers, and nobody is lost (D6, quick)', () => {
  const settings = {
    units: 4_000,
    outageMs: 72 * HOUR_MS,
    perSecond: 2,
    servers: 2,
    sourceShare: 0.1,
    watchMs: HOUR_MS,
  };
  const { due, expired, ...outcome } = virtualStorm(settings);
  // As the product's windows make it: more than half due, more than a seventh expired.
  expect(due).toBeGreaterThan(settings.units / 2);
  expect(expired).toBeGreaterThan(settings.units / 7);
  expect(outcome).toMatchObject({ notRenewed: 0, lost: 0 });
  expect(outcome.admittedPerSecondMax).toBeLessThanOrEqual(settings.perSecond * 1.2);
  // Whoever has expired does not wait for whoever has not.
  expect(outcome.allExpiredAfterSeconds).toBeLessThan(outcome.allDueAfterSeconds ?? 0);
  expect(outcome.allDueAfterSeconds).toBeLessThan((2 * due) / settings.perSecond);
  expect(outcome.turnedAway).toBeGreaterThan(due / 2);
});
