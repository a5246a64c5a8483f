import { randomBytes, randomInt } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { dayOf, StatusIndex } from '../../../../src/lifecycle/status/status-index.js';
import { PAGES } from '../../../../src/lifecycle/status/status-index-pages.js';
import { newSerial } from '../../../../src/x509/serial.js';

const NOW = new Date('2026-06-01T00:00:00Z');
const DAY_MS = 86_400_000;
const inDays = (days: number) => new Date(NOW.getTime() + days * DAY_MS);
const serialOf = (daysAgo = 0) => newSerial(inDays(-daysAgo), randomBytes);

describe('every issued certificate in memory, exactly', () => {
  test('200,000 serials of several CAs are all found, and none that differs by one bit, hour or CA', () => {
    const index = new StatusIndex();
    const serials = Array.from({ length: 200_000 }, (_, at) => ({ issuerId: 1 + (at % 3), serial: serialOf(at % 30) }));
    for (const { issuerId, serial } of serials) index.addIssued(issuerId, serial, inDays(7));
    for (const { issuerId, serial } of serials) index.addIssued(issuerId, serial, inDays(7)); // again: nothing more
    expect(index.counts.issued).toBe(serials.length);
    for (const { issuerId, serial } of serials) {
      if (!index.look(issuerId, serial).isIssued) throw new Error('lost');
      if (index.look(issuerId + 3, serial).isIssued) throw new Error('another CA');
      const other = Buffer.from(serial);
      const bit = randomInt(8, 128);
      other[bit >> 3] = (other[bit >> 3] as number) ^ (1 << (bit & 7));
      if (index.look(issuerId, other).isIssued) throw new Error(`bit ${bit} does not count`);
    }
    expect(index.counts.bytes / serials.length).toBeLessThan(40);
  });

  test('serials that share all that chooses their place are told apart', () => {
    const index = new StatusIndex();
    const first = serialOf();
    const alike = Array.from({ length: 500 }, (_, at) => {
      const serial = Buffer.from(first);
      serial.writeUInt32BE(at, 11); // beyond the page and the first word
      return serial;
    });
    for (const serial of alike.slice(0, 250)) index.addIssued(1, serial, inDays(7));
    expect(alike.map((serial) => index.look(1, serial).isIssued)).toEqual(alike.map((_, at) => at < 250));
  });

  test.each([
    ['short', Buffer.from('1234', 'hex')],
    ['zero', Buffer.alloc(16)],
    ['of the year 3900', Buffer.concat([Buffer.from('01ffffffff', 'hex'), Buffer.alloc(11)])],
    ['twenty octets', Buffer.alloc(20, 7)],
  ])('a serial that is %s is kept too', (_what, serial) => {
    const index = new StatusIndex();
    expect(index.look(1, serial)).toEqual({ isIssued: false, row: null });
    index.addIssued(1, serial, inDays(7));
    const row = { state: 'revoked', reason: 1, revokedAt: NOW } as const;
    index.setRow(1, serial, dayOf(inDays(7)), row);
    expect(index.look(1, serial)).toEqual({ isIssued: true, row });
    expect(index.look(2, serial)).toEqual({ isIssued: false, row: null });
  });
});

describe('status rows', () => {
  test('state, reason and instant come back as they were; the same again is no change', () => {
    const index = new StatusIndex();
    for (const state of ['held', 'revoked', 'released'] as const) {
      for (let reason = 0; reason <= 10; reason += 1) {
        const serial = serialOf();
        const row = { state, reason, revokedAt: new Date(randomInt(0, 2 ** 42)) };
        expect(index.setRow(7, serial, dayOf(inDays(3)), row)).toBe(true);
        expect(index.setRow(7, serial, dayOf(inDays(3)), row)).toBe(false);
        expect(index.look(7, serial)).toEqual({ isIssued: false, row });
      }
    }
  });

  test('the newest row counts', () => {
    const index = new StatusIndex();
    const serial = serialOf();
    index.addIssued(1, serial, inDays(7));
    index.setRow(1, serial, dayOf(inDays(7)), { state: 'held', reason: 6, revokedAt: NOW });
    index.setRow(1, serial, dayOf(inDays(7)), { state: 'revoked', reason: 1, revokedAt: NOW });
    expect(index.look(1, serial).row).toEqual({ state: 'revoked', reason: 1, revokedAt: NOW });
  });
});

describe('what expired more than a month ago is forgotten', () => {
  const sweep = (index: StatusIndex, now: Date): void => {
    for (let page = 0; page < PAGES; page += 1) index.sweepSome(now);
  };

  test('that, and nothing else; the room is given back', () => {
    const index = new StatusIndex();
    const old = Array.from({ length: 20_000 }, () => serialOf(60));
    const kept = Array.from({ length: 5_000 }, () => serialOf(20));
    for (const serial of old) index.addIssued(1, serial, inDays(-33));
    for (const serial of kept) index.addIssued(1, serial, inDays(-30));
    const before = index.counts.bytes;
    sweep(index, NOW);
    expect(index.counts.issued).toBe(kept.length);
    expect(kept.every((serial) => index.look(1, serial).isIssued)).toBe(true);
    expect(old.some((serial) => index.look(1, serial).isIssued)).toBe(false);
    expect(index.counts.bytes).toBeLessThan(before);
  });

  test('a row stays as long as its certificate, whatever expiry it was told with, and in either order', () => {
    const index = new StatusIndex();
    const row = { state: 'revoked', reason: 1, revokedAt: NOW } as const;
    const [first, second] = [serialOf(60), serialOf(60)];
    index.addIssued(1, first, inDays(7));
    index.setRow(1, first, dayOf(inDays(-40)), row);
    index.setRow(1, second, dayOf(inDays(-40)), row);
    index.addIssued(1, second, inDays(7));
    sweep(index, NOW);
    expect([index.look(1, first), index.look(1, second)]).toEqual([
      { isIssued: true, row },
      { isIssued: true, row },
    ]);
  });
});
