import type { Certificate } from '../../../x509/certificate.js';

/**
 * How soon a renewal must be admitted, from the certificate it is asked under. `tier` goes first: 0 has run out and can
 * still come back by itself, 1 is in its last tenth, 2 is in the second half of its life, 3 can wait: it is early, or it is
 * past every automatic tier and will be refused. Within a tier the nearer end goes first, so that of those that have run
 * out the longest comes first: it is the next to lose its tier.
 */
export interface Urgency {
  readonly tier: Tier;
  /** notAfter, milliseconds. */
  readonly endsAtMs: number;
}

export const TIERS = [0, 1, 2, 3] as const;
export type Tier = (typeof TIERS)[number];

export function urgencyOf({ notBefore, notAfter }: Pick<Certificate, 'notBefore' | 'notAfter'>, now: Date): Urgency {
  const endsAtMs = notAfter.getTime();
  const leftMs = endsAtMs - now.getTime();
  const lifeMs = Math.max(1, endsAtMs - notBefore.getTime());
  return { tier: tierOf(leftMs, lifeMs), endsAtMs };
}

function tierOf(leftMs: number, lifeMs: number): Tier {
  if (leftMs < -COMEBACK_MS) return 3;
  if (leftMs <= 0) return 0;
  if (leftMs <= lifeMs * LAST_PART) return 1;
  return leftMs <= lifeMs * LATE_PART ? 2 : 3;
}

/** The widest automatic tier (rules section 4). */
const COMEBACK_MS = 30 * 86_400_000;
/** Units are never sent past 90 % of a life (REN-1): whoever comes here was held up. */
const LAST_PART = 0.1;
const LATE_PART = 0.5;
