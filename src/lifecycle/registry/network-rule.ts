import { FemtoError } from '../../platform/errors.js';
import { isPrefix } from '../../platform/net/ip-address.js';
import { holdsSubscriberNumber, IDENTIFIER, MODEL_NAME } from './names.js';

/** What a unit, or a factory for it, may be doing when its address is judged. */
export const NETWORK_EVENTS = ['ike', 'registration', 'config', 'enrolment', 'renewal'] as const;
export type NetworkEvent = (typeof NETWORK_EVENTS)[number];

/** From loose to strict. `restrict`: only what repairs a unit (enrolment and HeMS). */
export const NETWORK_ACTIONS = ['allow', 'restrict', 'deny'] as const;
export type NetworkAction = (typeof NETWORK_ACTIONS)[number];

/**
 * One rule: exactly one of `cidr`, `asn` and `country` says which addresses, at most one of `batch`, `model` and `region`
 * says which units. `any` = every address of a database, also those that it does not list.
 */
export interface NetworkRule {
  /** Unique in its policy; what logs, decisions and dry runs call it. */
  readonly name: string;
  readonly action: NetworkAction;
  /** Without it: every event. */
  readonly events?: readonly NetworkEvent[] | undefined;
  /** `address/bits`, IPv4 or IPv6. */
  readonly cidr?: string | undefined;
  readonly asn?: number | 'any' | undefined;
  /** ISO 3166-1 alpha-2, upper case. */
  readonly country?: string | undefined;
  /** Name of a batch, of any maker. */
  readonly batch?: string | undefined;
  readonly model?: string | undefined;
  /** Region of the unit's own line. */
  readonly region?: string | undefined;
}

/** A whole version. Without rules everything is allowed: the line, the lineage and the registry still decide. */
export interface NetworkPolicyDocument {
  readonly rules: readonly NetworkRule[];
  /** What happens where a rule needs a database that is missing or old; per event, default {@link UNKNOWN_DEFAULT}. */
  readonly whenUnknown?: Readonly<Partial<Record<NetworkEvent, NetworkAction>>> | undefined;
}

/** A factory can wait for its database; a unit at home cannot (NET-3): it is told of and let in, its line is judged anyway. */
export const UNKNOWN_DEFAULT: Readonly<Record<NetworkEvent, NetworkAction>> = {
  ike: 'allow',
  registration: 'allow',
  config: 'allow',
  enrolment: 'deny',
  renewal: 'allow',
};

/** A person reads a policy; a longer list belongs into the table of lines. */
export const NETWORK_RULES_MAX = 1_000;

/**
 * Checks a document and brings it into its one form: fields in order, events in order and only where not all.
 *
 * @throws FemtoError BAD_REQUEST; `facts.errors` names each rule and its fault
 */
export function checkPolicyDocument(document: NetworkPolicyDocument): NetworkPolicyDocument {
  const errors: string[] = [];
  if (document.rules.length > NETWORK_RULES_MAX) errors.push(`more than ${NETWORK_RULES_MAX} rules`);
  const names = new Set<string>();
  for (const [index, rule] of document.rules.slice(0, NETWORK_RULES_MAX).entries()) {
    for (const fault of faultsOf(rule, names)) errors.push(`rule ${index + 1} (${printable(rule.name)}): ${fault}`);
    names.add(rule.name);
  }
  if (errors.length > 0) {
    throw new FemtoError('BAD_REQUEST', `The policy is not sound: ${errors[0]}. Correct it and propose it again.`, {
      facts: { errors: errors.slice(0, ERRORS_SHOWN_MAX) },
    });
  }
  const rules = document.rules.map(inOneForm);
  const unknown = Object.fromEntries(
    NETWORK_EVENTS.map((event) => [event, document.whenUnknown?.[event] ?? UNKNOWN_DEFAULT[event]]),
  ) as Record<NetworkEvent, NetworkAction>;
  return { rules, whenUnknown: unknown };
}

/** Where a rule looks, from the most specific to the least. */
export type NetworkDimension = 'cidr' | 'asn' | 'country';

export function dimensionOf(rule: NetworkRule): NetworkDimension {
  if (rule.cidr !== undefined) return 'cidr';
  return rule.asn !== undefined ? 'asn' : 'country';
}

/** True where no address escapes the rule. */
export function isEverywhere(rule: NetworkRule): boolean {
  return rule.asn === 'any' || rule.country === 'any' || (rule.cidr?.endsWith('/0') ?? false);
}

/** `all`, or e.g. `model FC-200`. */
export function groupOf(rule: NetworkRule): string {
  if (rule.batch !== undefined) return `batch ${rule.batch}`;
  if (rule.model !== undefined) return `model ${rule.model}`;
  return rule.region === undefined ? 'all' : `region ${rule.region}`;
}

const ERRORS_SHOWN_MAX = 20;
const ASN_MAX = 4_294_967_295;
const BATCH_NAME = /^[\p{L}\p{N}][\p{L}\p{N} ._/-]{0,63}$/u;

function faultsOf(rule: NetworkRule, names: ReadonlySet<string>): string[] {
  const { name, cidr, asn, country, batch, model, region, events } = rule;
  const faults: string[] = [];
  if (!IDENTIFIER.test(name) || holdsSubscriberNumber(name)) faults.push('its name is no name');
  if (names.has(name)) faults.push('another rule has this name');
  if (count([cidr, asn, country]) !== 1) faults.push('it needs exactly one of cidr, asn and country');
  if (count([batch, model, region]) > 1) faults.push('it takes at most one of batch, model and region');
  if (cidr !== undefined && !isPrefix(cidr)) faults.push('cidr is not address/bits with zeros behind the bits');
  if (typeof asn === 'number' && !(Number.isInteger(asn) && asn >= 1 && asn <= ASN_MAX))
    faults.push('asn is no number');
  if (country !== undefined && country !== 'any' && !/^[A-Z]{2}$/.test(country)) {
    faults.push('country is not two capital letters');
  }
  if (batch !== undefined && !BATCH_NAME.test(batch)) faults.push('batch is no name of a batch');
  if (model !== undefined && !MODEL_NAME.test(model)) faults.push('model is no name of a model');
  if (region !== undefined && !BATCH_NAME.test(region)) faults.push('region is no name of a region');
  if (events?.length === 0) faults.push('events is empty; leave it out for every event');
  return faults;
}

function count(values: readonly unknown[]): number {
  return values.filter((value) => value !== undefined).length;
}

function inOneForm(rule: NetworkRule): NetworkRule {
  const events = NETWORK_EVENTS.filter((event) => rule.events?.includes(event) ?? true);
  return {
    name: rule.name,
    action: rule.action,
    ...(events.length < NETWORK_EVENTS.length && { events }),
    ...(rule.cidr !== undefined && { cidr: rule.cidr }),
    ...(rule.asn !== undefined && { asn: rule.asn }),
    ...(rule.country !== undefined && { country: rule.country }),
    ...(rule.batch !== undefined && { batch: rule.batch }),
    ...(rule.model !== undefined && { model: rule.model }),
    ...(rule.region !== undefined && { region: rule.region }),
  };
}

function printable(name: string): string {
  return name.slice(0, 64).replaceAll(/[^\x20-\x7e]/g, '?');
}
