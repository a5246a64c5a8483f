import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { judgeProbe, type ProbedSession } from '../../../../src/lifecycle/admission/both-alive.js';

const at = (gatewayId: number, address: string, alive: boolean | null, keyProved = true): ProbedSession => ({
  gatewayId,
  gateway: `segw-${gatewayId}`,
  sessionHex: `${gatewayId}`.repeat(32),
  address,
  keyProved,
  alive,
});
const HOME = '192.0.2.7';
const AWAY = '198.51.100.7';

describe('are two sessions of one unit alive at once, in two places?', () => {
  test.each([
    ['both answer, at two gateways', [at(1, HOME, true), at(2, AWAY, true)], 'both-alive'],
    ['both answer, at one gateway from two addresses', [at(1, HOME, true), at(1, AWAY, true)], 'both-alive'],
    ['both answer, but one never proved the key', [at(1, HOME, true), at(2, AWAY, true, false)], 'not-both'],
    ['the unit authenticates anew: two sessions in one place', [at(1, HOME, true), at(1, HOME, true)], 'not-both'],
    ['the unit was rebooted: the old session is dead', [at(1, HOME, false), at(1, AWAY, true)], 'not-both'],
    ['the unit changed its gateway', [at(1, HOME, false), at(2, HOME, true)], 'not-both'],
    ['one has not answered yet', [at(1, HOME, true), at(2, AWAY, null)], 'open'],
    ['nobody has answered yet', [at(1, HOME, null), at(2, AWAY, null)], 'open'],
    ['all are dead', [at(1, HOME, false), at(2, AWAY, false)], 'not-both'],
    ['two of three answer', [at(1, HOME, true), at(2, AWAY, false), at(3, AWAY, true)], 'both-alive'],
  ])('%s: %j', (_, sessions, kind) => {
    expect(judgeProbe(sessions).kind).toBe(kind);
  });

  test('silence and missing proof never make it so, and more answers only ever settle it', () => {
    const session = fc.record({
      gatewayId: fc.integer({ min: 1, max: 3 }),
      address: fc.constantFrom(HOME, AWAY),
      keyProved: fc.boolean(),
      alive: fc.constantFrom(true, false, null),
    });
    fc.assert(
      fc.property(fc.array(session, { minLength: 1, maxLength: 6 }), (some) => {
        const sessions = some.map((one) => at(one.gatewayId, one.address, one.alive, one.keyProved));
        const { kind } = judgeProbe(sessions);
        const proved = sessions.filter(({ keyProved, alive }) => keyProved && alive === true);
        const places = new Set(proved.map(({ gatewayId, address }) => `${gatewayId} ${address}`));
        expect(kind === 'both-alive').toBe(places.size >= 2);
        if (kind !== 'open') {
          const settled = sessions.map((one) => ({ ...one, alive: one.alive ?? false }));
          expect(judgeProbe(settled).kind).toBe(kind);
        }
      }),
      { numRuns: 500 },
    );
  });
});
