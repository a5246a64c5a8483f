import { describe, expect, test } from '@jest/globals';
import { lateness, owedFrom, RULE_PACKS, type RulePack } from '../../../../src/lifecycle/incident/rule-packs.js';

describe('what is owed, and until when (INC-1)', () => {
  test('a tip on 1 September at 10:00 in Korea is owed on 2 September at 10:00, and to privacy two days later', () => {
    const tip = new Date('2026-09-01T10:00:00+09:00');
    const owed = owedFrom(RULE_PACKS, 'awareness', tip, tip).map(({ duty, dueAt }) => [duty, dueAt.toISOString()]);
    expect(owed).toEqual([
      ['network-initial', new Date('2026-09-02T10:00:00+09:00').toISOString()],
      ['privacy-authority', new Date('2026-09-04T10:00:00+09:00').toISOString()],
      ['user-notice', new Date('2026-09-04T10:00:00+09:00').toISOString()],
    ]);
  });

  test('each new fact runs for itself', () => {
    const aware = new Date('2026-09-01T01:00:00Z');
    const fact = new Date('2026-09-01T13:30:00Z');
    expect(owedFrom(RULE_PACKS, 'fact', aware, fact)).toEqual([
      {
        pack: 'network-law-2024',
        duty: 'network-supplementary',
        beganAt: fact,
        dueAt: new Date('2026-09-02T13:30:00Z'),
      },
    ]);
  });

  test('the pack of the day somebody knew speaks, to the second of its change', () => {
    const change = new Date('2026-10-01T00:00:00Z');
    const pack = (name: string, from: Date, until: Date | null, hours: number): RulePack => ({
      name,
      effectiveFrom: from,
      effectiveUntil: until,
      duties: [{ duty: 'initial', starts: 'awareness', hours }],
    });
    const packs = [pack('old', new Date(0), change, 24), pack('new', change, null, 12)];
    const named = (at: Date) => owedFrom(packs, 'awareness', at, at).map(({ pack: name }) => name);
    expect(named(new Date(change.getTime() - 1))).toEqual(['old']);
    expect(named(change)).toEqual(['new']);
  });

  test.each([
    ['2026-09-02T10:00:00Z', '2026-09-02T10:00:00Z', null],
    ['2026-09-02T10:00:00Z', '2026-09-02T10:00:59Z', null],
    ['2026-09-02T10:00:00Z', '2026-09-02T10:01:00Z', '0:01'],
    ['2026-09-02T10:00:00Z', '2026-09-04T12:05:00Z', '50:05'],
  ])('due %s, done %s: late %s', (due, done, late) => {
    expect(lateness(new Date(due), new Date(done), new Date('2027-01-01T00:00:00Z'))).toBe(late);
    expect(lateness(new Date(due), null, new Date(done))).toBe(late);
  });
});
