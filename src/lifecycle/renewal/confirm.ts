import { createHash } from 'node:crypto';
import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import { headOf, type LineageView } from '../lineage/index.js';
import type { LineageSlot } from '../model/index.js';
import { quarantine } from './contain-fork.js';
import { lineageOf } from './presented.js';
import type { Confirmation, ProvedCredential } from './renewal.js';
import { authoritativeLine, checkMayRenew, checkUnexpired } from './renewal-conditions.js';
import type { RenewalDeps } from './renewal-deps.js';

/**
 * The new certificate's key was proved: its slot is confirmed, and from now on the predecessor coming back with another
 * key is a fork. Repeating the call is harmless; where the answer was lost the unit simply calls again.
 */
export async function confirm(
  deps: RenewalDeps,
  { credential }: { readonly credential: ProvedCredential },
): Promise<Confirmation> {
  checkMayRenew(credential);
  checkGood(credential);
  const { view, slot: named } = await lineageOf(deps, credential);
  const slot = standing(view, named);
  await checkLineage(deps, credential, view, slot);
  checkUnexpired(deps, credential);
  const profile = await deps.registry.profile(deps.transactor.read, credential.unit.profile);
  const lineId = await authoritativeLine(deps, credential);
  const at = deps.clock.now();
  const actor = `unit:${credential.unit.serialNumber}`;
  const token = deps.preissueAllowed && profile?.renewalMode === 'preissue' ? deps.random(LINEAGE_TOKEN_BYTES) : null;
  await deps.transactor.runTogether(async (tx) => {
    // Lock order: unit, lineage, slot. A hold that is being made either sees this or is seen here.
    const unit = await deps.registry.unitById(tx, credential.unit.id, { lock: 'update' });
    if (unit !== null) checkMayRenew({ ...credential, unit });
    await deps.lineages.lock(tx, view.lineage.id);
    await deps.lineages.confirmSlot(tx, { slotId: slot.id, by: 'confirm-call', at, actor, lineId });
    if (token !== null) {
      await deps.lineages.setToken(tx, { lineageId: view.lineage.id, tokenHash: lineageTokenHash(token) });
    }
    await closeRenewal(deps, tx, slot, { at, lineId });
  });
  return { generation: slot.generation, state: 'confirmed', lineageToken: token?.toString('hex') ?? null };
}

/**
 * The generation before has been followed: its task is done, and its unit was heard, where it should be.
 *
 * @param lineId  authoritative; from another line than the unit's own a renewal is no sign of life (LST-2)
 */
export async function closeRenewal(
  deps: Pick<RenewalDeps, 'tasks' | 'registry'>,
  tx: Transaction,
  { lineageId, generation, unitId }: LineageSlot,
  { at, lineId }: { at: Date; lineId: number | null },
): Promise<void> {
  await deps.tasks.closeFollowed(tx, { lineageId, generation, at });
  await deps.registry.touchContact(tx, unitId, at, { lineageId, lineId });
}

export function lineageTokenHash(token: Buffer): Buffer {
  return createHash('sha256').update('femtopki-lineage-token-v1').update(token).digest();
}

export function checkGood({ status }: ProvedCredential): void {
  if (status === 'good') return;
  throw new FemtoError(
    'CERT_REVOKED',
    'The certificate that was shown is revoked or held; settle the unit’s case first.',
    {
      facts: { status },
    },
  );
}

/** A key that was issued twice in one generation speaks through the slot that stands (see the lineage's heads). */
function standing({ slots }: LineageView, named: LineageSlot): LineageSlot {
  if (named.state !== 'displaced') return named;
  const again = slots.find(
    (slot) =>
      (slot.state === 'pending' || slot.state === 'confirmed') &&
      slot.generation === named.generation &&
      slot.spkiHash.equals(named.spkiHash),
  );
  return again ?? named;
}

/** @throws FemtoError FORK_HARD for a displaced key proved again, DEVICE_QUARANTINED, CERT_SUPERSEDED */
export async function checkLineage(
  deps: RenewalDeps,
  credential: ProvedCredential,
  view: LineageView,
  slot: LineageSlot,
): Promise<void> {
  const { lineage, slots } = view;
  if (lineage.state === 'quarantined') {
    throw new FemtoError('DEVICE_QUARANTINED', 'The unit’s lineage is quarantined; settle its case first.');
  }
  if (lineage.state === 'closed') {
    throw new FemtoError('CERT_SUPERSEDED', 'The certificate belongs to a lineage that has ended; activate the unit.');
  }
  if (slot.state === 'signing' || slot.state === 'abandoned') {
    throw new FemtoError('NOT_RECORDED', 'The certificate was never delivered; look at its record.');
  }
  if (slot.state !== 'displaced') return;
  if (slot.displacedAt === null || credential.provedAt.getTime() <= slot.displacedAt.getTime()) {
    throw new FemtoError('RETRY_LATER', 'The key must be proved again; ask over a new connection.', {
      retryAfterSeconds: 1,
    });
  }
  // Rules section 4: a displaced key, proved again, is a second holder.
  await quarantine(
    deps,
    { credential, unit: credential.unit, newSpkiHash: null, provedAt: credential.provedAt, isFresh: true },
    {
      lineageId: lineage.id,
      row: 'displaced key',
      presentedSlotId: slot.id,
      successorSlotId: headOf(slots)?.id ?? null,
      code: 'FORK_HARD',
    },
  );
  throw new FemtoError('FORK_HARD', 'A displaced key was proved again; both branches are held.', {
    facts: { lineageId: lineage.id },
  });
}

const LINEAGE_TOKEN_BYTES = 32;
