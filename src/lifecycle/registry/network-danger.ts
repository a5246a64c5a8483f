import { strictness } from './judge-network.js';
import {
  dimensionOf,
  groupOf,
  isEverywhere,
  NETWORK_EVENTS,
  type NetworkPolicyDocument,
  type NetworkRule,
  UNKNOWN_DEFAULT,
} from './network-rule.js';

/** What a change of the policy could do that nobody should do alone. */
export interface NetworkDanger {
  /** Groups of which nobody could come any more, e.g. `all`, `model FC-200`, in order. */
  readonly locksOut: readonly string[];
  /** The new version lets in what the old one would not. */
  readonly loosens: boolean;
}

export function dangerOf(from: NetworkPolicyDocument, to: NetworkPolicyDocument): NetworkDanger {
  const locksOut = to.rules.filter((rule) => rule.action === 'deny' && isEverywhere(rule) && !isLifted(rule, to.rules));
  return { locksOut: [...new Set(locksOut.map(groupOf))].sort(), loosens: isLooser(from, to) };
}

/** Somebody of the group can still come: an allow or restrict that wins over the rule for the same units and events. */
function isLifted(rule: NetworkRule, rules: readonly NetworkRule[]): boolean {
  return rules.some(
    (other) =>
      other.action !== 'deny' &&
      !(isEverywhere(other) && dimensionOf(other) === dimensionOf(rule)) &&
      RANK[dimensionOf(other)] <= RANK[dimensionOf(rule)] &&
      (groupOf(other) === 'all' || groupOf(other) === groupOf(rule)) &&
      eventsOf(rule).every((event) => eventsOf(other).includes(event)),
  );
}

/** By what is written, not by what traffic shows: a deny or restrict that is gone or changed, or an allow that is new. */
function isLooser(from: NetworkPolicyDocument, to: NetworkPolicyDocument): boolean {
  const before = new Set(from.rules.map(textOf));
  const after = new Set(to.rules.map(textOf));
  const isRestricting = from.rules.some(({ action }) => action !== 'allow');
  const drops = from.rules.some((rule) => rule.action !== 'allow' && !after.has(textOf(rule)));
  // What lifts nothing loosens nothing: before the first deny there is nothing to be let through.
  const lifts = isRestricting && to.rules.some((rule) => rule.action !== 'deny' && !before.has(textOf(rule)));
  const unknown = NETWORK_EVENTS.some(
    (event) =>
      strictness(to.whenUnknown?.[event] ?? UNKNOWN_DEFAULT[event]) <
      strictness(from.whenUnknown?.[event] ?? UNKNOWN_DEFAULT[event]),
  );
  return drops || lifts || unknown;
}

const RANK = { cidr: 0, asn: 1, country: 2 } as const;

function eventsOf(rule: NetworkRule): readonly string[] {
  return rule.events ?? NETWORK_EVENTS;
}

/** A rule without its name: giving it another changes nothing. */
function textOf({ name: _name, ...rule }: NetworkRule): string {
  return JSON.stringify(rule);
}
