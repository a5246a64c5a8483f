import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ErrorCode, FemtoError } from '../../platform/errors.js';

/**
 * Who reads an answer. Factories see exact codes about their own request, never CANARY_USED; devices and callers without
 * a proved identity see four words; gateways and operators see everything (design section 9).
 */
export type Audience = 'factory' | 'device' | 'gateway' | 'operator';

/** The four words a device may see. */
export const DEVICE_CODES = ['DENIED', 'RETRY_LATER', 'REACTIVATE', 'BAD_REQUEST'] as const;
type DeviceCode = (typeof DEVICE_CODES)[number];

interface ProblemRow {
  readonly status: number;
  readonly title: string;
  readonly device: DeviceCode;
}

/** RFC 9457 problem details, plus our stable code and the trace id that a person quotes. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: ErrorCode;
  readonly traceId: string;
  /** Row by row or pointer by pointer, where a list helps the caller to correct its own request. */
  readonly errors?: readonly string[];
  /** Operators and gateways only. */
  readonly facts?: FemtoError['facts'];
}

export interface ProblemAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Problem;
}

/**
 * An error as its audience may see it.
 *
 * @param traceId  32 lower-case hex digits, from {@link traceIdOf}
 */
export function problemOf(error: FemtoError, audience: Audience, traceId: string): ProblemAnswer {
  const exact = PROBLEMS[error.code];
  const code = visibleCode(error.code, audience);
  const row = PROBLEMS[code];
  // A status in the facts (409, 413, 415, 408) is a finer word for BAD_REQUEST and tells nobody anything about a unit.
  const finer = error.facts['status'];
  const status = code === 'BAD_REQUEST' && typeof finer === 'number' && FINER_STATUS.has(finer) ? finer : row.status;
  const retryAfterSeconds = error.retryAfterSeconds ?? (exact.status === 503 ? RETRY_AFTER_SECONDS : undefined);
  const tellsDetail = audience !== 'device' && code === error.code;
  const { errors } = error.facts;
  return {
    status,
    headers: {
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      ...(retryAfterSeconds === undefined || status < 429
        ? {}
        : { 'retry-after': String(Math.ceil(retryAfterSeconds)) }),
      ...(status === 408 || status === 413 ? { connection: 'close' } : {}),
    },
    body: {
      type: `/docs/errors#${code}`,
      title: row.title,
      status,
      detail: tellsDetail ? error.message : (DETAIL_FOR_DEVICES[code as DeviceCode] ?? row.title),
      code,
      traceId,
      ...(tellsDetail && Array.isArray(errors) ? { errors: errors as readonly string[] } : {}),
      ...(audience === 'operator' || audience === 'gateway' ? { facts: error.facts } : {}),
    },
  };
}

/** Writes the answer; an answer already begun can only be cut off. */
export function sendProblem(response: ServerResponse, answer: ProblemAnswer): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  response.writeHead(answer.status, answer.headers).end(JSON.stringify(answer.body));
}

/** The trace id of a W3C traceparent header, else a fresh one. */
export function traceIdOf(request: IncomingMessage): string {
  const header = request.headers['traceparent'];
  const traceId = typeof header === 'string' ? TRACEPARENT.exec(header)?.[1] : undefined;
  return traceId === undefined || /^0+$/.test(traceId) ? randomBytes(16).toString('hex') : traceId;
}

function visibleCode(code: ErrorCode, audience: Audience): ErrorCode {
  if (audience === 'device') return PROBLEMS[code].device;
  // A recipient that learns which serial was a canary knows which ones are not (FAC-5).
  if (audience === 'factory' && code === 'CANARY_USED') return 'NOT_ON_MANIFEST';
  return code;
}

const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/;
const FINER_STATUS: ReadonlySet<number> = new Set([404, 405, 408, 409, 413, 415, 422]);
/** What a 503 says when the error does not know better. */
const RETRY_AFTER_SECONDS = 30;

const DETAIL_FOR_DEVICES: Readonly<Record<string, string>> = {
  DENIED: 'The request is refused; the operator can see why under this traceId.',
  RETRY_LATER: 'The service cannot answer now; ask again after Retry-After seconds.',
  REACTIVATE: 'The certificate can no longer be renewed; activate the unit again.',
  BAD_REQUEST: 'The request is not well formed; compare it with the documentation.',
  NOT_ON_MANIFEST: 'The serial number is on no accepted manifest; submit the manifest first.',
} satisfies Record<DeviceCode | 'NOT_ON_MANIFEST', string>;

const row = (status: number, title: string, device: DeviceCode = 'DENIED'): ProblemRow => ({ status, title, device });

/** Every code, in every rim; a new one does not compile until it has its line here. */
export const PROBLEMS = {
  UNREGISTERED: row(403, 'The caller is not registered'),
  UNKNOWN_ISSUER: row(403, 'The certificate comes from no CA known here'),
  CERT_EXPIRED: row(403, 'The certificate has expired', 'REACTIVATE'),
  CERT_REVOKED: row(403, 'The certificate is revoked'),
  CERT_SUPERSEDED: row(403, 'The certificate has a confirmed successor'),
  CERT_NOT_YET_VALID: row(403, 'The certificate is not valid yet'),
  ID_MISMATCH: row(403, 'The names do not belong together'),
  NOT_RECORDED: row(403, 'The certificate is not in the record'),
  NOT_ACTIVATED: row(403, 'The unit is not activated'),
  DEVICE_DORMANT: row(403, 'The unit is dormant', 'REACTIVATE'),
  DEVICE_SUSPENDED: row(403, 'The unit is suspended'),
  DEVICE_LOST: row(403, 'The unit is reported lost'),
  DEVICE_QUARANTINED: row(403, 'The unit is quarantined'),
  DEVICE_RETIRED: row(403, 'The unit is retired'),
  LINE_MISMATCH: row(403, 'The unit is not on its line'),
  CELL_MISMATCH: row(403, 'The cell identity is not the unit’s'),
  NET_CIDR: row(403, 'The source address is outside the allowed prefixes'),
  NET_ASN: row(403, 'The source network is not allowed'),
  NET_COUNTRY: row(403, 'The source country is not allowed'),
  NET_UNKNOWN: row(403, 'The source address belongs to no known line'),
  POSTURE_FAIL: row(403, 'The posture is not acceptable'),
  FALSE_POSTURE: row(403, 'The posture contradicts what is known'),
  FIRMWARE_BLOCKED: row(403, 'The firmware is blocked'),
  KEY_IN_USE: row(409, 'The key belongs to another holder'),
  KEY_BLOCKED: row(400, 'The key is blocked'),
  KEY_WEAK: row(400, 'The key is not acceptable', 'BAD_REQUEST'),
  KEY_PROTECTION: row(403, 'The key is not protected as the profile wants'),
  NONCE_BAD: row(403, 'The nonce is missing, spent or expired'),
  POP_FAIL: row(403, 'The proof of possession is wrong'),
  NOT_ON_MANIFEST: row(403, 'The unit is on no accepted manifest'),
  QUOTA_EXCEEDED: row(403, 'The credential’s quota is used up'),
  CREDENTIAL_EXPIRED: row(403, 'The credential is outside its time'),
  CREDENTIAL_FROZEN: row(403, 'The credential is frozen'),
  CREDENTIAL_SCOPE: row(403, 'The credential does not cover this request'),
  CANARY_USED: row(403, 'A canary was used'),
  FORK_SOFT: row(403, 'The successor was displaced'),
  FORK_HARD: row(403, 'Two holders of one lineage'),
  CONCURRENT_USE: row(403, 'The certificate is in use elsewhere'),
  MOBILE_USE: row(403, 'The unit moves'),
  CLAIM_CONTESTED: row(403, 'Another claim on the unit exists'),
  GRANT_BAD: row(403, 'The activation grant does not match'),
  PREDECESSOR_MISMATCH: row(403, 'The predecessor is not the one on record'),
  LIFETIME_EXCEEDS_CEILING: row(403, 'The life asked for is above the ceiling'),
  ADMISSION_FROZEN: row(403, 'Admission is frozen'),
  HSM_UNAVAILABLE: row(503, 'The signing token does not answer', 'RETRY_LATER'),
  SNAPSHOT_STALE: row(503, 'The state is too old to decide on', 'RETRY_LATER'),
  IDEMPOTENCY_CONFLICT: row(409, 'The idempotency key was used for another request', 'BAD_REQUEST'),
  STATE_CONFLICT: row(409, 'The state does not allow this'),
  APPROVAL_REQUIRED: row(403, 'A second person must approve', 'RETRY_LATER'),
  RATE_LIMITED: row(429, 'Too many requests', 'RETRY_LATER'),
  DENIED: row(403, 'The request is refused'),
  RETRY_LATER: row(503, 'The service cannot answer now', 'RETRY_LATER'),
  REACTIVATE: row(403, 'The unit must be activated again', 'REACTIVATE'),
  BAD_REQUEST: row(400, 'The request is not well formed', 'BAD_REQUEST'),
  NOT_FOUND: row(404, 'There is no such thing here', 'BAD_REQUEST'),
  INTERNAL: row(500, 'The service failed', 'RETRY_LATER'),
} satisfies Record<ErrorCode, ProblemRow>;
