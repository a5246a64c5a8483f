import type { RowSource } from '../../platform/db/row-source.js';
import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Actor, UnitState } from '../model/index.js';
import { checkRestrictionBudget, secondPerson } from './restriction-budget.js';
import type {
  CertificateReference,
  CertificateSelection,
  RestrictOutcome,
  RestrictRequest,
  StatusChange,
  UnitSelection,
} from './revocation.js';
import { isOfCertificates } from './revocation.js';
import type { RevocationDeps } from './revocation-deps.js';
import { distinctUnits, writeStatus, writeStatusOf } from './write-status.js';

/** Revoke or hold whatever a selection names. Units named as units also change state; certificates alone leave it. */
export async function restrict(
  deps: RevocationDeps,
  request: RestrictRequest,
  state: 'revoked' | 'held',
): Promise<RestrictOutcome> {
  checkNote(request.note);
  if (request.selection.by === 'key' && state === 'revoked') {
    throw new FemtoError('BAD_REQUEST', 'A key is not revoked but blocked for ever; use femtopki key block.');
  }
  return deps.transactor.run(async (tx) => {
    const approvedBy = await secondPerson(tx, request);
    const at = deps.clock.now();
    const change: StatusChange = { state, reason: request.reason, actor: request.actor, at, note: request.note };
    const { selection, evidence } = request;
    const outcome = isOfCertificates(selection)
      ? await restrictCertificates(deps, tx, selection, change)
      : await restrictUnits(deps, tx, {
          unitIds: await unitsOf(deps, tx, selection),
          to: 'SUSPENDED',
          change,
          evidence,
        });
    const what = `${state} by ${request.selection.by}`;
    await checkRestrictionBudget(deps, tx, { ...request, approvedBy, units: outcome.units, what, at });
    return outcome;
  });
}

async function unitsOf(deps: RevocationDeps, tx: Transaction, selection: UnitSelection): Promise<number[]> {
  const unitIds = await deps.store.unitIds(tx, selection);
  if (unitIds.length === 0 && selection.by === 'unit') throw nothingFound();
  return unitIds;
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
export async function endService(
  deps: RevocationDeps,
  request: Omit<RestrictRequest, 'selection' | 'reason'> & { unitId: number },
  to: 'LOST' | 'RETIRED',
): Promise<RestrictOutcome> {
  checkNote(request.note);
  const { unitId, actor, note, evidence } = request;
  return deps.transactor.run(async (tx) => {
    const approvedBy = await secondPerson(tx, request);
    const at = deps.clock.now();
    const [unit] = await deps.store.lockUnits(tx, [unitId]);
    if (!unit) throw nothingFound();
    if (unit.state === 'RETIRED') {
      throw new FemtoError('STATE_CONFLICT', 'The unit is RETIRED for good; there is nothing left to deny.', {
        facts: { state: unit.state },
      });
    }
    const change: StatusChange =
      to === 'LOST'
        ? { state: 'held', reason: 'certificateHold', actor, at, note }
        : { state: 'revoked', reason: 'cessationOfOperation', actor, at, note };
    const outcome = await restrictUnits(deps, tx, { unitIds: [unitId], to, change, evidence });
    await checkRestrictionBudget(deps, tx, {
      ...request,
      approvedBy,
      units: outcome.units,
      what: to.toLowerCase(),
      at,
    });
    return outcome;
  });
}

export interface UnitRestriction {
  readonly unitIds: readonly number[];
  readonly to: 'SUSPENDED' | 'QUARANTINED' | 'LOST' | 'RETIRED';
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
  const { actor, at, note } = change;
  const move = { unitIds, from: MAY_MOVE[to], to, actor, reason: note ?? '', at };
  const moved = await deps.registry.changeStates(tx, evidence === undefined ? move : { ...move, evidence });
  const source = deps.store.usableOfUnits(unitIds, at);
  const { changed, unitIds: changedUnits } = await writeStatusOf(deps, tx, source, {
    ...change,
    rest: () => deps.store.certificatesOfUnits(tx, unitIds, at),
  });
  const blockedKeys = await blockKeysOf(deps, tx, source, change);
  return { units: new Set([...changedUnits, ...moved]).size, certificates: changed, blockedKeys };
}

/** A compromised key must not come back in another request, whichever way its certificate was revoked. */
async function blockKeysOf(
  deps: RevocationDeps,
  tx: Transaction,
  keys: RowSource | readonly Buffer[],
  { state, reason, actor, at, note }: StatusChange,
): Promise<number> {
  if (state !== 'revoked' || reason !== 'keyCompromise') return 0;
  return deps.store.blockKeys(tx, keys, { reason: note ?? reason, source: actor, at });
}

export async function restrictCertificates(
  deps: RevocationDeps,
  tx: Transaction,
  selection: CertificateSelection,
  change: StatusChange,
): Promise<RestrictOutcome> {
  const first = await deps.store.certificatesBy(tx, selection, change.at);
  if (first.length === 0) throw nothingFound();
  // Read again once the units are locked: a record that committed in between is found now, a later one is refused (T2).
  await deps.store.lockUnits(tx, distinctUnits(first));
  const certificates = await deps.store.certificatesBy(tx, selection, change.at);
  const changed = await writeStatus(deps, tx, certificates, { ...change, voidsInFlight: true });
  const keys = certificates.map(({ spkiHash }) => spkiHash);
  const blockedKeys = await blockKeysOf(deps, tx, keys, change);
  return { units: unitsTouched(changed), certificates: changed.length, blockedKeys };
}

/** What a person's count is charged: a certificate of no unit counts as one. */
export function unitsTouched(changed: readonly CertificateReference[]): number {
  const units = distinctUnits(changed).length;
  return units === 0 && changed.length > 0 ? changed.length : units;
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
export const MAY_MOVE: Readonly<Record<UnitRestriction['to'], readonly UnitState[]>> = {
  SUSPENDED: ['BOOTSTRAPPED', 'ACTIVE', 'DORMANT'],
  QUARANTINED: ['BOOTSTRAPPED', 'ACTIVE', 'DORMANT', 'SUSPENDED'],
  LOST: ['MANIFESTED', 'BOOTSTRAPPED', 'ACTIVE', 'DORMANT', 'SUSPENDED', 'QUARANTINED'],
  RETIRED: ['MANIFESTED', 'BOOTSTRAPPED', 'ACTIVE', 'DORMANT', 'SUSPENDED', 'QUARANTINED', 'LOST'],
};
