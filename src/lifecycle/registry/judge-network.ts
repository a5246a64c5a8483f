import ipaddr from 'ipaddr.js';
import type { GeoFact, GeoLookup } from '../../platform/net/geo-databases.js';
import {
  dimensionOf,
  NETWORK_ACTIONS,
  NETWORK_EVENTS,
  type NetworkAction,
  type NetworkEvent,
  type NetworkPolicyDocument,
  type NetworkRule,
  UNKNOWN_DEFAULT,
} from './network-rule.js';

/** Who comes from where, doing what. Groups that are not known (a stranger) match only rules for all. */
export interface NetworkSubject {
  readonly event: NetworkEvent;
  /** Canonical. */
  readonly address: string;
  readonly batch: string | null;
  readonly model: string | null;
  /** Region of the unit's own line. */
  readonly region: string | null;
}

export type NetworkReason = 'NET_CIDR' | 'NET_ASN' | 'NET_COUNTRY' | 'NET_UNKNOWN';

export interface NetworkVerdict {
  readonly action: NetworkAction;
  /** Every reason that stands, the most specific first. */
  readonly reasons: readonly NetworkReason[];
  /** Names of the rules behind them. */
  readonly rules: readonly string[];
}

export const ALLOWED: NetworkVerdict = { action: 'allow', reasons: [], rules: [] };

/** A policy ready to be asked; made once a version. */
export interface CompiledPolicy {
  readonly byEvent: Readonly<Record<NetworkEvent, EventRules>>;
}

interface EventRules {
  /** Longest prefix first; key = network bits in hex. */
  readonly prefixes: readonly { readonly bits: number; readonly isIpv4: boolean; readonly rules: RulesByKey }[];
  readonly asns: RulesByKey;
  readonly countries: RulesByKey;
  readonly whenUnknown: NetworkAction;
}

/** Rules of one place, in the order in which they win. */
type RulesByKey = ReadonlyMap<string, readonly NetworkRule[]>;

export function compilePolicy(document: NetworkPolicyDocument): CompiledPolicy {
  const byEvent = Object.fromEntries(NETWORK_EVENTS.map((event) => [event, rulesOf(document, event)])) as Record<
    NetworkEvent,
    EventRules
  >;
  return { byEvent };
}

/**
 * The most specific rule wins. First by place: a longer prefix before a shorter one, a prefix before an ASN, an ASN before
 * a country, a named one before `any`. In one place by group: batch, model, region, all; then the rule for fewer events;
 * then the stricter action; then the name, in order of its letters.
 *
 * Each of the three kinds of place has its winner. The most specific one decides; a less specific one is told too, and
 * counts nothing, where it is no stricter. So an `allow` for a prefix lifts what its ASN and its country would say.
 * Pure but for the databases.
 */
export function judgeNetwork(policy: CompiledPolicy, subject: NetworkSubject, geo: GeoLookup): NetworkVerdict {
  const eventRules = policy.byEvent[subject.event];
  const reasons: NetworkReason[] = [];
  const rules: string[] = [];
  let action: NetworkAction = 'allow';
  let decided: NetworkAction | null = null;
  for (const { reason, find } of PLACES) {
    const winner = find(eventRules, subject, geo);
    if (winner === null) continue;
    if (winner === 'unavailable') {
      // Not read, so it lifts nothing: what a less specific rule says stands beside it.
      reasons.push('NET_UNKNOWN');
      if (decided === null) action = stricter(action, eventRules.whenUnknown);
      continue;
    }
    if (decided === null) {
      decided = winner.action;
      action = stricter(action, decided);
    } else if (strictness(winner.action) > strictness(decided)) continue;
    if (decided === 'allow') break;
    if (winner.action === 'allow') continue;
    reasons.push(reason);
    rules.push(winner.name);
  }
  return { action, reasons: [...new Set(reasons)], rules };
}

type Winner = NetworkRule | 'unavailable' | null;

const PLACES: readonly {
  readonly reason: NetworkReason;
  readonly find: (rules: EventRules, subject: NetworkSubject, geo: GeoLookup) => Winner;
}[] = [
  { reason: 'NET_CIDR', find: ({ prefixes }, subject) => longestPrefix(prefixes, subject) },
  { reason: 'NET_ASN', find: ({ asns }, subject, geo) => inDatabase(asns, subject, ({ address }) => geo.asn(address)) },
  {
    reason: 'NET_COUNTRY',
    find: ({ countries }, subject, geo) => inDatabase(countries, subject, ({ address }) => geo.country(address)),
  },
];

function longestPrefix(prefixes: EventRules['prefixes'], subject: NetworkSubject): NetworkRule | null {
  if (prefixes.length === 0) return null;
  const octets = ipaddr.parse(subject.address).toByteArray();
  for (const { bits, isIpv4, rules } of prefixes) {
    if (isIpv4 !== (octets.length === 4)) continue;
    const winner = firstFor(rules.get(networkKey(octets, bits)), subject);
    if (winner !== null) return winner;
  }
  return null;
}

function inDatabase(
  rules: RulesByKey,
  subject: NetworkSubject,
  look: (subject: NetworkSubject) => GeoFact<number | string>,
): Winner {
  // No rule of this kind concerns the unit: then the database is not asked, and its absence is nobody's news.
  if (rules.size === 0 || ![...rules.values()].some((some) => firstFor(some, subject) !== null)) return null;
  const fact = look(subject);
  if (fact === 'unavailable') return fact;
  const named = fact === 'unlisted' ? null : firstFor(rules.get(String(fact.known)), subject);
  return named ?? firstFor(rules.get('any'), subject);
}

function firstFor(rules: readonly NetworkRule[] | undefined, subject: NetworkSubject): NetworkRule | null {
  return rules?.find((rule) => concerns(rule, subject)) ?? null;
}

function concerns({ batch, model, region }: NetworkRule, subject: NetworkSubject): boolean {
  if (batch !== undefined) return batch === subject.batch;
  if (model !== undefined) return model === subject.model;
  return region === undefined || region === subject.region;
}

function rulesOf(document: NetworkPolicyDocument, event: NetworkEvent): EventRules {
  const rules = document.rules.filter(({ events }) => events?.includes(event) ?? true).toSorted(bySpecificity);
  const prefixes = new Map<string, { bits: number; isIpv4: boolean; rules: Map<string, NetworkRule[]> }>();
  const asns = new Map<string, NetworkRule[]>();
  const countries = new Map<string, NetworkRule[]>();
  for (const rule of rules) {
    if (dimensionOf(rule) === 'asn') push(asns, String(rule.asn), rule);
    else if (dimensionOf(rule) === 'country') push(countries, rule.country ?? '', rule);
    else {
      const [address, bits] = ipaddr.parseCIDR(rule.cidr ?? '');
      const isIpv4 = address.kind() === 'ipv4';
      const length = `${isIpv4}/${bits}`;
      const held = prefixes.get(length) ?? { bits, isIpv4, rules: new Map<string, NetworkRule[]>() };
      prefixes.set(length, held);
      push(held.rules, networkKey(address.toByteArray(), bits), rule);
    }
  }
  return {
    prefixes: [...prefixes.values()].toSorted((a, b) => b.bits - a.bits),
    asns,
    countries,
    whenUnknown: document.whenUnknown?.[event] ?? UNKNOWN_DEFAULT[event],
  };
}

/** Among rules of one place. */
function bySpecificity(a: NetworkRule, b: NetworkRule): number {
  return (
    groupRank(a) - groupRank(b) ||
    eventCount(a) - eventCount(b) ||
    strictness(b.action) - strictness(a.action) ||
    (a.name < b.name ? -1 : 1)
  );
}

function groupRank({ batch, model, region }: NetworkRule): number {
  if (batch !== undefined) return 0;
  if (model !== undefined) return 1;
  return region === undefined ? 3 : 2;
}

function eventCount({ events }: NetworkRule): number {
  return events?.length ?? NETWORK_EVENTS.length;
}

function stricter(a: NetworkAction, b: NetworkAction): NetworkAction {
  return strictness(a) > strictness(b) ? a : b;
}

export function strictness(action: NetworkAction): number {
  return NETWORK_ACTIONS.indexOf(action);
}

function push(map: Map<string, NetworkRule[]>, key: string, rule: NetworkRule): void {
  const held = map.get(key);
  if (held === undefined) map.set(key, [rule]);
  else held.push(rule);
}

/** The first `bits` of an address, as text. */
function networkKey(octets: readonly number[], bits: number): string {
  const whole = bits >> 3;
  let key = '';
  for (let index = 0; index < whole; index += 1) key += String.fromCharCode(octets[index] ?? 0);
  const rest = bits & 7;
  return rest === 0 ? key : key + String.fromCharCode((octets[whole] ?? 0) & (0xff << (8 - rest)) & 0xff);
}
