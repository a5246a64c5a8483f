import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Actor, RevocationReason, UnitState } from '../model/index.js';
import { checkRestrictionBudget } from './restriction-budget.js';
import type { RestrictOutcome, RestrictRequest, Selection, StatusChange } from './revocation.js';
import type { RevocationDeps } from './revocation-deps.js';
import { distinctUnits, writeStatus } from './write-status.js';

/** Revoke or hold whatever a selection names. Units named as units also change state; certificates alone leave it. */
export async function restrict(
  deps: RevocationDeps,
  request: RestrictRequest,
  state: 'revoked' | 'held',
): Promise<RestrictOutcome> {
  checkNote(request.note);
  if (request.selection.by === 'key' && state === 'revoked') {
    return blockKey(deps, { ...request, spkiHash: request.selection.spkiHash, source: request.actor });
  }
  return deps.transactor.run(async (tx) => {
    const at = deps.clock.now();
    const change: StatusChange = { state, reason: request.reason, actor: request.actor, at, note: request.note };
    const unitIds = await deps.store.unitIds(tx, request.selection);
    const outcome =
      unitIds === null
        ? await restrictCertificates(deps, tx, request.selection, change)
        : await restrictUnits(deps, tx, { unitIds, to: 'SUSPENDED', change, evidence: request.evidence });
    if (unitIds !== null && unitIds.length === 0 && request.selection.by === 'unit') throw nothingFound();
    await spendBudget(deps, tx, request, outcome, `${state} by ${request.selection.by}`, at);
    return outcome;
  });
}

/** Hard evidence: the unit is QUARANTINED and everything it holds is on hold, in the transaction that believed it. */
export async function quarantine(
  deps: RevocationDeps,
  tx: Transaction,
  { unitId, actor, note, evidence, at }: { unitId: number; actor: Actor; note: string; evidence?: string; at: Date },
): Promise<RestrictOutcome> {
  const change: StatusChange = { state: 'held', reason: 'certificateHold', actor, at, note };
  return restrictUnits(deps, tx, { unitIds: [unitId], to: 'QUARANTINED', change, evidence });
}

/** @throws FemtoError NOT_FOUND; STATE_CONFLICT for a retired unit; APPROVAL_REQUIRED */
export async function reportLost(
  deps: RevocationDeps,
  request: Omit<RestrictRequest, 'selection' | 'reason'> & { unitId: number },
): Promise<RestrictOutcome> {
  checkNote(request.note);
  const { unitId, actor, note, evidence } = request;
  return deps.transactor.run(async (tx) => {
    const at = deps.clock.now();
    const [unit] = await deps.store.lockUnits(tx, [unitId]);
    if (!unit) throw nothingFound();
    if (unit.state === 'RETIRED') {
      throw new FemtoError('STATE_CONFLICT', 'The unit is RETIRED for good; there is nothing left to deny.', {
        facts: { state: unit.state },
      });
    }
    const change: StatusChange = { state: 'held', reason: 'certificateHold', actor, at, note };
    const outcome = await restrictUnits(deps, tx, { unitIds: [unitId], to: 'LOST', change, evidence });
    await spendBudget(deps, tx, request, outcome, 'lost', at);
    return outcome;
  });
}

/** REV-5. @throws FemtoError DENIED for a key of our own CAs */
export async function blockKey(
  deps: RevocationDeps,
  request: Pick<RestrictRequest, 'actor' | 'personId' | 'approvedBy' | 'note'> & {
    spkiHash: Buffer;
    source: string;
    reason?: RevocationReason;
  },
): Promise<RestrictOutcome> {
  const { spkiHash, source, note, actor } = request;
  return deps.transactor.run(async (tx) => {
    const at = deps.clock.now();
    if (await deps.store.isOwnCaKey(tx, spkiHash)) {
      throw new FemtoError('DENIED', 'This is the key of one of our own CAs: only a ceremony can take it out of use.');
    }
    const blockedKeys = await enterBlockedKey(deps, tx, { spkiHash, source, actor, note, at });
    const change: StatusChange = { state: 'revoked', reason: request.reason ?? 'keyCompromise', actor, at, note };
    const outcome = await restrictCertificates(deps, tx, { by: 'key', spkiHash }, change, { mayFindNothing: true });
    await spendBudget(deps, tx, request, outcome, 'key', at);
    return { ...outcome, blockedKeys };
  });
}

/** @returns 1, or 0 where the key was blocked before, and then nothing is written */
export async function enterBlockedKey(
  deps: RevocationDeps,
  tx: Transaction,
  { spkiHash, source, actor, note, at }: { spkiHash: Buffer; source: string; actor: Actor; note: string; at: Date },
): Promise<number> {
  const blocked = await deps.store.blockKeys(tx, [spkiHash], { reason: note, source, at });
  if (blocked > 0) {
    const body = { spkiSha256: spkiHash, source, actor, note };
    await deps.ledger.append(tx, [{ kind: 'key.blocked', subject: `key:${spkiHash.toString('hex')}`, at, body }]);
  }
  return blocked;
}

interface UnitRestriction {
  readonly unitIds: readonly number[];
  readonly to: 'SUSPENDED' | 'QUARANTINED' | 'LOST';
  readonly change: StatusChange;
  readonly evidence: string | undefined;
}

/**
 * Units first (locked, so that no record of an issuance can slip between), their epoch and state, then all their
 * certificates, those being signed included. A unit whose state already denies more keeps it. Certificates come last: the
 * CRL's dirty mark is one row that everybody who revokes waits for.
 */
export async function restrictUnits(
  deps: RevocationDeps,
  tx: Transaction,
  { unitIds, to, change, evidence }: UnitRestriction,
): Promise<RestrictOutcome> {
  const units = await deps.store.lockUnits(tx, unitIds);
  const ids = units.map(({ id }) => id);
  await deps.registry.raiseRevocationEpoch(tx, ids);
  const { actor, at, note } = change;
  const move = { unitIds: ids, from: MAY_MOVE[to], to, actor, reason: note ?? '', at };
  const moved = await deps.registry.changeStates(tx, evidence === undefined ? move : { ...move, evidence });
  const certificates = await deps.store.certificatesOfUnits(tx, ids, at);
  const changed = await writeStatus(deps, tx, certificates, { ...change, voidsInFlight: false });
  const touched = new Set([...distinctUnits(changed), ...moved]);
  return { units: touched.size, certificates: changed.length, blockedKeys: 0 };
}

async function restrictCertificates(
  deps: RevocationDeps,
  tx: Transaction,
  selection: Selection,
  change: StatusChange,
  { mayFindNothing = false } = {},
): Promise<RestrictOutcome> {
  if (selection.by !== 'certificate' && selection.by !== 'key' && selection.by !== 'lineage') throw nothingFound();
  const first = await deps.store.certificatesBy(tx, selection, change.at);
  if (first.length === 0 && !mayFindNothing) throw nothingFound();
  // Read again once the units are locked: a record that committed in between is found now, a later one is refused (T2).
  await deps.store.lockUnits(tx, distinctUnits(first));
  const certificates = await deps.store.certificatesBy(tx, selection, change.at);
  const changed = await writeStatus(deps, tx, certificates, { ...change, voidsInFlight: true });
  const units = distinctUnits(changed).length;
  return {
    units: units === 0 && changed.length > 0 ? changed.length : units,
    certificates: changed.length,
    blockedKeys: 0,
  };
}

async function spendBudget(
  deps: RevocationDeps,
  tx: Transaction,
  { actor, personId, approvedBy }: Pick<RestrictRequest, 'actor' | 'personId' | 'approvedBy'>,
  { units }: RestrictOutcome,
  what: string,
  at: Date,
): Promise<void> {
  const use = { actor, personId, units, what, at };
  await checkRestrictionBudget(deps, tx, approvedBy === undefined ? use : { ...use, approvedBy });
}

export function nothingFound(): FemtoError {
  return new FemtoError(
    'NOT_FOUND',
    'Nothing in the record matches; check the unit, serial or key and ask for a preview.',
  );
}

export function checkNote(note: string): void {
  if (note.trim() !== '' && note.length <= 500) return;
  throw new FemtoError('BAD_REQUEST', 'Say why in 1 to 500 characters; the reason stays in the record.');
}

/** From where a unit moves; elsewhere its state denies as much or more already, and only certificates change. */
const MAY_MOVE: Readonly<Record<UnitRestriction['to'], readonly UnitState[]>> = {
  SUSPENDED: ['BOOTSTRAPPED', 'ACTIVE', 'DORMANT'],
  QUARANTINED: ['BOOTSTRAPPED', 'ACTIVE', 'DORMANT', 'SUSPENDED'],
  LOST: ['MANIFESTED', 'BOOTSTRAPPED', 'ACTIVE', 'DORMANT', 'SUSPENDED', 'QUARANTINED'],
};
