import type { Transaction } from '../../platform/db/transaction.js';
import { crlEntry } from '../../x509/crl.js';
import { REVOCATION_REASONS, type RevocationReason } from '../model/index.js';
import type { StatusRow, StatusRowStore, StatusState, StatusSubject } from './status-row.js';

export interface StatusDecision {
  readonly state: StatusState;
  readonly reason: RevocationReason;
  readonly at: Date;
}

/**
 * Writes what relying parties shall be told, with the ready CRL entry, in the caller's transaction.
 *
 * Revoked is final. A held certificate may become revoked (its revocationDate stays that of the hold: it was not to be
 * trusted since) or released; a released one may be held or revoked again; nothing else can be released.
 *
 * @param record  writes the ledger entries of what changed; runs before the CRL's mark, which everybody waits for
 * @returns the rows that changed; a repeat returns none
 * @see RFC 5280 section 5.3.1
 */
export async function setStatus(
  store: StatusRowStore,
  tx: Transaction,
  subjects: readonly StatusSubject[],
  decision: StatusDecision,
  record: (changed: readonly StatusRow[]) => Promise<void> = async () => undefined,
): Promise<StatusRow[]> {
  if (subjects.length === 0) return [];
  const changed: StatusRow[] = [];
  for (let from = 0; from < subjects.length; from += CHUNK_ROWS) {
    const chunk = inKeyOrder(subjects.slice(from, from + CHUNK_ROWS));
    const existing = new Map((await store.lockRows(tx, chunk)).map((row) => [statusKey(row), row]));
    const rows = chunk.flatMap((subject) => decide(subject, existing.get(statusKey(subject)), decision) ?? []);
    if (rows.length > 0) changed.push(...(await store.writeRows(tx, rows)));
  }
  if (changed.length > 0) {
    await record(changed);
    await store.markDirty(
      tx,
      [...new Set(changed.map((row) => row.issuerId))].sort((a, b) => a - b),
      changed,
    );
  }
  return changed;
}

export function statusKey({ issuerId, serial }: { issuerId: number; serial: Buffer }): string {
  return `${issuerId}:${serial.toString('hex')}`;
}

function decide(
  subject: StatusSubject,
  existing: StatusRow | undefined,
  { state, reason, at }: StatusDecision,
): StatusRow | undefined {
  if (!mayBecome(existing?.state, state)) return undefined;
  const code = state === 'held' ? REVOCATION_REASONS.certificateHold : REVOCATION_REASONS[reason];
  const revokedAt = existing !== undefined && existing.state === 'held' ? existing.revokedAt : at;
  return {
    ...subject,
    // The unit and the expiry of a known certificate never change; a presented copy cannot shorten its stay on the CRL.
    notAfter: existing !== undefined && existing.notAfter > subject.notAfter ? existing.notAfter : subject.notAfter,
    unitId: existing?.unitId ?? subject.unitId,
    state,
    reason: code,
    revokedAt,
    entryDer: crlEntry({ serial: subject.serial, revokedAt, reason: code }),
    changedAt: at,
  };
}

function mayBecome(from: StatusState | undefined, to: StatusState): boolean {
  if (from === 'revoked' || from === to) return false;
  if (to === 'released') return from === 'held';
  return true;
}

/** One lock order for everybody, so that two sets that overlap cannot deadlock; duplicates are dropped. */
function inKeyOrder(subjects: readonly StatusSubject[]): StatusSubject[] {
  const byKey = new Map(subjects.map((subject) => [statusKey(subject), subject]));
  return [...byKey.values()].sort((a, b) => a.issuerId - b.issuerId || a.serial.compare(b.serial));
}

/** Bind arrays of a few hundred kilobytes: far below any limit, and few round trips for a batch of 10,000. */
const CHUNK_ROWS = 2_000;
