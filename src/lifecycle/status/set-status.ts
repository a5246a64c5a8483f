import type { RowSource } from '../../platform/db/row-source.js';
import type { Transaction } from '../../platform/db/transaction.js';
import type { EntryPattern } from '../../platform/ledger/entry-pattern.js';
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

/**
 * The same for certificates that the database finds by itself, of which hardly any has a row yet: a fleet at once, in one
 * statement, without one of them coming here. Where some have a row, `rest` is asked for all of them, and decides as above.
 *
 * @returns what changed; marks the CRLs, as its last statement
 */
export async function setStatusOf(
  store: StatusRowStore,
  tx: Transaction,
  source: RowSource,
  decision: StatusDecision & {
    readonly record: EntryPattern<'issuerId' | 'serial' | 'notAfter' | 'unitId'>;
    readonly rest: () => Promise<readonly StatusRow[]>;
  },
): Promise<{ readonly changed: number; readonly unitIds: readonly number[] }> {
  const { state, reason: name, at, record, rest } = decision;
  const reason = state === 'held' ? REVOCATION_REASONS.certificateHold : REVOCATION_REASONS[name];
  const entry = entryAround(crlEntry({ serial: SAMPLE_SERIAL, revokedAt: at, reason }));
  const fresh = await store.addRows(tx, source, { state, reason, at, entry, record });
  const others = fresh.left === 0 ? [] : await rest();
  if (fresh.added > 0) await store.markDirty(tx, fresh.issuerIds, fresh.some);
  const unitIds = new Set([...fresh.unitIds, ...others.flatMap(({ unitId }) => unitId ?? [])]);
  return { changed: fresh.added + others.length, unitIds: [...unitIds] };
}

/** Every serial of ours has this shape, so an entry differs in these octets only. */
const SAMPLE_SERIAL = Buffer.from('01fedcba9876543210fedcba98765432', 'hex');

function entryAround(entry: Buffer): { before: Buffer; after: Buffer } {
  const at = entry.indexOf(SAMPLE_SERIAL);
  return { before: entry.subarray(0, at), after: entry.subarray(at + SAMPLE_SERIAL.length) };
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
