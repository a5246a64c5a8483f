import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Actor, LineageSlot, UnitState } from '../model/index.js';
import { checkNote, nothingFound, unitsTouched } from './restrict.js';
import { requireSecondPerson, secondPerson } from './restriction-budget.js';
import type { CertificateSelection, ReleaseRequest, Requester, RestrictOutcome, StatusChange } from './revocation.js';
import type { RevocationDeps } from './revocation-deps.js';
import type { SelectedUnit } from './revocation-store.js';
import { distinctUnits, writeStatus } from './write-status.js';

export type ReleaseOutcome = RestrictOutcome & { readonly state: UnitState };

/** A hold ends, or a lost or quarantined unit is found. Two people, always (policy: releasing a hold needs four eyes). */
export async function release(deps: RevocationDeps, request: ReleaseRequest): Promise<ReleaseOutcome> {
  checkNote(request.note);
  return deps.transactor.run(async (tx) => {
    const approved = await approvedRelease(tx, request);
    const [unit] = await deps.store.lockUnits(tx, [request.unitId]);
    if (!unit) throw nothingFound();
    // A hold that was approved to end must not end a loss that was reported since.
    if (request.approvedState !== undefined && request.approvedState !== unit.state) {
      throw new FemtoError('STATE_CONFLICT', `The unit is ${unit.state} by now; ask for an approval of that.`, {
        facts: { state: unit.state },
      });
    }
    switch (unit.state) {
      case 'SUSPENDED':
        return endHold(deps, tx, unit, approved);
      case 'LOST':
        await checkFinder(deps, tx, approved);
        return startOver(deps, tx, unit, approved);
      case 'QUARANTINED':
        return startOver(deps, tx, unit, approved);
      default:
        throw new FemtoError('STATE_CONFLICT', `The unit is ${unit.state}: there is no hold to end.`, {
          facts: { state: unit.state },
        });
    }
  });
}

/** A certificate that was held by itself, while its unit went on. */
export async function releaseCertificates(
  deps: RevocationDeps,
  request: Requester & { readonly selection: CertificateSelection; readonly note: string },
): Promise<RestrictOutcome> {
  checkNote(request.note);
  return deps.transactor.run(async (tx) => {
    const { actor, note } = await approvedRelease(tx, request);
    const at = deps.clock.now();
    const first = await deps.store.certificatesBy(tx, request.selection, at);
    if (first.length === 0) throw nothingFound();
    await deps.store.lockUnits(tx, distinctUnits(first));
    const held = await deps.store.heldByThemselves(tx, first);
    if (held.length === 0) {
      throw new FemtoError(
        'STATE_CONFLICT',
        'None of these certificates is on hold by itself; where the unit is held, release the unit.',
      );
    }
    const released: StatusChange = { state: 'released', reason: 'unspecified', actor, at, note };
    const changed = await writeStatus(deps, tx, held, released);
    return { units: unitsTouched(changed), certificates: changed.length, blockedKeys: 0 };
  });
}

type Approved<Request> = Omit<Request, 'approvedBy'> & { readonly approvedBy?: Actor };

/** Trust is given back by two people, always. */
async function approvedRelease<Request extends Requester>(
  tx: Transaction,
  request: Request,
): Promise<Approved<Request>> {
  const approvedBy = await secondPerson(tx, request);
  if (request.personId !== null) requireSecondPerson({ actor: request.actor, approvedBy });
  const { approvedBy: _asked, ...rest } = request;
  return approvedBy === undefined ? rest : { ...rest, approvedBy };
}

/** Held certificates are good again. Where the head is revoked for good, only a new activation helps. */
export async function endHold(
  deps: RevocationDeps,
  tx: Transaction,
  unit: SelectedUnit,
  request: Pick<Approved<ReleaseRequest>, 'actor' | 'approvedBy' | 'note' | 'evidence'>,
): Promise<ReleaseOutcome> {
  const at = deps.clock.now();
  const { actor, note } = request;
  const released: StatusChange = { state: 'released', reason: 'unspecified', actor, at, note };
  const changed = await writeStatus(deps, tx, await deps.store.heldOf(tx, unit.id), released);
  const live = await deps.lineages.liveViewOfUnit(tx, unit.id, { lock: true });
  const head = live?.lineage.state === 'open' ? headOf(live.slots) : undefined;
  const isAlive = head !== undefined && !(await deps.store.isRevoked(tx, head));
  if (live && !isAlive) {
    await deps.lineages.closeLineage(tx, { lineageId: live.lineage.id, reason: 'head revoked', actor, at });
  }
  const state = isAlive ? 'ACTIVE' : 'BOOTSTRAPPED';
  await changeState(deps, tx, unit, state, request, at);
  return { units: 1, certificates: changed.length, blockedKeys: 0, state };
}

/**
 * Leaving LOST or QUARANTINED: whoever had the unit may have its keys, and nobody can tell which branch was genuine. So no
 * certificate of the lineage is ever good again and its keys are blocked (rules 4).
 */
async function startOver(
  deps: RevocationDeps,
  tx: Transaction,
  unit: SelectedUnit,
  request: Approved<ReleaseRequest>,
): Promise<ReleaseOutcome> {
  const at = deps.clock.now();
  const { actor, note } = request;
  const all = await deps.store.certificatesOfUnits(tx, [unit.id], at);
  // A key that lies in a file was copied together with everything else: its bootstrap identity goes too.
  const replaceBootstrap = unit.keyProtection === 'file' || request.replaceBootstrap === true;
  const condemned = all.filter(({ purpose }) => purpose !== 'bootstrap' || replaceBootstrap);
  const revoked: StatusChange = { state: 'revoked', reason: 'keyCompromise', actor, at, note, voidsInFlight: true };
  const changed = await writeStatus(deps, tx, condemned, revoked);

  const live = await deps.lineages.liveViewOfUnit(tx, unit.id, { lock: true });
  const keys = [...condemned.map(({ spkiHash }) => spkiHash), ...(live?.slots ?? []).map(({ spkiHash }) => spkiHash)];
  // A vendor's certificate is in no record of ours to revoke: its key is what ends.
  if (replaceBootstrap && unit.vendorSpkiHash !== null) keys.push(unit.vendorSpkiHash);
  const blockedKeys = await deps.store.blockKeys(tx, keys, { reason: note, source: actor, at });
  if (live) {
    const reason = unit.state === 'LOST' ? 'found after loss' : 'released from quarantine';
    await deps.lineages.closeLineage(tx, { lineageId: live.lineage.id, reason, actor, at });
  }
  if (replaceBootstrap) await deps.units.writeRework(tx, unit.id, true);
  else {
    const released: StatusChange = { state: 'released', reason: 'unspecified', actor, at, note };
    await writeStatus(
      deps,
      tx,
      all.filter(({ purpose }) => purpose === 'bootstrap'),
      released,
    );
  }
  await changeState(deps, tx, unit, 'BOOTSTRAPPED', request, at);
  return { units: 1, certificates: changed.length, blockedKeys, state: 'BOOTSTRAPPED' };
}

/** LST-1: whoever reported it lost does not vouch for its return, and an inspection is on file. */
async function checkFinder(deps: RevocationDeps, tx: Transaction, request: Approved<ReleaseRequest>): Promise<void> {
  if (request.evidence === undefined || request.evidence.trim() === '') {
    throw new FemtoError('BAD_REQUEST', 'A found unit needs its inspection record: name the document as evidence.');
  }
  if (request.personId === null) return;
  const reporter = await deps.store.lastReporter(tx, request.unitId);
  if (reporter === request.approvedBy) {
    throw new FemtoError(
      'APPROVAL_REQUIRED',
      'The person who reported the loss cannot approve the return; ask another approver.',
    );
  }
}

async function changeState(
  deps: RevocationDeps,
  tx: Transaction,
  unit: SelectedUnit,
  to: UnitState,
  { actor, approvedBy, note, evidence }: Pick<Approved<ReleaseRequest>, 'actor' | 'approvedBy' | 'note' | 'evidence'>,
  at: Date,
): Promise<void> {
  const reason = approvedBy === undefined ? note : `${note} (approved by ${approvedBy})`;
  const base = { unitId: unit.id, to, actor, reason: reason.slice(0, 500), at, from: unit.state };
  await deps.registry.changeState(tx, evidence === undefined ? base : { ...base, evidence });
}

/** Newest generation that is neither abandoned nor displaced, pending included (rules 4). */
function headOf(slots: readonly LineageSlot[]): LineageSlot | undefined {
  return slots
    .filter(({ state }) => state === 'pending' || state === 'confirmed')
    .sort((a, b) => b.generation - a.generation)[0];
}
