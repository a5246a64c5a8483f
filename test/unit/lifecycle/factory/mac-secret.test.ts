import { execFileSync } from 'node:child_process';
import { describe, expect, test } from '@jest/globals';
import { isUsable, type MacSecret, secretOf } from '../../../../src/lifecycle/factory/mac-secret.js';

const HOUR_MS = 3_600_000;
const now = new Date('2026-11-25T12:00:00Z');
const hoursOn = (hours: number): Date => new Date(now.getTime() + hours * HOUR_MS);

test('a secret is HMAC-SHA256 over its reference, so openssl derives the same from the key file', () => {
  const key = Buffer.alloc(32, 7);
  const reference = 'AAECAwQFBgcICQoLDA0ODw';
  const mac = execFileSync(
    'openssl',
    ['dgst', '-sha256', '-mac', 'HMAC', '-macopt', `hexkey:${key.toString('hex')}`, '-binary'],
    { input: `femtopki-cmp-mac-v1${reference}` },
  );
  expect(secretOf(key, reference)).toBe(mac.toString('base64url'));
  expect(secretOf(Buffer.alloc(32, 8), reference)).not.toBe(mac.toString('base64url'));
});

describe('a secret proves something', () => {
  const made: MacSecret = {
    reference: 'AAECAwQFBgcICQoLDA0ODw',
    unitId: 1,
    state: 'open',
    createdBy: 'person:kim',
    createdAt: now,
    expiresAt: hoursOn(24),
    spentAt: null,
  };
  test.each<[string, Partial<MacSecret>, number, boolean]>([
    ['open, before its end', {}, 23, true],
    ['open, at its end', {}, 24, false],
    ['spent, while its unit may still confirm', { state: 'spent', spentAt: hoursOn(1) }, 24.9, true],
    ['spent more than a day ago', { state: 'spent', spentAt: hoursOn(1) }, 25, false],
    ['withdrawn', { state: 'withdrawn' }, 1, false],
  ])('%s', (_name, changes, hours, usable) => {
    expect(isUsable({ ...made, ...changes }, hoursOn(hours))).toBe(usable);
  });
});
