import type { CertificateStatus } from '../../lifecycle/status/index.js';
import type { CertId, OcspAnswer } from '../../x509/ocsp.js';

/** The words of one answer before it is signed. */
export interface Verdict {
  readonly status: CertificateStatus;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
}

/** A hold may end at any time; a client that keeps it longer than this keeps a unit out. */
const HELD_SECONDS_MAX = 600;
const REVOKED_SECONDS_MAX = 3_600;
const NEVER_ISSUED_SECONDS = 120;
const NEVER_ISSUED_AT = new Date(0);
const CERTIFICATE_HOLD = 6;

/** nextUpdate − thisUpdate. */
export function lifeSecondsOf(status: CertificateStatus, goodSeconds: number): number {
  switch (status.kind) {
    case 'good':
      return goodSeconds;
    case 'revoked':
      return Math.min(goodSeconds, status.isHeld ? HELD_SECONDS_MAX : REVOKED_SECONDS_MAX);
    case 'never-issued':
    case 'unsure':
      return NEVER_ISSUED_SECONDS;
  }
}

type TimedAnswer = OcspAnswer & { readonly nextUpdate: Date };

/** Undefined where nothing may be said. */
export function answerOf(certId: CertId, verdict: Verdict | undefined): TimedAnswer | undefined {
  if (!verdict) return undefined;
  const { status, thisUpdate, nextUpdate } = verdict;
  const base = { certIdDer: certId.certIdDer, thisUpdate, nextUpdate };
  switch (status.kind) {
    case 'good':
      return { ...base, status: { kind: 'good' } };
    case 'revoked':
      return { ...base, status: { kind: 'revoked', at: status.at, reason: status.reason } };
    case 'never-issued':
      return { ...base, status: { kind: 'revoked', at: NEVER_ISSUED_AT, reason: CERTIFICATE_HOLD } };
    case 'unsure':
      return undefined;
  }
}
