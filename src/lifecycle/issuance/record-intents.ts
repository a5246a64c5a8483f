import { createHash } from 'node:crypto';
import type { Transaction } from '../../platform/db/transaction.js';
import { asFemtoError, FemtoError } from '../../platform/errors.js';
import type { Ledger, LedgerEntry } from '../../platform/ledger/ledger.js';
import { serialHex } from '../../x509/serial.js';
import type { UnitState } from '../model/index.js';
import { claimKeys } from './claim-keys.js';
import type { Draft } from './draft-certificate.js';
import type { IssuanceStore, LockedUnit, SlotClaim } from './issuance-store.js';
import { certificateFacts, subjectOf } from './ledger-facts.js';

export interface IntentDeps {
  readonly store: IssuanceStore;
  readonly ledger: Ledger;
}

/** What T1 decided about one draft. */
export type IntentOutcome =
  | { readonly ok: true; readonly slotId: number | null; readonly unit: LockedUnit | null }
  | { readonly ok: false; readonly error: FemtoError };

/** What one transaction knows: its instant, the locked units, and who was refused. */
interface Claiming {
  readonly tx: Transaction;
  readonly at: Date;
  readonly units: ReadonlyMap<number, LockedUnit>;
  /** Attempts of this transaction: their intents are not written yet when keys are looked at. */
  readonly flush: ReadonlySet<string>;
  readonly refused: Map<string, FemtoError>;
  readonly slotIds: Map<string, number>;
  /** Appended whatever becomes of the row they are about, e.g. `key.reused`. */
  readonly remarks: LedgerEntry[];
  /** Appended if the claims they are about stand. */
  readonly entries: LedgerEntry[];
}

/**
 * T1 for one flush: claims key and successor slot of every draft and records its intent, in one transaction. A refused
 * draft leaves nothing behind (but a remark about a reused key) and costs its neighbours nothing.
 *
 * @returns outcomes by attempt id
 */
export async function recordIntents(
  deps: IntentDeps,
  tx: Transaction,
  drafts: readonly Draft[],
  at: Date,
): Promise<Map<string, IntentOutcome>> {
  const unitIds = [...new Set(drafts.flatMap(({ request }) => request.unitId ?? []))].sort((a, b) => a - b);
  const units = unitIds.length === 0 ? new Map<number, LockedUnit>() : await deps.store.lockUnits(tx, unitIds);
  const claiming: Claiming = {
    tx,
    at,
    units,
    flush: new Set(drafts.map(({ attemptId }) => attemptId)),
    refused: new Map(),
    slotIds: new Map(),
    remarks: [],
    entries: [],
  };
  refuseChangedUnits(drafts, claiming);
  const [plain, special] = partition(drafts.filter(isStanding(claiming)), isPlain);
  await claimTogether(deps, plain, claiming);
  // What displaces, opens, closes or runs a hook can only be undone as a whole: each such row in a savepoint of its own.
  for (const draft of special) await claimAlone(deps, draft, claiming);
  const intended = drafts.filter(isStanding(claiming));
  if (intended.length > 0)
    await deps.store.insertIntents(
      tx,
      intended.map((draft) => intentOf(draft, claiming)),
    );
  await deps.ledger.append(tx, [
    ...claiming.remarks,
    ...claiming.entries,
    ...intended.map((draft) => intendedEntry(draft, claiming)),
  ]);
  return new Map(drafts.map((draft) => [draft.attemptId, outcomeOf(draft, claiming)]));
}

function outcomeOf(draft: Draft, claiming: Claiming): IntentOutcome {
  const error = claiming.refused.get(draft.attemptId);
  if (error !== undefined) return { ok: false, error };
  return { ok: true, slotId: slotIdOf(draft, claiming), unit: unitOf(draft, claiming) };
}

/** Nothing is issued to a unit in these states, whatever the caller read before. */
const CLOSED_STATES: ReadonlySet<UnitState> = new Set(['SUSPENDED', 'QUARANTINED', 'LOST', 'RETIRED']);

/** Is the unit still as the approval saw it? T1 and T2 ask alike; a revocation in between moved the epoch. */
export function unitFault(draft: Draft, unit: LockedUnit | undefined): FemtoError | null {
  if (draft.request.unitId === null) return null;
  if (unit === undefined) return conflict('The unit is not in the registry.', { unitId: draft.request.unitId });
  if (CLOSED_STATES.has(unit.state) || unit.revocationEpoch !== draft.request.revocationEpoch) {
    return conflict('The unit changed while its certificate was being made; read its state and ask again.', {
      state: unit.state,
      epoch: unit.revocationEpoch,
    });
  }
  return null;
}

function refuseChangedUnits(drafts: readonly Draft[], { units, refused }: Claiming): void {
  for (const draft of drafts) {
    const fault = unitFault(draft, draft.request.unitId === null ? undefined : units.get(draft.request.unitId));
    if (fault !== null) refused.set(draft.attemptId, fault);
  }
}

/** The hot path: a renewal of the head, a bootstrap or services certificate, without a hook. */
function isPlain({ request }: Draft): boolean {
  const { successor } = request;
  if (request.withIntent !== undefined) return false;
  if (successor === null) return true;
  return successor.lineageId !== null && successor.displacesSlotId === null && successor.closesLineageId === undefined;
}

async function claimAlone(deps: IntentDeps, draft: Draft, claiming: Claiming): Promise<void> {
  const { tx, refused } = claiming;
  const entries: LedgerEntry[] = [];
  await tx.query('SAVEPOINT one_row');
  try {
    const lineageId = await prepareLineage(deps, draft, { ...claiming, entries });
    await claimTogether(deps, [draft], { ...claiming, entries }, lineageId);
    const error = refused.get(draft.attemptId);
    if (error !== undefined) throw error;
    await draft.request.withIntent?.(tx, draft.attemptId);
    await tx.query('RELEASE SAVEPOINT one_row');
    claiming.entries.push(...entries);
  } catch (thrown) {
    // Anything else is this row's own; if the connection is gone the next statement fails and so does T1.
    if (deps.store.faultOf(thrown) === 'transaction') throw thrown;
    await tx.query('ROLLBACK TO SAVEPOINT one_row');
    claiming.slotIds.delete(draft.attemptId);
    refused.set(draft.attemptId, asFemtoError(thrown));
  }
}

/** Closes, opens and displaces as the claim says; returns the lineage that the slot belongs to. */
async function prepareLineage(
  deps: IntentDeps,
  draft: Draft,
  { tx, at, entries, units }: Claiming,
): Promise<number | null> {
  const { successor, unitId, actor } = draft.request;
  if (successor === null || unitId === null) return null;
  const subject = subjectOf(draft, units.get(unitId) ?? null);
  if (successor.closesLineageId !== undefined) {
    const lineageId = successor.closesLineageId;
    if (!(await deps.store.closeLineage(tx, { lineageId, unitId, at }))) throw slotTaken();
    entries.push({ kind: 'lineage.closed', subject, at, body: { lineageId, reason: 'new activation', actor } });
  }
  const lineageId = successor.lineageId ?? (await deps.store.openLineage(tx, unitId, at));
  if (lineageId === null)
    throw conflict('The unit’s lineage is quarantined; it comes back by a new activation only.', {});
  const slotId = successor.displacesSlotId;
  if (slotId === null) return lineageId;
  const { generation } = successor;
  const change = { slotId, lineageId, generation, newSpkiHash: draft.request.spki.spkiHash, at };
  const displaced = await deps.store.displaceSlot(tx, change);
  if (displaced === 'not-pending') throw slotTaken();
  if (displaced === 'too-soon') {
    throw new FemtoError('RETRY_LATER', 'This generation was replaced within the last hour; ask again later.', {
      retryAfterSeconds: 3_600,
    });
  }
  entries.push({
    kind: 'lineage.displaced',
    subject,
    at,
    body: { lineageId, generation, slotId, how: displaced, byAttempt: draft.attemptId, actor },
  });
  return lineageId;
}

async function claimTogether(
  deps: IntentDeps,
  drafts: readonly Draft[],
  claiming: Claiming,
  openedLineageId: number | null = null,
): Promise<void> {
  if (drafts.length === 0) return;
  const { tx, at, units, refused, slotIds, entries } = claiming;
  const keyed = await claimKeys(deps.store, tx, drafts, claiming);
  const claims = keyed.flatMap((draft) => slotClaim(draft, at, openedLineageId) ?? []);
  const claimed = claims.length === 0 ? new Map<string, number>() : await deps.store.claimSlots(tx, claims);
  for (const [attemptId, slotId] of claimed) slotIds.set(attemptId, slotId);
  const standing = claims.filter((claim) => claimed.has(claim.attemptId));
  const lost = keyed.filter(({ attemptId, request }) => request.successor !== null && !claimed.has(attemptId));
  for (const { attemptId } of lost) refused.set(attemptId, slotTaken());
  if (lost.length > 0)
    await deps.store.releaseKeys(
      tx,
      lost.map((draft) => ({ ...keyClaimOf(draft), at })),
    );
  if (standing.length === 0) return;
  for (const slot of await deps.store.confirmPredecessors(tx, standing, at)) {
    const serialNumber = units.get(slot.unitId)?.serialNumber ?? String(slot.unitId);
    entries.push({
      kind: 'lineage.confirmed',
      subject: `unit:${serialNumber}`,
      at,
      body: { ...slot, serial: serialHex(slot.serial), by: 'renewal' },
    });
  }
}

function keyClaimOf(draft: Draft) {
  const { request } = draft;
  return {
    attemptId: draft.attemptId,
    spkiHash: request.spki.spkiHash,
    unitId: request.unitId,
    ownerKind: request.purpose,
    ownerName: request.commonName,
  };
}

function slotClaim(draft: Draft, at: Date, openedLineageId: number | null): SlotClaim | null {
  const { request } = draft;
  const lineageId = request.successor?.lineageId ?? openedLineageId;
  if (request.successor === null || request.unitId === null || lineageId === null) return null;
  return {
    attemptId: draft.attemptId,
    lineageId,
    unitId: request.unitId,
    generation: request.successor.generation,
    preissued: request.successor.preissued,
    spkiHash: request.spki.spkiHash,
    issuerId: draft.issuer.id,
    serial: draft.serial,
    notBefore: draft.notBefore,
    notAfter: draft.notAfter,
    renewFrom: draft.renewFrom,
    renewUntil: draft.renewUntil,
    at,
  };
}

function intentOf(draft: Draft, claiming: Claiming) {
  const { request } = draft;
  return {
    attemptId: draft.attemptId,
    createdAt: claiming.at,
    issuerId: draft.issuer.id,
    serial: draft.serial,
    purpose: request.purpose,
    unitId: request.unitId,
    machineId: request.machineId,
    spkiHash: request.spki.spkiHash,
    notAfter: draft.notAfter,
    tbs: draft.linted.tbsDer,
    tbsHash: createHash('sha256').update(draft.linted.tbsDer).digest(),
    slotId: slotIdOf(draft, claiming),
    revocationEpoch: request.revocationEpoch,
  };
}

function intendedEntry(draft: Draft, claiming: Claiming): LedgerEntry {
  return {
    kind: 'certificate.intended',
    subject: subjectOf(draft, unitOf(draft, claiming)),
    at: claiming.at,
    body: certificateFacts(draft, { tbs: draft.linted.tbsDer }),
  };
}

function slotIdOf(draft: Draft, { slotIds }: Claiming): number | null {
  return slotIds.get(draft.attemptId) ?? null;
}

function unitOf({ request }: Draft, { units }: Claiming): LockedUnit | null {
  return request.unitId === null ? null : (units.get(request.unitId) ?? null);
}

function isStanding({ refused }: Claiming): (draft: Draft) => boolean {
  return ({ attemptId }) => !refused.has(attemptId);
}

function partition<T>(items: readonly T[], test: (item: T) => boolean): [T[], T[]] {
  return [items.filter(test), items.filter((item) => !test(item))];
}

function slotTaken(): FemtoError {
  return conflict('Another renewal of this unit was faster; ask for advice and start from its answer.', {});
}

function conflict(message: string, facts: FemtoError['facts']): FemtoError {
  return new FemtoError('STATE_CONFLICT', message, { facts });
}
