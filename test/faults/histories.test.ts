/** Some of the lives that `npm run fuzz -- histories` plays by the ten thousand. */
import { describe, expect, test } from '@jest/globals';
import { playHistory } from '../../bench/fuzz/histories/play.js';
import { openRange } from '../../bench/fuzz/histories/range.js';
import { runHistories } from '../../bench/fuzz/histories/run.js';
import { makeSoftwareCa } from '../../bench/fuzz/histories/software-ca.js';
import type { History } from '../../bench/fuzz/histories/step.js';

const seed = Date.now() % 2 ** 31;
const came = (report: { steps: ReadonlyMap<string, number> }, what: RegExp): number =>
  [...report.steps].reduce((sum, [word, n]) => sum + (what.test(word) ? n : 0), 0);

describe('random histories of a unit (REN-4, DET-1)', () => {
  test('an honest unit is never restricted, and nothing about it is worse than soft but many new keys', async () => {
    const report = await runHistories('honest', { runs: 24, seed });
    expect({ seed, faults: report.faults }).toEqual({ seed, faults: [] });
    // Histories that never get there prove nothing. What comes in one of thirty lives is left to the long run.
    for (const what of [/renewed/, /connect: permit/, /replay: refused/, /: deny/])
      expect(`${what}: ${came(report, what) > 0}`).toBe(`${what}: true`);
  });

  test('where two holders were shown, there is strong or hard evidence by then', async () => {
    const report = await runHistories('dishonest', { runs: 24, seed });
    expect({ seed, faults: report.faults }).toEqual({ seed, faults: [] });
    expect(report.shown).toBeGreaterThan(2);
  });

  test('a copied flash that renews in turn is seen by the oracle and by the product', async () => {
    const renew = (by: 'unit' | 'thief') =>
      ({ do: 'renew', by, proof: 'nonce', answer: 'arrives', lostBefore: 0, minutesApart: 1 }) as const;
    const confirm = { do: 'confirm', by: 'thief', answer: 'arrives' } as const;
    const history: History = {
      client: 'keeps its key',
      copiedAfter: 0,
      steps: [renew('thief'), confirm, renew('unit')],
    };
    const range = await openRange(makeSoftwareCa());
    try {
      const { unit, oracle, told } = await playHistory(range, history, Date.now());
      await range.work();
      expect(told.at(-1)).toBe('renew: refused FORK_HARD (head-1, other key, head confirmed)');
      expect(oracle.shown).toBe('the keys of two different successors were both proved live');
      expect(await range.verdictOf(unit.id)).toEqual({ state: 'QUARANTINED', evidence: ['hard FORK_HARD'] });
    } finally {
      await range.close();
    }
  });
});
