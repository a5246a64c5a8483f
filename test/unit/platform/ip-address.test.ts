import { describe, expect, test } from '@jest/globals';
import {
  canonicalAddress,
  homeOf,
  isInPrefixes,
  isPrefix,
  sourcePrefix,
} from '../../../src/platform/net/ip-address.js';

describe('addresses', () => {
  test.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:c000:0201', '192.0.2.1'],
    ['2001:0DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['::1', '::1'],
  ])('%s is written %s', (text, canonical) => {
    expect(canonicalAddress(text)).toBe(canonical);
  });

  test.each([
    '',
    'unknown',
    '127.1',
    '0x7f.0.0.1',
    '0300.0.2.1',
    '1.2.3.4:80',
    '[::1]',
    'fe80::1%eth0',
    '1.2.3.256',
    '::ffff:1.2.3',
  ])('%j is no address', (text) => {
    expect(canonicalAddress(text)).toBeNull();
  });

  test('a mapped address is inside an IPv4 prefix and inside no IPv6 one', () => {
    expect(isInPrefixes('::ffff:192.0.2.9', ['192.0.2.0/24'])).toBe(true);
    expect(isInPrefixes('::ffff:192.0.2.9', ['::/0'])).toBe(false);
    expect(isInPrefixes('192.0.3.9', ['192.0.2.0/24', 'nonsense', '2001:db8::/32'])).toBe(false);
  });

  test('a prefix has no bit behind its length', () => {
    expect(['192.0.2.0/24', '2001:db8::/32', '10.0.0.1/32'].every(isPrefix)).toBe(true);
    expect(
      ['192.0.2.1/24', '192.0.2.0', '192.0.2.0/33', '::ffff:192.0.2.0/120', 'x/24', '1.2.3.0/-1'].some(isPrefix),
    ).toBe(false);
  });

  test('junk is counted under /24 and /48', () => {
    expect(sourcePrefix('198.51.100.77')).toBe('198.51.100.0/24');
    expect(sourcePrefix('2001:db8:1:2::3')).toBe('2001:db8:1::/48');
    expect(sourcePrefix('nonsense')).toBe('unknown');
  });

  test('one home is an IPv4 address, or a whole IPv6 /64', () => {
    expect(homeOf('::ffff:198.51.100.77')).toBe('198.51.100.77');
    expect(homeOf('2001:db8:1:2::3')).toBe(homeOf('2001:db8:1:2:ffff::4'));
    expect(homeOf('2001:db8:1:2::3')).not.toBe(homeOf('2001:db8:1:3::3'));
  });
});
