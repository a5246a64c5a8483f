import { isOurSerialShape, serialIssuedAfter } from '../../x509/serial.js';
import type { StatusState } from './status-row.js';

/** What one look at the database saw, in one snapshot. */
export interface StatusFacts {
  /** The primary's last heartbeat in this snapshot; null before the first. */
  readonly heartbeatAt: Date | null;
  /** False on a replica, whose snapshot may be older than what was issued meanwhile. */
  readonly isPrimary: boolean;
  readonly row: { readonly state: StatusState; readonly reason: number; readonly revokedAt: Date } | null;
  readonly isIssued: boolean;
  readonly intent: 'signing' | 'issued' | 'abandoned' | null;
}

export type CertificateStatus =
  | { readonly kind: 'good' }
  | { readonly kind: 'revoked'; readonly at: Date; readonly reason: number; readonly isHeld: boolean }
  /** RFC 6960 section 2.2: answered as revoked since 1970, never cached, never on a CRL. */
  | { readonly kind: 'never-issued' }
  /** Nothing may be said now: tryLater. */
  | { readonly kind: 'unsure'; readonly why: 'stale' | 'signing' | 'too-new' | 'inconsistent' };

export interface StatusReader {
  /** @param issuerKind  bounds where its certificates can lie: a Device CA's are all within a month of their serial */
  read(certificate: { issuerId: number; issuerKind: string; serial: Buffer }): Promise<StatusFacts>;
}

/** State older than this says nothing new; answers made before go on until their nextUpdate. */
export const HEARTBEAT_AGE_MS_MAX = 60_000;
/** A serial's hour says when it was drawn, to the hour. */
const HOUR_MS = 3_600_000;
/**
 * A serial may be recorded this long after it was drawn: the minute that signing may take, and an issuing host whose clock
 * is behind the database's. Until a replica's heartbeat is past that, too, what it lacks may be on its way.
 */
const RECORDED_LATE_MS_MAX = 10 * 60_000;

/**
 * Good is said only of what is recorded as issued and neither held nor revoked. Never-issued is said only where the
 * record must already hold the serial if it exists: on the primary, or on a replica whose last heartbeat is well past the
 * hour that the serial was drawn in (rules 6.1).
 */
export function decideStatus(facts: StatusFacts, serial: Buffer, now: Date): CertificateStatus {
  const { heartbeatAt, row, intent } = facts;
  if (!heartbeatAt || now.getTime() - heartbeatAt.getTime() > HEARTBEAT_AGE_MS_MAX)
    return { kind: 'unsure', why: 'stale' };
  if (row && row.state !== 'released') {
    return { kind: 'revoked', at: row.revokedAt, reason: row.reason, isHeld: row.state === 'held' };
  }
  if (facts.isIssued) return { kind: 'good' };
  if (intent === 'signing') return { kind: 'unsure', why: 'signing' };
  // An intent that is issued or abandoned has its certificate or its revoked row in the same commit.
  if (intent !== null || row) return { kind: 'unsure', why: 'inconsistent' };
  return couldBeMissing(facts, serial, heartbeatAt, now)
    ? { kind: 'unsure', why: 'too-new' }
    : { kind: 'never-issued' };
}

function couldBeMissing({ isPrimary }: StatusFacts, serial: Buffer, heartbeatAt: Date, now: Date): boolean {
  if (!isOurSerialShape(serial)) return false; // we never draw such a number
  const hour = serialIssuedAfter(serial).getTime();
  return isPrimary ? hour > now.getTime() : heartbeatAt.getTime() < hour + HOUR_MS + RECORDED_LATE_MS_MAX;
}
