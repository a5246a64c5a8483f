import { describe, expect, test } from '@jest/globals';
import { crlHealth } from '../../../../src/lifecycle/status/index.js';

const HOUR_MS = 3_600_000;
const start = new Date('2026-11-24T00:00:00Z');
const hoursLater = (hours: number): Date => new Date(start.getTime() + hours * HOUR_MS);
const crl = (hours: number) => ({ label: 'device-ca-1', thisUpdate: start, nextUpdate: hoursLater(hours) });

describe('alarms before a CRL runs out (fault S6, rules 1.4)', () => {
  test.each([
    [1, 'none'],
    [3.1, 'half-life'],
    [5.5, 'expiring'],
    [6, 'expired'],
    [7, 'expired'],
  ] as const)('%d h after a six-hour CRL the alarm is %s', (hours, alarm) => {
    expect(crlHealth(crl(6), hoursLater(hours)).alarm).toBe(alarm);
  });

  test('a root CRL of 100 days alarms at 30 days left, not at half life', () => {
    expect(crlHealth(crl(2_400), hoursLater(60 * 24)).alarm).toBe('none');
    expect(crlHealth(crl(2_400), hoursLater(71 * 24)).alarm).toBe('half-life');
    expect(crlHealth(crl(2_400), hoursLater(94 * 24)).alarm).toBe('expiring');
  });

  test('a CRL without a life has none left', () => {
    expect(crlHealth(crl(0), start)).toMatchObject({ lifeLeft: 0, alarm: 'expired' });
  });
});
