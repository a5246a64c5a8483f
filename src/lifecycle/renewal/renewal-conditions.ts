import { FemtoError } from '../../platform/errors.js';
import type { LineEvidence } from '../lineage/index.js';
import { mayServe, type ProvedCredential, type Unit } from '../model/index.js';
import type { RenewalDeps } from './renewal-deps.js';

/** @throws FemtoError NOT_ACTIVATED for a bootstrap key; DEVICE_* where the unit may not serve (and never renews then) */
export function checkMayRenew({ kind, unit }: ProvedCredential): void {
  if (kind !== 'operational') {
    throw new FemtoError('NOT_ACTIVATED', 'A bootstrap certificate is not renewed; activate the unit.');
  }
  checkMayServe(unit);
}

/** @throws FemtoError DEVICE_*, NOT_ACTIVATED */
export function checkMayServe(unit: Unit): void {
  if (mayServe(unit.state)) return;
  throw new FemtoError(
    CODE_BY_STATE[unit.state] ?? 'DENIED',
    `The unit is ${unit.state}; settle that before it renews.`,
    {
      facts: { state: unit.state },
    },
  );
}

const CODE_BY_STATE: Readonly<Partial<Record<Unit['state'], FemtoError['code']>>> = {
  MANIFESTED: 'NOT_ACTIVATED',
  BOOTSTRAPPED: 'NOT_ACTIVATED',
  SUSPENDED: 'DEVICE_SUSPENDED',
  QUARANTINED: 'DEVICE_QUARANTINED',
  LOST: 'DEVICE_LOST',
  RETIRED: 'DEVICE_RETIRED',
};

/**
 * A certificate that has run out renews inside its tier, and nothing else is open to it (rules section 4): confirming for ever
 * with one would keep a unit from going dormant.
 *
 * @throws FemtoError CERT_EXPIRED
 */
export function checkUnexpired({ clock }: Pick<RenewalDeps, 'clock'>, { certificate }: ProvedCredential): void {
  // notAfter's own second counts (RFC 5280 section 4.1.2.5).
  if (clock.now().getTime() < certificate.notAfter.getTime() + 1_000) return;
  throw new FemtoError('CERT_EXPIRED', 'The certificate has run out; renew it inside its tier, or activate the unit.', {
    facts: { notAfter: certificate.notAfter.toISOString() },
  });
}

/** Only asked where it can matter: the comeback tiers of a certificate that has run out. */
export async function lineEvidence(deps: RenewalDeps, credential: ProvedCredential): Promise<LineEvidence> {
  const now = deps.clock.now();
  if (credential.certificate.notAfter.getTime() >= now.getTime()) return 'unknown';
  const line = await deps.registry.lineAt(deps.transactor.read, credential.address, now);
  if (line === null || !line.authoritative) return 'unknown';
  return line.lineId === credential.unit.lineId ? 'match' : 'mismatch';
}

/**
 * What the network policy says of the caller's address, asked only where a certificate would be given: a fork is judged
 * wherever it comes from. A unit at home cannot wait for our databases, so an address that none of them places is told of.
 *
 * @throws FemtoError NET_*
 */
export async function checkNetwork(deps: RenewalDeps, { unit, address }: ProvedCredential): Promise<void> {
  const asked = { event: 'renewal', unitId: unit.id, address, restrictedMay: 'go on' } as const;
  const reasons = await deps.network.check(deps.transactor.read, asked);
  if (reasons.includes('NET_UNKNOWN')) deps.alarm('an address cannot be placed', { unit: unit.serialNumber, address });
}

/** The line as evidence to keep: null where our resolver is not sure (rules 5.5). */
export async function authoritativeLine(deps: RenewalDeps, { address }: ProvedCredential): Promise<number | null> {
  const line = await deps.registry.lineAt(deps.transactor.read, address, deps.clock.now());
  return line?.authoritative === true ? line.lineId : null;
}
