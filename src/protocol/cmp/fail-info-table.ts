import { asFemtoError, type ErrorCode, FemtoError } from '../../platform/errors.js';
import { CmpFault, type FailInfo } from '../../x509/cmp/index.js';
import { PROBLEMS } from '../rest/problem.js';

/** How one of our codes is said in CMP. */
interface FailRow {
  readonly failInfo: FailInfo;
  /** The request is kept and the client polls, first after this many seconds unless the error knows better. */
  readonly waitSeconds?: number;
}

const row = (failInfo: FailInfo, waitSeconds?: number): FailRow =>
  waitSeconds === undefined ? { failInfo } : { failInfo, waitSeconds };

/** Every code; a new one does not compile until it has its line here. @see RFC 9810 section 5.2.3 */
export const FAIL_ROWS = {
  UNREGISTERED: row('notAuthorized'),
  UNKNOWN_ISSUER: row('signerNotTrusted'),
  CERT_EXPIRED: row('signerNotTrusted'),
  CERT_REVOKED: row('certRevoked'),
  // RFC 9483 section 4.1.3: an already updated certificate is answered as a revoked one.
  CERT_SUPERSEDED: row('certRevoked'),
  CERT_NOT_YET_VALID: row('signerNotTrusted'),
  ID_MISMATCH: row('badCertTemplate'),
  NOT_RECORDED: row('signerNotTrusted'),
  NOT_ACTIVATED: row('notAuthorized'),
  DEVICE_DORMANT: row('notAuthorized'),
  DEVICE_SUSPENDED: row('notAuthorized'),
  DEVICE_LOST: row('notAuthorized'),
  DEVICE_QUARANTINED: row('notAuthorized'),
  DEVICE_RETIRED: row('notAuthorized'),
  LINE_MISMATCH: row('notAuthorized'),
  CELL_MISMATCH: row('notAuthorized'),
  NET_CIDR: row('notAuthorized'),
  NET_ASN: row('notAuthorized'),
  NET_COUNTRY: row('notAuthorized'),
  NET_UNKNOWN: row('notAuthorized'),
  POSTURE_FAIL: row('notAuthorized'),
  FALSE_POSTURE: row('notAuthorized'),
  FIRMWARE_BLOCKED: row('notAuthorized'),
  KEY_IN_USE: row('badCertTemplate'),
  KEY_BLOCKED: row('badCertTemplate'),
  KEY_WEAK: row('badCertTemplate'),
  KEY_PROTECTION: row('badCertTemplate'),
  NONCE_BAD: row('badRecipientNonce'),
  POP_FAIL: row('badPOP'),
  NOT_ON_MANIFEST: row('notAuthorized'),
  QUOTA_EXCEEDED: row('notAuthorized'),
  CREDENTIAL_EXPIRED: row('notAuthorized'),
  CREDENTIAL_FROZEN: row('notAuthorized'),
  CREDENTIAL_SCOPE: row('notAuthorized'),
  CANARY_USED: row('notAuthorized'),
  FORK_SOFT: row('notAuthorized'),
  FORK_HARD: row('notAuthorized'),
  CONCURRENT_USE: row('notAuthorized'),
  MOBILE_USE: row('notAuthorized'),
  CLAIM_CONTESTED: row('notAuthorized'),
  GRANT_BAD: row('notAuthorized'),
  PREDECESSOR_MISMATCH: row('notAuthorized'),
  LIFETIME_EXCEEDS_CEILING: row('badCertTemplate'),
  ADMISSION_FROZEN: row('notAuthorized'),
  HSM_UNAVAILABLE: row('systemUnavail', 1),
  SNAPSHOT_STALE: row('systemUnavail'),
  IDEMPOTENCY_CONFLICT: row('badRequest'),
  STATE_CONFLICT: row('badRequest'),
  APPROVAL_REQUIRED: row('notAuthorized', 60),
  RATE_LIMITED: row('systemUnavail', 60),
  DENIED: row('notAuthorized'),
  RETRY_LATER: row('systemUnavail', 2),
  REACTIVATE: row('notAuthorized'),
  BAD_REQUEST: row('badRequest'),
  NOT_FOUND: row('badRequest'),
  INTERNAL: row('systemFailure'),
} satisfies Record<ErrorCode, FailRow>;

/** A refusal as its sender sees it and as we record it. */
export interface Refusal {
  readonly failInfo: FailInfo;
  /** One of the four words that units see, and for a fault of form what to mend. */
  readonly text: string;
  /** What goes on record. */
  readonly error: FemtoError;
}

/** Anything thrown while a message was answered. */
export function refusalOf(thrown: unknown): Refusal {
  if (thrown instanceof CmpFault) return refusalOfFault(thrown);
  const error = asFemtoError(thrown);
  return { failInfo: FAIL_ROWS[error.code].failInfo, text: PROBLEMS[error.code].device, error };
}

/** What keeps a request waiting rather than ending it: seconds until the next pollReq; null where the refusal is final. */
export function waitSecondsOf(thrown: unknown): number | null {
  if (!(thrown instanceof FemtoError)) return null;
  const { waitSeconds }: FailRow = FAIL_ROWS[thrown.code];
  if (waitSeconds === undefined) return null;
  return Math.min(Math.max(Math.ceil(thrown.retryAfterSeconds ?? waitSeconds), 1), CHECK_AFTER_SECONDS_MAX);
}

const CHECK_AFTER_SECONDS_MAX = 3_600;

function refusalOfFault({ failInfo, text, facts, message, cause }: CmpFault): Refusal {
  const code = CODE_BY_FAIL_INFO[failInfo] ?? 'BAD_REQUEST';
  const word = PROBLEMS[code].device;
  return {
    failInfo,
    // What is wrong with the form helps whoever builds a client; why somebody is refused helps an attacker.
    text: word === 'BAD_REQUEST' ? `${word}: ${text}` : word,
    error: new FemtoError(code, message, { facts: { ...facts, failInfo }, cause }),
  };
}

/** Faults of the message that are not just its form. */
const CODE_BY_FAIL_INFO: Readonly<Partial<Record<FailInfo, ErrorCode>>> = {
  badRecipientNonce: 'NONCE_BAD',
  badPOP: 'POP_FAIL',
  signerNotTrusted: 'UNKNOWN_ISSUER',
  notAuthorized: 'DENIED',
  certRevoked: 'CERT_REVOKED',
  transactionIdInUse: 'STATE_CONFLICT',
  certConfirmed: 'STATE_CONFLICT',
  systemUnavail: 'RETRY_LATER',
  systemFailure: 'INTERNAL',
};
