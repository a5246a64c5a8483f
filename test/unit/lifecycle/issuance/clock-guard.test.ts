import { describe, expect, test } from '@jest/globals';
import { CLOCK_TOLERANCE_MS, makeClockGuard } from '../../../../src/lifecycle/issuance/index.js';

const START = Date.parse('2026-11-24T12:00:00Z');

/** Wall, monotonic and database clocks that a test moves one by one; milliseconds since START. */
function clocks() {
  const at = { wall: 0, monotonic: 0, database: 0 };
  const guard = makeClockGuard({
    clock: { now: () => new Date(START + at.wall) },
    monotonicMs: () => 5_000_000 + at.monotonic,
    buildTime: new Date(START - 86_400_000),
  });
  const check = () => guard.check(new Date(START + at.database));
  const pass = (ms: number) => {
    at.wall += ms;
    at.monotonic += ms;
    at.database += ms;
  };
  return { at, check, pass };
}

describe('nothing is issued under a wrong clock, ENR-3', () => {
  test('clocks that run together are trusted', () => {
    const { check, pass } = clocks();
    for (let hour = 0; hour < 100; hour++) {
      pass(3_600_000);
      check();
    }
  });

  test.each([
    ['back two hours', -7_200_000],
    ['forward 40 days', 40 * 86_400_000],
    ['just over the tolerance', CLOCK_TOLERANCE_MS + 1],
  ])('C1, C2: a wall clock that steps %s stops issuing until it is set right', (_name, step) => {
    const { at, check, pass } = clocks();
    pass(60_000);
    at.wall += step;
    at.database += step; // one host: the database's clock steps, too
    expect(check).toThrow(
      expect.objectContaining({
        code: 'RETRY_LATER',
        facts: expect.objectContaining({ fault: step < -86_400_000 ? 'before-build' : 'stepped' }),
      }),
    );
    at.wall -= step;
    at.database -= step;
    check();
  });

  test('C4: a database whose clock differs stops issuing', () => {
    const { at, check } = clocks();
    at.database = CLOCK_TOLERANCE_MS;
    check();
    at.database = -CLOCK_TOLERANCE_MS - 1;
    expect(check).toThrow(
      expect.objectContaining({ facts: { fault: 'differs-from-database', byMs: CLOCK_TOLERANCE_MS + 1 } }),
    );
  });

  test('C3: a start before this program was built stops issuing', () => {
    const guard = makeClockGuard({
      clock: { now: () => new Date(0) },
      monotonicMs: () => 0,
      buildTime: new Date(START),
    });
    expect(() => guard.check(new Date(0))).toThrow(
      expect.objectContaining({ facts: expect.objectContaining({ fault: 'before-build' }) }),
    );
  });
});
