import { describe, expect, test } from '@jest/globals';
import { rowOf } from '../../../bench/measure/rounds.js';
import type { Round } from '../../../bench/scenario.js';

const scenario = {
  name: 'some',
  unit: 'things/s',
  limit: 'none',
  run: () => Promise.reject(new Error('not run here')),
};
const round = (perSecond: number, changes: Partial<Round> = {}): Round => ({
  perSecond,
  cpuSecondsPerOperation: 1 / perSecond,
  generatorBusy: 0.1,
  ...changes,
});
const five = (perSecond: number): Round[] => Array.from({ length: 5 }, () => round(perSecond));
const good = { product: five(80), limit: five(100), checks: [{ what: 'all is well', ok: true }] };

describe('a bench row', () => {
  test('takes medians and compares product with limit', () => {
    const product = [round(80), round(79), round(81), round(82), round(78)];
    const row = rowOf(scenario, { ...good, product });
    expect(row).toMatchObject({ value: 80, limitValue: 100, ratio: 0.8, spread: 0.05, checked: true });
    expect(row.cpuRatio).toBeCloseTo(1.25);
  });

  test('is not checked when something that was made is wrong', () => {
    expect(rowOf(scenario, { ...good, checks: [{ what: 'a row is missing', ok: false }] }).checked).toBe(false);
  });

  test('is not checked when rounds differ by more than 15 %', () => {
    const product = [...five(80).slice(1), round(93)];
    expect(rowOf(scenario, { ...good, product }).checked).toBe(false);
  });

  test('is not checked when a generator was more than 80 % busy, on either side', () => {
    const busy = [...five(100).slice(1), round(100, { generatorBusy: 0.81 })];
    expect(rowOf(scenario, { ...good, limit: busy }).checked).toBe(false);
    expect(rowOf(scenario, { ...good, product: busy }).checked).toBe(false);
  });

  test('compares with a sibling where there is one, which must have been steady, too', () => {
    const sibling = (rounds: Round[]) => rowOf(scenario, { ...good, peer: { name: 'rest', rounds } });
    expect(sibling(five(40))).toMatchObject({ peer: 'rest', peerValue: 40, peerRatio: 2, checked: true });
    expect(sibling([...five(40).slice(1), round(60)]).checked).toBe(false);
    expect(sibling([...five(40).slice(1), round(40, { generatorBusy: 0.81 })]).checked).toBe(false);
  });

  test('is not checked after fewer than five rounds', () => {
    expect(rowOf(scenario, { ...good, product: five(80).slice(1) }).checked).toBe(false);
  });
});
