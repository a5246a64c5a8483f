import { expect, test } from '@jest/globals';
import { type SpoofedForwarding, watchForwarding } from '../../../../src/protocol/rest/spoofed-forwarding.js';

const clock = { nowMs: 1_764_000_000_000, now: () => new Date(clock.nowMs) };

function watched(trustedProxies: readonly string[] = []) {
  const told: SpoofedForwarding[] = [];
  const look = watchForwarding({ trustedProxies, clock }, (spoofed) => told.push(spoofed));
  const from = (remoteAddress: string, headers: Record<string, string>): void =>
    look({ headers, socket: { remoteAddress } as never });
  return { told, from };
}

test('a forwarded address from nobody listed is told once a minute and prefix, without what it says', () => {
  const { told, from } = watched();
  from('192.0.2.7', { 'x-forwarded-for': '198.51.100.1' });
  from('::ffff:192.0.2.8', { 'x-forwarded-for': '10.0.0.1' });
  from('2001:db8:10::7', { forwarded: 'for=10.0.0.1' });
  from('192.0.2.9', {});
  expect(told).toEqual([
    { prefix: '192.0.2.0/24', header: 'x-forwarded-for', before: 0 },
    { prefix: '2001:db8:10::/48', header: 'forwarded', before: 0 },
  ]);
  clock.nowMs += 60_000;
  from('192.0.2.7', { 'x-real-ip': '10.0.0.1' });
  expect(told.at(-1)).toEqual({ prefix: '192.0.2.0/24', header: 'x-real-ip', before: 1 });
});

test('a listed proxy does its work and is not told of', () => {
  const { told, from } = watched(['192.0.2.0/24']);
  from('192.0.2.7', { 'x-forwarded-for': '198.51.100.1' });
  expect(told).toEqual([]);
});

test('more prefixes than are remembered are one more line, not a thousand', () => {
  const { told, from } = watched();
  for (let n = 0; n < 3_000; n += 1) from(`10.${n >> 8}.${n & 255}.1`, { forwarded: 'x' });
  expect(told).toHaveLength(1_001);
  expect(told.at(-1)?.prefix).toBe('others');
});
