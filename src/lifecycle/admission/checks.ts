import type { ErrorCode } from '../../platform/errors.js';
import type { UseVerdict } from '../lineage/index.js';
import { type Issuer, mayServe, type UnitState } from '../model/index.js';
import type { NetworkVerdict } from '../registry/index.js';
import type { AuthoriseRequest, Verdict } from './decision.js';
import type { KnownFacts, ShownCertificate } from './facts.js';

/** Everything that a verdict depends on. */
export interface Situation {
  readonly now: Date;
  readonly request: AuthoriseRequest;
  readonly shown: ShownCertificate;
  /** By its exact key; null for everybody else's certificates. */
  readonly issuer: Issuer | null;
  readonly known: KnownFacts;
  readonly use: UseVerdict | null;
  readonly network: NetworkVerdict;
}

/** A life above the signer's ceiling came from somewhere else, whoever signed it (rules 2.5). */
const LIFE_CEILING_MS = 31 * 86_400_000 + 1_000;

type Check = (situation: Situation) => ErrorCode | readonly ErrorCode[] | null;

/** In the order in which a person would ask. Each looks at one thing. */
const CHECKS: readonly Check[] = [
  ({ issuer }) => (isOurs(issuer) && issuer.state !== 'retired' ? null : 'UNKNOWN_ISSUER'),
  ({ issuer, known }) => (!isOurs(issuer) || known.recorded ? null : 'NOT_RECORDED'),
  ({ shown: { notBefore, notAfter } }) =>
    notAfter.getTime() - notBefore.getTime() > LIFE_CEILING_MS ? 'LIFETIME_EXCEEDS_CEILING' : null,
  ({ shown, now }) => (now < shown.notBefore ? 'CERT_NOT_YET_VALID' : null),
  ({ shown, now }) => (now > shown.notAfter ? 'CERT_EXPIRED' : null),
  ({ known }) => (known.status === 'good' ? null : 'CERT_REVOKED'),
  ({ known }) => (known.keyBlocked ? 'KEY_BLOCKED' : null),
  (situation) => {
    const names = namesOf(situation);
    return names.length === 1 && names[0] === situation.request.identity.toLowerCase() ? null : 'ID_MISMATCH';
  },
  (situation) => {
    const { unit } = situation.known;
    return unit && unit.fqdn !== namesOf(situation)[0] ? 'ID_MISMATCH' : null;
  },
  ({ known: { unit, recorded } }) => (recorded && !unit ? 'UNREGISTERED' : null),
  ({ known: { unit } }) => (unit ? STATE_REASON[unit.state] : null),
  ({ use, known: { recorded } }) => (use?.kind === 'deny' ? use.code : recorded && !use ? 'NOT_ACTIVATED' : null),
  ({ known: { unit, line } }) => (unit && line?.authoritative && line.lineId !== unit.lineId ? 'LINE_MISMATCH' : null),
  ({ known: { unit }, request: { cell } }) =>
    unit && cell !== undefined && cell !== unit.cell ? 'CELL_MISMATCH' : null,
  ({ network }) => network.reasons,
  ({ known: { line } }) => (line?.authoritative ? null : 'NET_UNKNOWN'),
];

const STATE_REASON: Readonly<Record<UnitState, ErrorCode | null>> = {
  MANIFESTED: 'NOT_ACTIVATED',
  BOOTSTRAPPED: 'NOT_ACTIVATED',
  ACTIVE: null,
  // A certificate that is still inside its life and its lineage: the unit woke up inside its tier.
  DORMANT: null,
  SUSPENDED: 'DEVICE_SUSPENDED',
  QUARANTINED: 'DEVICE_QUARANTINED',
  LOST: 'DEVICE_LOST',
  RETIRED: 'DEVICE_RETIRED',
};

/** The network policy says what these come to; NET_UNKNOWN alone is never a denial but where it says so (rules 5.5). */
const NETWORK_REASONS: ReadonlySet<ErrorCode> = new Set(['NET_CIDR', 'NET_ASN', 'NET_COUNTRY', 'NET_UNKNOWN']);

/** Every check run and every reason listed; then what they come to. Deny by default. */
export function judge(situation: Situation): { readonly verdict: Verdict; readonly reasons: readonly ErrorCode[] } {
  const { known, use, network } = situation;
  const reasons = [...new Set(CHECKS.flatMap((check) => check(situation) ?? []))];
  if (reasons.some((reason) => !NETWORK_REASONS.has(reason))) return { verdict: 'deny', reasons };
  // Fail closed: only a unit that may serve, on a certificate that may be used, gets anything.
  if (!(known.unit && mayServe(known.unit.state) && use?.kind === 'permit')) {
    return { verdict: 'deny', reasons: [...reasons, 'DENIED'] };
  }
  return { verdict: VERDICT_OF[network.action], reasons };
}

const VERDICT_OF = { allow: 'permit', restrict: 'restricted', deny: 'deny' } as const;

/** What is issued carries one name, its unit's: where the bytes are the record's, it is in them or the registry changed. */
function namesOf({ shown, known: { unit } }: Situation): readonly string[] {
  if (shown.whole !== null) return shown.whole.sanDns;
  return unit !== null && shown.der.includes(unit.fqdn) ? [unit.fqdn] : [];
}

/** Nobody whom we know of (AUZ-2). */
export function isStranger(reasons: readonly ErrorCode[]): boolean {
  return reasons.some((reason) => STRANGER_REASONS.has(reason));
}

const STRANGER_REASONS: ReadonlySet<ErrorCode> = new Set(['UNKNOWN_ISSUER', 'NOT_RECORDED', 'UNREGISTERED']);

export function isOurs(issuer: Issuer | null): issuer is Issuer {
  return issuer?.kind === 'device-ca';
}
