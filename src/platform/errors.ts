/**
 * The one error family. A `code` is a stable API: it appears in answers, logs, the ledger and the docs, and is never
 * renamed. Each rim (REST, OCSP, CLI, jobs) maps every code in one exhaustive table, so that a new code does not
 * compile until each rim says what it means there.
 */
export const ERROR_CODES = [
  // who is asking
  'UNREGISTERED',
  'UNKNOWN_ISSUER',
  'CERT_EXPIRED',
  'CERT_REVOKED',
  'CERT_SUPERSEDED',
  'CERT_NOT_YET_VALID',
  'ID_MISMATCH',
  'NOT_RECORDED',
  'NOT_ACTIVATED',
  // state of the unit
  'DEVICE_DORMANT',
  'DEVICE_SUSPENDED',
  'DEVICE_LOST',
  'DEVICE_QUARANTINED',
  'DEVICE_RETIRED',
  // where it is
  'LINE_MISMATCH',
  'CELL_MISMATCH',
  'NET_CIDR',
  'NET_ASN',
  'NET_COUNTRY',
  'NET_UNKNOWN',
  // posture
  'POSTURE_FAIL',
  'FALSE_POSTURE',
  'FIRMWARE_BLOCKED',
  // keys
  'KEY_IN_USE',
  'KEY_BLOCKED',
  'KEY_WEAK',
  'KEY_PROTECTION',
  'NONCE_BAD',
  'POP_FAIL',
  // factory
  'NOT_ON_MANIFEST',
  'QUOTA_EXCEEDED',
  'CREDENTIAL_EXPIRED',
  'CREDENTIAL_FROZEN',
  'CREDENTIAL_SCOPE',
  'CANARY_USED',
  // lineage
  'FORK_SOFT',
  'FORK_HARD',
  'CONCURRENT_USE',
  'MOBILE_USE',
  'CLAIM_CONTESTED',
  'GRANT_BAD',
  'PREDECESSOR_MISMATCH',
  // policy and machinery
  'LIFETIME_EXCEEDS_CEILING',
  'ADMISSION_FROZEN',
  'HSM_UNAVAILABLE',
  'SNAPSHOT_STALE',
  'IDEMPOTENCY_CONFLICT',
  'STATE_CONFLICT',
  'APPROVAL_REQUIRED',
  'RATE_LIMITED',
  // what a caller outside may see
  'DENIED',
  'RETRY_LATER',
  'REACTIVATE',
  'BAD_REQUEST',
  'NOT_FOUND',
  'INTERNAL',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

/** Facts beside a code: plain values only, never a secret, never a private key, at most a few. */
export type ErrorFacts = Readonly<Record<string, string | number | boolean | null | readonly string[]>>;

/**
 * An expected refusal or failure.
 *
 * @param code     stable code from {@link ERROR_CODES}
 * @param message  one sentence for a person that says the next step
 * @param options  `facts` as fields rather than prose; `cause`; `retryAfterSeconds` where trying again may help
 */
export class FemtoError extends Error {
  readonly code: ErrorCode;
  readonly facts: ErrorFacts;
  readonly retryAfterSeconds: number | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: { facts?: ErrorFacts; cause?: unknown; retryAfterSeconds?: number } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'FemtoError';
    this.code = code;
    this.facts = options.facts ?? {};
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

/** The FemtoError inside an unknown throwable; anything else becomes INTERNAL with nothing leaked in its message. */
export function asFemtoError(thrown: unknown): FemtoError {
  if (thrown instanceof FemtoError) return thrown;
  return new FemtoError('INTERNAL', 'The service failed; quote the traceId to its operator.', { cause: thrown });
}
