/**
 * What the access line says about the caller (rules 5.5): only the operator's own resolver may say `match` or
 * `mismatch`; `unknown` = no authoritative answer for this address.
 */
export type LineEvidence = 'match' | 'mismatch' | 'unknown';

/**
 * How a unit whose certificate has run out comes back (REN-5):
 * `valid` it has not; `automatic` it may still renew by itself; `reactivate` an operator lets it back; `activate` it
 * starts again with a grant.
 */
export type ComebackTier = 'valid' | 'automatic' | 'reactivate' | 'activate';

/** Whole days of grace after notAfter, counted by the server's clock. */
export const COMEBACK_DAYS = { automaticOnLine: 30, automaticOffLine: 7, reactivate: 90 } as const;

const DAY_MS = 86_400_000;

/**
 * @param notAfter     last valid second, inclusive (RFC 5280 section 4.1.2.5)
 * @param line         an authoritative mismatch is never automatic, however early: it is what a stolen unit looks like
 * @param comebackDays the profile's own limit on the automatic tier; it can only shorten it
 */
export function comebackTier(input: {
  notAfter: Date;
  now: Date;
  line: LineEvidence;
  comebackDays?: number;
}): ComebackTier {
  const expiredAtMs = input.notAfter.getTime() + 1_000;
  const lateMs = input.now.getTime() - expiredAtMs;
  if (lateMs < 0) return 'valid';
  const lateDays = lateMs / DAY_MS;
  if (lateDays <= automaticDays(input.line, input.comebackDays)) return 'automatic';
  return lateDays <= COMEBACK_DAYS.reactivate ? 'reactivate' : 'activate';
}

/** -1 so that not even the first moment counts. */
function automaticDays(line: LineEvidence, comebackDays: number = COMEBACK_DAYS.automaticOnLine): number {
  if (line === 'mismatch') return -1;
  const limit = line === 'match' ? COMEBACK_DAYS.automaticOnLine : COMEBACK_DAYS.automaticOffLine;
  return Math.min(limit, comebackDays);
}
