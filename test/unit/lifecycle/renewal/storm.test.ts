import { describe, expect, test } from '@jest/globals';
import { urgencyOf } from '../../../../src/lifecycle/renewal/index.js';
import { Appointments } from '../../../../src/lifecycle/renewal/storm/appointments.js';
import type { Waiter } from '../../../../src/lifecycle/renewal/storm/fair-queue.js';
import { InFlight } from '../../../../src/lifecycle/renewal/storm/in-flight.js';
import { StormGate } from '../../../../src/lifecycle/renewal/storm/storm-gate.js';

const DAY_MS = 86_400_000;
const NOW = new Date('2026-11-25T00:00:00Z');
const nowMs = NOW.getTime();

/** Of a certificate of seven days that ends so many days from now. */
function waiter(unitId: number, endsInDays: number, more: Partial<Waiter> = {}): Waiter {
  const notAfter = new Date(nowMs + endsInDays * DAY_MS);
  const notBefore = new Date(notAfter.getTime() - 7 * DAY_MS);
  const urgency = urgencyOf({ notBefore, notAfter }, NOW);
  return { unitId, urgency, region: '', sources: [`198.51.100.${unitId % 250}`], arrivedAtMs: nowMs, ...more };
}

function gateWith(options: { perSecond?: number; sourceShare?: number; placesMax?: number } = {}) {
  const gate = new StormGate<Waiter>({ perSecond: 10, sourceShare: 0.5, ...options }, () => 0.5);
  /** Grants one at a time, so that the order is what urgency says. */
  const order = (count: number): number[] =>
    Array.from({ length: count }, () => {
      gate.granted(1, nowMs);
      return gate.admit(nowMs)[0]?.waiter.unitId ?? -1;
    });
  return { gate, order };
}

describe('storm control (REN-7)', () => {
  test('who goes first is said by the time to expiry, and the longest expired is the next to lose its tier', () => {
    const { gate, order } = gateWith();
    const waiters = [waiter(1, 5), waiter(2, 0.5), waiter(3, -1), waiter(4, 2), waiter(5, -6), waiter(6, -40)];
    for (const one of waiters) expect(gate.enter(one, nowMs)).toEqual([]);
    expect(order(6)).toEqual([5, 3, 2, 4, 6, 1]);
  });

  test('regions take turns within a tier, and a tier goes before a region', () => {
    const { gate, order } = gateWith();
    for (let unit = 1; unit <= 6; unit++) gate.enter(waiter(unit, -6 - unit, { region: 'seoul' }), nowMs);
    for (let unit = 11; unit <= 12; unit++) gate.enter(waiter(unit, -1, { region: 'jeju' }), nowMs);
    gate.enter(waiter(21, 3, { region: 'busan' }), nowMs);
    const served = order(9);
    expect(served.slice(0, 4).filter((unit) => unit > 10)).toEqual([11, 12]);
    expect(served.at(-1)).toBe(21);
  });

  test('one address uses its share and no more while others wait, and all of the rate where nobody does', () => {
    const { gate, order } = gateWith({ sourceShare: 0.1 });
    for (let unit = 1; unit <= 50; unit++) gate.enter(waiter(unit, -20, { sources: ['203.0.113.9'] }), nowMs);
    for (let unit = 101; unit <= 140; unit++) gate.enter(waiter(unit, 3, { sources: [`home-${unit}`] }), nowMs);
    const greedy = order(40).filter((unit) => unit <= 50);
    expect(greedy.length).toBeGreaterThanOrEqual(2);
    expect(greedy.length).toBeLessThanOrEqual(5);
    expect(order(50).filter((unit) => unit > 0)).toHaveLength(50);
  });

  test('the queue is bounded: the least urgent loses its place and is told when to come', () => {
    const { gate } = gateWith({ placesMax: 2 });
    gate.enter(waiter(1, 3), nowMs);
    gate.enter(waiter(2, 2), nowMs);
    const [turned] = gate.enter(waiter(3, -1), nowMs);
    expect(turned?.waiter.unitId).toBe(1);
    expect(turned?.retryAfterSeconds).toBeGreaterThanOrEqual(1);
    expect(gate.enter(waiter(4, 6), nowMs)[0]?.waiter.unitId).toBe(4);
    expect(gate.waiting).toBe(2);
  });

  test('an address that fills the queue loses places before anybody else, however urgent its units are', () => {
    const { gate } = gateWith({ placesMax: 10, sourceShare: 0.3 });
    for (let unit = 1; unit <= 10; unit++) gate.enter(waiter(unit, -20, { sources: ['203.0.113.9'] }), nowMs);
    const [turned] = gate.enter(waiter(99, 3), nowMs);
    expect(turned?.waiter.unitId).toBeLessThanOrEqual(10);
  });

  test('whoever waited long enough is told to come again, and a unit has one place', () => {
    const { gate } = gateWith();
    gate.enter(waiter(1, -1), nowMs);
    expect(gate.enter(waiter(1, -1), nowMs)[0]?.retryAfterSeconds).toBe(2);
    expect(gate.turnAwayLate(nowMs + 1_999)).toEqual([]);
    expect(gate.turnAwayLate(nowMs + 2_000)).toHaveLength(1);
    expect(gate.waiting).toBe(0);
  });

  test('what was granted lapses unless it is used, and nobody goes without it', () => {
    const { gate } = gateWith();
    gate.granted(5, nowMs);
    gate.enter(waiter(1, -1), nowMs);
    expect(gate.admit(nowMs + 1_000)).toEqual([]);
    expect(gate.wanted(nowMs + 1_000)).toBeGreaterThanOrEqual(1);
  });
});

describe('moments to come again', () => {
  const booking = { tier: 0, source: 'a', nowMs, perSecond: 10, sourceShare: 1, random: 0.5 } as const;

  test('no moment is given out more often than the rate has room for', () => {
    const appointments = new Appointments();
    const moments = new Map<number, number>();
    for (let unit = 0; unit < 5_000; unit++) {
      const seconds = appointments.book({ ...booking, source: `home-${unit}` });
      moments.set(Math.floor(seconds / 10), (moments.get(Math.floor(seconds / 10)) ?? 0) + 1);
    }
    expect(Math.max(...moments.values())).toBeLessThanOrEqual(100);
    expect(Math.max(...moments.keys())).toBeLessThanOrEqual(52);
  });

  test('those that are not urgent leave early moments to those that are', () => {
    const appointments = new Appointments();
    for (let unit = 0; unit < 2_000; unit++) appointments.book({ ...booking, tier: 3, source: `home-${unit}` });
    expect(appointments.book({ ...booking, tier: 0, source: 'urgent' })).toBeLessThanOrEqual(20);
  });

  test('one source is spread by its share while others ask, and by the whole rate when it is alone', () => {
    const alone = new Appointments();
    const crowded = new Appointments();
    let [aloneLast, crowdedLast] = [0, 0];
    for (let unit = 0; unit < 500; unit++) {
      aloneLast = alone.book({ ...booking, source: 'nat', sourceShare: 0.1 });
      for (let other = 0; other < 3; other++) {
        crowded.book({ ...booking, source: `home-${unit}-${other}`, sourceShare: 0.1 });
      }
      crowdedLast = crowded.book({ ...booking, source: 'nat', sourceShare: 0.1 });
    }
    expect(aloneLast).toBeLessThan(70);
    expect(crowdedLast).toBeGreaterThan(300);
  });

  test('a full calendar still gives moments, spread over its later half', () => {
    const appointments = new Appointments();
    const last = Array.from({ length: 2_000 }, (_none, unit) =>
      appointments.book({ ...booking, perSecond: 0.1, sourceShare: 1, source: `home-${unit}` }),
    ).slice(-360);
    expect(Math.max(...last)).toBeLessThanOrEqual(7_200);
    expect(new Set(last).size).toBeGreaterThan(300);
  });
});

test('a slow token has a short line: the limit halves while it is slow and grows when it answers in time (H7)', () => {
  const inFlight = new InFlight();
  for (let count = inFlight.room(0); count > 0; count--) inFlight.begin(0);
  expect(inFlight.room(0)).toBe(0);
  const slow = new InFlight();
  slow.begin(0);
  for (let atMs = 2_001; atMs < 30_000; atMs += 2_000) slow.room(atMs);
  expect(slow.room(30_000)).toBeLessThanOrEqual(4);
  for (let count = 0; count < 100; count++) slow.begin(40_000)(40_100);
  expect(slow.room(40_100)).toBeGreaterThan(50);
});
