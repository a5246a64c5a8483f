import type { ErrorCode, FemtoError } from '../../platform/errors.js';
import { problemOf } from '../rest/problem.js';

/** A refusal as an EST client sees it: status, and one sentence of plain text that begins with one of four words. */
export interface EstRefusal {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
}

/**
 * @param traceId  32 lower-case hex digits; in the text, for the person who asks the operator
 * @see RFC 7030 section 4.2.3
 */
export function estRefusalOf(error: FemtoError, traceId: string): EstRefusal {
  const { code, detail } = problemOf(error, 'device', traceId).body;
  const status = statusOf(error);
  // What the rim itself finds about path, method and body says nothing about any unit, so its own words may go out.
  const sentence = error.code === 'BAD_REQUEST' && status !== EST_STATUS.BAD_REQUEST ? error.message : detail;
  const { allow } = error.facts;
  return {
    status,
    headers: {
      'content-type': 'text/plain; charset=utf-8',
      'cache-control': 'no-store',
      ...(RETRYABLE.has(status)
        ? { 'retry-after': String(Math.max(1, Math.ceil(error.retryAfterSeconds ?? RETRY_AFTER_SECONDS))) }
        : {}),
      ...(status === 401 ? { 'www-authenticate': 'Basic realm="femtopki"' } : {}),
      ...(typeof allow === 'string' ? { allow } : {}),
      // Whoever is told to come back does so by a new handshake, which is the live proof that may be missing (rules 4).
      ...(CLOSING.has(status) ? { connection: 'close' } : {}),
    },
    text: `${code}: ${sentence} (traceId ${traceId})\n`,
  };
}

function statusOf({ code, facts }: FemtoError): number {
  // "Show who you are" is for a caller who showed nothing; one whose certificate is nobody's gets the plain refusal.
  if (code === 'UNREGISTERED' && facts['missing'] !== undefined) return 401;
  const finer = facts['status'];
  return code === 'BAD_REQUEST' && typeof finer === 'number' && FINER_STATUS.has(finer) ? finer : EST_STATUS[code];
}

const FINER_STATUS: ReadonlySet<number> = new Set([404, 405, 408, 413, 415]);
const RETRYABLE: ReadonlySet<number> = new Set([202, 429, 503]);
const CLOSING: ReadonlySet<number> = new Set([202, 408, 413]);
/** Where the error does not know better. */
const RETRY_AFTER_SECONDS = 30;

/**
 * Every code, as HTTP status; a new one does not compile until it has its line here. A status says no more than the four
 * words do, but for faults of the caller's own request.
 */
export const EST_STATUS = {
  UNREGISTERED: 403,
  UNKNOWN_ISSUER: 403,
  CERT_EXPIRED: 403,
  CERT_REVOKED: 403,
  CERT_SUPERSEDED: 403,
  CERT_NOT_YET_VALID: 403,
  ID_MISMATCH: 403,
  NOT_RECORDED: 403,
  NOT_ACTIVATED: 403,
  DEVICE_DORMANT: 403,
  DEVICE_SUSPENDED: 403,
  DEVICE_LOST: 403,
  DEVICE_QUARANTINED: 403,
  DEVICE_RETIRED: 403,
  LINE_MISMATCH: 403,
  CELL_MISMATCH: 403,
  NET_CIDR: 403,
  NET_ASN: 403,
  NET_COUNTRY: 403,
  NET_UNKNOWN: 403,
  POSTURE_FAIL: 403,
  FALSE_POSTURE: 403,
  FIRMWARE_BLOCKED: 403,
  KEY_IN_USE: 403,
  KEY_BLOCKED: 403,
  KEY_WEAK: 400,
  KEY_PROTECTION: 403,
  NONCE_BAD: 403,
  POP_FAIL: 400,
  NOT_ON_MANIFEST: 403,
  QUOTA_EXCEEDED: 403,
  CREDENTIAL_EXPIRED: 403,
  CREDENTIAL_FROZEN: 403,
  CREDENTIAL_SCOPE: 403,
  CANARY_USED: 403,
  FORK_SOFT: 403,
  FORK_HARD: 403,
  CONCURRENT_USE: 403,
  MOBILE_USE: 403,
  CLAIM_CONTESTED: 403,
  GRANT_BAD: 403,
  PREDECESSOR_MISMATCH: 403,
  LIFETIME_EXCEEDS_CEILING: 403,
  ADMISSION_FROZEN: 403,
  HSM_UNAVAILABLE: 503,
  SNAPSHOT_STALE: 503,
  IDEMPOTENCY_CONFLICT: 409,
  STATE_CONFLICT: 403,
  APPROVAL_REQUIRED: 202,
  RATE_LIMITED: 429,
  DENIED: 403,
  RETRY_LATER: 202,
  REACTIVATE: 403,
  BAD_REQUEST: 400,
  NOT_FOUND: 404,
  INTERNAL: 500,
} satisfies Record<ErrorCode, number>;
