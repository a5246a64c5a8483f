import { describe, expect, test } from '@jest/globals';
import { type DeniedHour, judgeDenials, judgeNewcomer } from '../../../../src/lifecycle/detection/traffic/denials.js';
import { type DistrictHour, judgeDistrict } from '../../../../src/lifecycle/detection/traffic/district.js';

const NOON = Date.parse('2026-11-25T12:00:00Z');
const HOUR_MS = 3_600_000;
const hoursAgo = (hours: number): Date => new Date(NOON - hours * HOUR_MS);

describe('a unit that is denied again and again (DET-4)', () => {
  const denied = (hours: number, denials: number): DeniedHour => ({
    hour: hoursAgo(hours),
    lastAt: hoursAgo(hours),
    denials,
    reasons: ['LINE_MISMATCH'],
    gateways: ['segw-gangnam-1'],
    raw: [{ id: hours, at: `${hours}` }],
  });
  const judge = (...hours: DeniedHour[]) => judgeDenials({ unitId: 7, serialNumber: 'SHB-24-00007', hours });

  test('ten times in an hour are a burst, nine are not', () => {
    expect(judge(denied(0, 9))).toBeNull();
    expect(judge(denied(5, 1), denied(0, 10))).toMatchObject({
      rule: 'REPEATED_DENIALS',
      grade: 'soft',
      words: 'Denied 10 times within an hour: LINE_MISMATCH',
      raw: [{ id: 0, at: '0' }],
    });
  });

  test('a slow drip stays below every hour’s threshold and is seen over seven days', () => {
    const drip = [120, 96, 72, 48, 0].map((hours) => denied(hours, 4));
    expect(judge(...drip)).toMatchObject({
      words: 'Denied 20 times within 7 days, on 5 of them: LINE_MISMATCH',
      firstAt: hoursAgo(120),
    });
    expect(judge(...drip.slice(1))).toBeNull();
    // All of it within two days is no drip.
    expect(judge(...[30, 29, 28, 1, 0].map((hours) => denied(hours, 4)))).toBeNull();
  });

  test('a gateway and a line where it never was are told in words', () => {
    const newcomer = {
      ...{ unitId: 7, serialNumber: 'SHB-24-00007', gateway: 'segw-busan-1', before: ['segw-gangnam-1'] },
      ...{ newLine: 'line-9', at: hoursAgo(0), raw: [] },
    };
    expect(judgeNewcomer(newcomer)).toMatchObject({
      rule: 'NEW_GATEWAY',
      grade: 'soft',
      words:
        'At segw-busan-1, where it was not in the 7 days before (segw-gangnam-1), and on line line-9 for the first time',
    });
  });
});

describe('a district (DET-4)', () => {
  const hour = (hours: number, counts: Partial<DistrictHour>): DistrictHour => ({
    hour: hoursAgo(hours),
    attempts: 0,
    denied: 0,
    ...counts,
  });
  const judge = (...hours: DistrictHour[]) => judgeDistrict({ region: 'Seoul', hours, lastAt: hoursAgo(0) });

  test('more than four times what this time of the day had in the week before is a burst', () => {
    const usual = [167, 48, 25, 24, 23].map((hours) => hour(hours, { attempts: 10 }));
    expect(judge(...usual, hour(0, { attempts: 40 }))).toEqual([]);
    expect(judge(...usual, hour(0, { attempts: 41 }))).toMatchObject([
      {
        rule: 'DISTRICT_BURST',
        subject: 'district:Seoul',
        unitId: null,
        grade: 'soft',
        words:
          '41 authentications and registrations in the hour from 12:00 UTC; at most 10 at this time of the day in the week before, 40 are let pass',
        facts: { what: 'attempts', count: 41, usual: 10, threshold: 40 },
      },
    ]);
  });

  test('odd hours show: what is usual in the evening is a burst at noon', () => {
    const evening = [41, 17].map((hours) => hour(hours, { attempts: 500 }));
    expect(judge(...evening, hour(0, { attempts: 60 }))).toMatchObject([{ rule: 'DISTRICT_BURST' }]);
    expect(judge(hour(24, { attempts: 500 }), hour(0, { attempts: 60 }))).toEqual([]);
  });

  test('of a district that is new nobody can say what is usual, and a quiet one makes no noise', () => {
    expect(judge(hour(5, {}), hour(0, { attempts: 1_000 }))).toEqual([]);
    expect(judge(hour(200, {}), hour(0, { attempts: 20, denied: 20 }))).toEqual([]);
  });

  test('denials are told before attempts', () => {
    expect(judge(hour(200, {}), hour(0, { attempts: 50, denied: 30 }))).toMatchObject([{ facts: { what: 'denied' } }]);
  });

  test('denials that rise over a week without a burst are a drip', () => {
    const drip = Array.from({ length: 21 }, (_, n) => hour(160 - n * 8, { denied: 2 }));
    expect(judge(hour(200, {}), ...drip)).toMatchObject([
      {
        rule: 'DISTRICT_DRIP',
        words: '42 denials within 7 days, 0 in the 7 days before; 40 are let pass',
        firstAt: hoursAgo(160),
      },
    ]);
    expect(judge(hour(300, { denied: 21 }), ...drip)).toEqual([]);
  });
});
