import { hash } from 'node:crypto';
import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Ledger, LedgerEntry } from '../../platform/ledger/ledger.js';
import type { UnitState } from '../model/index.js';
import { type Claiming, claimRows } from './claim-rows.js';
import type { Draft } from './draft-certificate.js';
import type { IssuanceStore, LockedUnit } from './issuance-store.js';
import { certificateFacts, subjectOf } from './ledger-facts.js';

export interface IntentDeps {
  readonly store: IssuanceStore;
  readonly ledger: Ledger;
}

/** What T1 decided about one draft. */
export type IntentOutcome =
  | { readonly ok: true; readonly slotId: number | null; readonly unit: LockedUnit | null }
  | { readonly ok: false; readonly error: FemtoError };

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
    takeovers: new Map(),
    remarks: [],
    entries: [],
  };
  refuseChangedUnits(drafts, claiming);
  await claimRows(deps.store, drafts.filter(isStanding(claiming)), claiming);
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
    tbsHash: hash('sha256', draft.linted.tbsDer, 'buffer'),
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

function conflict(message: string, facts: FemtoError['facts']): FemtoError {
  return new FemtoError('STATE_CONFLICT', message, { facts });
}
