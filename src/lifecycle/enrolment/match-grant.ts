import { FemtoError } from '../../platform/errors.js';
import { isGrantCode } from './grant-code.js';
import type { Grant } from './grant-store.js';

/** Wrong codes until a grant is locked (rules 3.3): only callers who proved the bootstrap key are counted. */
export const GRANT_TRIES_MAX = 5;

export type GrantMatch =
  /** An open grant that this caller may spend. */
  | { readonly kind: 'open'; readonly grant: Grant }
  /** Spent already, and the caller proves all that its spender proved: a competing claim, or the same unit again. */
  | { readonly kind: 'spent'; readonly grant: Grant }
  /** A wrong code: counts as a try of this grant. */
  | { readonly kind: 'wrong-code'; readonly grant: Grant }
  | { readonly kind: 'none'; readonly fault: string };

/** Pure. What the caller's code (or none) means against the unit's newest grant. */
export function matchGrant(grant: Grant | null, code: string | null, now: Date): GrantMatch {
  if (grant === null) return { kind: 'none', fault: 'the unit has no grant' };
  if (grant.state === 'locked') return { kind: 'none', fault: 'the grant is locked' };
  if (grant.state === 'withdrawn') return { kind: 'none', fault: 'the grant was withdrawn' };
  if (grant.state === 'open' && grant.expiresAt.getTime() <= now.getTime()) {
    return { kind: 'none', fault: 'the grant has expired' };
  }
  // A spent grant can still be guessed at; it just no longer locks, so its code stops being compared.
  if (grant.tries >= GRANT_TRIES_MAX) return { kind: 'none', fault: 'too many wrong codes' };
  if (grant.code !== null) {
    if (code === null) return { kind: 'none', fault: 'the grant needs its code' };
    if (!isGrantCode(code, grant.code)) return { kind: 'wrong-code', grant };
  }
  return { kind: grant.state === 'open' ? 'open' : 'spent', grant };
}

export function grantBad(fault: string): FemtoError {
  return new FemtoError('GRANT_BAD', `No grant lets this unit activate: ${fault}; make a new one for its line.`, {
    facts: { fault },
  });
}
