import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  checkPolicyDocument,
  compilePolicy,
  dangerOf,
  judgeNetwork,
  NETWORK_ACTIONS,
  type NetworkPolicyDocument,
  type NetworkRule,
  type NetworkSubject,
} from '../../../../src/lifecycle/registry/index.js';
import type { GeoLookup } from '../../../../src/platform/net/geo-databases.js';
import { NO_GEO } from '../../../../src/platform/net/geo-databases.js';

/** 198.51.100.x = own ASN, home; 203.0.113.x = rival at home below 128, foreign hoster above; others are not listed. */
const GEO: GeoLookup = {
  asn: (address) => {
    if (address.startsWith('198.51.100.')) return { known: 64_496 };
    return address.startsWith('203.0.113.') ? { known: isAbroad(address) ? 64_509 : 64_500 } : 'unlisted';
  },
  country: (address) => {
    if (address.startsWith('198.51.100.')) return { known: 'KR' };
    return address.startsWith('203.0.113.') ? { known: isAbroad(address) ? 'ZZ' : 'KR' } : 'unlisted';
  },
};
const isAbroad = (address: string): boolean => Number(address.split('.')[3]) >= 128;

const HOME_ONLY: readonly NetworkRule[] = [
  { name: 'no-asn', action: 'deny', asn: 'any' },
  { name: 'own-asn', action: 'allow', asn: 64_496 },
  { name: 'abroad', action: 'deny', country: 'any' },
  { name: 'home', action: 'allow', country: 'KR' },
];

function at(address: string, changes: Partial<NetworkSubject> = {}): NetworkSubject {
  return { event: 'ike', address, batch: 'B-1', model: 'FC-200', region: 'seoul', ...changes };
}

function judged(rules: readonly NetworkRule[], subject: NetworkSubject, geo = GEO, whenUnknown = {}) {
  return judgeNetwork(compilePolicy(checkPolicyDocument({ rules, whenUnknown })), subject, geo);
}

describe('network policy: who wins (NET-1)', () => {
  test.each([
    ['the operator’s own network', HOME_ONLY, at('198.51.100.7'), 'allow', []],
    ['another operator at home is told by its ASN alone', HOME_ONLY, at('203.0.113.7'), 'deny', ['NET_ASN']],
    ['a foreign hoster by both', HOME_ONLY, at('203.0.113.200'), 'deny', ['NET_ASN', 'NET_COUNTRY']],
    ['what no database lists is any', HOME_ONLY, at('192.0.2.1'), 'deny', ['NET_ASN', 'NET_COUNTRY']],
    [
      'a prefix lifts what its ASN and country say',
      [...HOME_ONLY, { name: 'lab', action: 'allow', cidr: '203.0.113.200/32' }],
      at('203.0.113.200'),
      'allow',
      [],
    ],
    [
      'the longer prefix, whatever comes first',
      [
        { name: 'a', action: 'allow', cidr: '203.0.113.0/24' },
        { name: 'b', action: 'restrict', cidr: '203.0.113.128/25' },
        { name: 'c', action: 'deny', cidr: '203.0.0.0/16' },
      ],
      at('203.0.113.200'),
      'restrict',
      ['NET_CIDR'],
    ],
    [
      'place before group: a longer prefix for all beats a shorter one for the batch',
      [
        { name: 'a', action: 'deny', cidr: '203.0.113.0/24', batch: 'B-1' },
        { name: 'b', action: 'allow', cidr: '203.0.113.0/25' },
      ],
      at('203.0.113.7'),
      'allow',
      [],
    ],
    [
      'in one place: batch, model, region, all',
      [
        { name: 'a', action: 'deny', cidr: '203.0.113.0/24' },
        { name: 'b', action: 'deny', cidr: '203.0.113.0/24', region: 'seoul' },
        { name: 'c', action: 'deny', cidr: '203.0.113.0/24', model: 'FC-200' },
        { name: 'd', action: 'allow', cidr: '203.0.113.0/24', batch: 'B-1' },
      ],
      at('203.0.113.7'),
      'allow',
      [],
    ],
    [
      'a rule for fewer events before one for more',
      [
        { name: 'a', action: 'deny', cidr: '203.0.113.0/24' },
        { name: 'b', action: 'restrict', cidr: '203.0.113.0/24', events: ['ike', 'config'] },
      ],
      at('203.0.113.7'),
      'restrict',
      ['NET_CIDR'],
    ],
    [
      'the stricter of two that are alike',
      [
        { name: 'a', action: 'allow', cidr: '203.0.113.0/24' },
        { name: 'b', action: 'deny', cidr: '203.0.113.0/24' },
      ],
      at('203.0.113.7'),
      'deny',
      ['NET_CIDR'],
    ],
    [
      'rules of other events and groups are none',
      [
        { name: 'a', action: 'deny', cidr: '0.0.0.0/0', events: ['renewal'] },
        { name: 'b', action: 'deny', cidr: '0.0.0.0/0', model: 'FC-300' },
        { name: 'c', action: 'deny', cidr: '::/0' },
      ],
      at('203.0.113.7'),
      'allow',
      [],
    ],
    [
      'IPv6 by its own prefixes',
      [{ name: 'a', action: 'deny', cidr: '2001:db8:10::/44' }],
      at('2001:db8:1f::1'),
      'deny',
      ['NET_CIDR'],
    ],
  ] as [string, NetworkRule[], NetworkSubject, string, string[]][])('%s', (_what, rules, subject, action, reasons) => {
    expect(judged(rules, subject)).toMatchObject({ action, reasons });
  });

  test('a stranger, of no group, meets the rules for all only', () => {
    const rules: NetworkRule[] = [{ name: 'a', action: 'deny', cidr: '0.0.0.0/0', model: 'FC-200' }];
    expect(judged(rules, at('203.0.113.7', { batch: null, model: null, region: null })).action).toBe('allow');
  });

  test('the order in which rules are written never matters', () => {
    const rule = fc.record({
      action: fc.constantFrom(...NETWORK_ACTIONS),
      place: fc.constantFrom(
        { cidr: '203.0.113.0/24' },
        { cidr: '203.0.113.0/25' },
        { asn: 64_500 },
        { asn: 'any' as const },
        { country: 'KR' },
        { country: 'any' },
      ),
      group: fc.constantFrom({}, { batch: 'B-1' }, { model: 'FC-200' }, { region: 'seoul' }),
    });
    fc.assert(
      fc.property(fc.array(rule, { maxLength: 8 }), fc.integer({ min: 0, max: 255 }), (made, octet) => {
        const rules = made.map(({ action, place, group }, index) => ({
          name: `r${index}`,
          action,
          ...place,
          ...group,
        }));
        const subject = at(`203.0.113.${octet}`);
        expect(judged(rules.toReversed(), subject)).toEqual(judged(rules, subject));
      }),
    );
  });
});

describe('a database that is missing or old (NET-3)', () => {
  test('refuses a factory, lets a unit in with NET_UNKNOWN, and obeys a policy that says otherwise', () => {
    const unknown = (event: NetworkSubject['event'], whenUnknown = {}) =>
      judged(HOME_ONLY, at('198.51.100.7', { event }), NO_GEO, whenUnknown);
    expect(unknown('enrolment')).toMatchObject({ action: 'deny', reasons: ['NET_UNKNOWN'] });
    for (const event of ['renewal', 'ike', 'registration', 'config'] as const) {
      expect(unknown(event)).toMatchObject({ action: 'allow', reasons: ['NET_UNKNOWN'] });
    }
    expect(unknown('ike', { ike: 'restrict' })).toMatchObject({ action: 'restrict', reasons: ['NET_UNKNOWN'] });
  });

  test('lifts nothing: what can be read still denies', () => {
    const half: GeoLookup = { asn: () => 'unavailable', country: GEO.country };
    expect(judged(HOME_ONLY, at('203.0.113.200'), half)).toMatchObject({
      action: 'deny',
      reasons: ['NET_UNKNOWN', 'NET_COUNTRY'],
    });
    expect(judged(HOME_ONLY, at('198.51.100.7'), half)).toMatchObject({ action: 'allow', reasons: ['NET_UNKNOWN'] });
  });

  test('is nobody’s news where no rule needs it', () => {
    const rules: NetworkRule[] = [{ name: 'a', action: 'deny', country: 'ZZ', model: 'FC-300' }];
    expect(judged(rules, at('203.0.113.7'), NO_GEO)).toMatchObject({ action: 'allow', reasons: [] });
  });
});

describe('what nobody may do alone', () => {
  const policy = (...rules: NetworkRule[]): NetworkPolicyDocument => ({ rules });
  const nothing = policy();
  const denyAll: NetworkRule = { name: 'stop', action: 'deny', cidr: '0.0.0.0/0' };

  test('locking a group out is named, and an exception that is left open is none', () => {
    expect(dangerOf(nothing, policy(denyAll)).locksOut).toEqual(['all']);
    expect(dangerOf(nothing, policy({ ...denyAll, model: 'FC-200' })).locksOut).toEqual(['model FC-200']);
    expect(dangerOf(nothing, policy({ name: 'x', action: 'deny', country: 'any' })).locksOut).toEqual(['all']);
    expect(dangerOf(nothing, policy(...HOME_ONLY)).locksOut).toEqual([]);
    expect(dangerOf(nothing, policy(denyAll, { name: 'y', action: 'allow', country: 'KR' })).locksOut).toEqual(['all']);
  });

  test('loosening is a denial that is gone or an exception that is new; tightening is not', () => {
    const before = policy(...HOME_ONLY);
    expect(dangerOf(before, before).loosens).toBe(false);
    expect(dangerOf(nothing, before).loosens).toBe(false);
    expect(dangerOf(before, nothing).loosens).toBe(true);
    expect(dangerOf(before, policy(...HOME_ONLY, { name: 'z', action: 'allow', cidr: '0.0.0.0/0' })).loosens).toBe(
      true,
    );
    expect(dangerOf(before, policy(...HOME_ONLY, { name: 'z', action: 'deny', cidr: '203.0.113.0/24' })).loosens).toBe(
      false,
    );
    expect(dangerOf(before, policy(...HOME_ONLY.map((rule) => ({ ...rule, name: `${rule.name}-2` })))).loosens).toBe(
      false,
    );
    expect(dangerOf(before, { ...before, whenUnknown: { enrolment: 'allow' } }).loosens).toBe(true);
  });
});

describe('a policy that is not sound is refused with every fault', () => {
  test.each([
    ['no place', { name: 'a', action: 'deny' }, 'exactly one of cidr, asn and country'],
    ['two places', { name: 'a', action: 'deny', asn: 1, country: 'KR' }, 'exactly one of cidr, asn and country'],
    [
      'two groups',
      { name: 'a', action: 'deny', asn: 1, model: 'x', batch: 'y' },
      'at most one of batch, model and region',
    ],
    ['bits behind the prefix', { name: 'a', action: 'deny', cidr: '203.0.113.1/24' }, 'zeros behind the bits'],
    ['a mapped prefix', { name: 'a', action: 'deny', cidr: '::ffff:203.0.113.0/120' }, 'zeros behind the bits'],
    ['a country by name', { name: 'a', action: 'deny', country: 'Kr' }, 'two capital letters'],
    ['ASN 0', { name: 'a', action: 'deny', asn: 0 }, 'asn is no number'],
    ['a name with spaces', { name: 'a b', action: 'deny', asn: 1 }, 'its name is no name'],
    ['no events', { name: 'a', action: 'deny', asn: 1, events: [] }, 'events is empty'],
  ])('%s', (_what, rule, fault) => {
    expect(() => checkPolicyDocument({ rules: [rule as NetworkRule] })).toThrow(fault);
  });

  test('two rules of one name, and more rules than a person reads', () => {
    const rule = (name: string): NetworkRule => ({ name, action: 'deny', asn: 1 });
    expect(() => checkPolicyDocument({ rules: [rule('a'), rule('a')] })).toThrow('another rule has this name');
    const many = Array.from({ length: 1_001 }, (_none, index) => rule(`r${index}`));
    expect(() => checkPolicyDocument({ rules: many })).toThrow('more than 1000 rules');
  });
});
