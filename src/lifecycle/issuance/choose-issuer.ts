import { FemtoError } from '../../platform/errors.js';
import type { CertificatePurpose, Issuer, IssuerKind } from '../model/index.js';

export const ISSUER_KIND: Readonly<Record<CertificatePurpose, IssuerKind>> = {
  operational: 'device-ca',
  bootstrap: 'bootstrap-ca',
  services: 'services-ca',
};

/**
 * A unit keeps its CA as long as that one is active, and another CA taken into use moves only its share of units: the
 * fleet's CRLs stay small and nobody's issuer flaps (design section 9: splitting CRLs by issuing CA).
 *
 * @param active  active CAs of the right kind, any order
 * @throws HSM_UNAVAILABLE when no CA of this kind is active
 */
export function chooseIssuer(active: readonly Issuer[], subjectId: number): Issuer {
  let best: Issuer | undefined;
  let bestWeight = -1;
  for (const issuer of active) {
    const weight = mix(subjectId, issuer.id);
    if (weight > bestWeight || (weight === bestWeight && issuer.id < (best?.id ?? 0))) {
      best = issuer;
      bestWeight = weight;
    }
  }
  if (best !== undefined) return best;
  throw new FemtoError(
    'HSM_UNAVAILABLE',
    'No CA of this kind is active; finish the key ceremony or activate a spare.',
    {
      retryAfterSeconds: 60,
    },
  );
}

/** Highest random weight: 32 well-mixed bits of (subject, issuer), the same on every server. */
function mix(subjectId: number, issuerId: number): number {
  let hash = Math.imul(subjectId ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(issuerId + 1, 0xc2b2ae35);
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb352d);
  hash = Math.imul(hash ^ (hash >>> 15), 0x846ca68b);
  return (hash ^ (hash >>> 16)) >>> 0;
}
