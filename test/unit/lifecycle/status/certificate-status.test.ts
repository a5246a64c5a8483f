import { describe, expect, test } from '@jest/globals';
import { decideStatus, type StatusFacts } from '../../../../src/lifecycle/status/index.js';

const now = new Date('2026-11-24T12:30:00Z');
const minutesAgo = (minutes: number): Date => new Date(now.getTime() - minutes * 60_000);
const nothing: StatusFacts = { heartbeatAt: minutesAgo(0), isPrimary: true, row: null, isIssued: false, intent: null };
const row = (state: 'held' | 'revoked' | 'released') => ({ state, reason: 1, revokedAt: minutesAgo(5) });

/** A serial of our shape drawn in the hour of `at`. */
function drawnAt(at: Date): Buffer {
  const serial = Buffer.alloc(16, 7);
  serial[0] = 1;
  serial.writeUInt32BE(Math.floor(at.getTime() / 3_600_000), 1);
  return serial;
}
const serial = drawnAt(now);

describe('what may be said about a serial (rules 6.1, 6.2)', () => {
  test('good only when it is recorded as issued and not revoked', () => {
    expect(decideStatus({ ...nothing, isIssued: true, intent: 'issued' }, serial, now)).toEqual({ kind: 'good' });
    expect(decideStatus({ ...nothing, isIssued: true, row: row('released') }, serial, now)).toEqual({ kind: 'good' });
  });

  test.each(['held', 'revoked'] as const)('a row that says %s wins over the record of issuing', (state) => {
    expect(decideStatus({ ...nothing, isIssued: true, row: row(state) }, serial, now)).toEqual({
      kind: 'revoked',
      at: minutesAgo(5),
      reason: 1,
      isHeld: state === 'held',
    });
  });

  test('a revoked row without a record is revoked: an abandoned serial, or one that was never ours to issue', () => {
    expect(decideStatus({ ...nothing, row: row('revoked') }, serial, now)).toMatchObject({ kind: 'revoked' });
  });

  test('nothing is said from state older than a minute, not even what it holds', () => {
    for (const heartbeatAt of [null, minutesAgo(1.1)]) {
      expect(decideStatus({ ...nothing, heartbeatAt, isIssued: true }, serial, now)).toEqual({
        kind: 'unsure',
        why: 'stale',
      });
      expect(decideStatus({ ...nothing, heartbeatAt, row: row('revoked') }, serial, now)).toMatchObject({
        kind: 'unsure',
      });
    }
  });

  test('what is being signed is neither good nor unknown', () => {
    expect(decideStatus({ ...nothing, intent: 'signing' }, serial, now)).toEqual({ kind: 'unsure', why: 'signing' });
  });

  test.each([
    ['an issued intent without its certificate', { intent: 'issued' }],
    ['an abandoned intent without its row', { intent: 'abandoned' }],
    ['a released row without its certificate', { row: row('released') }],
  ] as const)('%s is a contradiction: nothing is said', (_what, facts) => {
    expect(decideStatus({ ...nothing, ...facts }, serial, now)).toEqual({ kind: 'unsure', why: 'inconsistent' });
  });

  test('the primary may say never-issued of the present hour, and not of the future', () => {
    expect(decideStatus(nothing, serial, now)).toEqual({ kind: 'never-issued' });
    expect(decideStatus(nothing, drawnAt(minutesAgo(-60)), now)).toEqual({ kind: 'unsure', why: 'too-new' });
  });

  test('a replica may say it only once its heartbeat has passed the hour that the serial was drawn in', () => {
    const replica = { ...nothing, isPrimary: false };
    expect(decideStatus(replica, serial, now)).toEqual({ kind: 'unsure', why: 'too-new' });
    expect(decideStatus(replica, drawnAt(minutesAgo(60)), now)).toEqual({ kind: 'never-issued' });
    // 12:30 with a heartbeat of 12:29:30, about a serial of 11:xx: past it. Of 12:xx: not.
    expect(decideStatus({ ...replica, heartbeatAt: minutesAgo(0.5) }, drawnAt(minutesAgo(40)), now)).toEqual({
      kind: 'never-issued',
    });
  });

  test('a serial of a shape that we never draw is never issued, anywhere', () => {
    expect(decideStatus({ ...nothing, isPrimary: false }, Buffer.from('1234', 'hex'), now)).toEqual({
      kind: 'never-issued',
    });
  });
});
