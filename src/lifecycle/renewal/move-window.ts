import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { WindowMove } from './renewal.js';
import type { RenewalDeps } from './renewal-deps.js';

/** A unit is never sent past this part of its certificate's life (REN-1): what is left is for outages. */
const LATEST_PART_OF_LIFE = 0.9;

/**
 * An operator moves the advised window: earlier for a mass re-key or a demonstration, later under load. Recorded, because
 * moving it far is a way to let a fleet run out.
 */
export async function moveWindow(
  deps: Pick<RenewalDeps, 'store' | 'ledger'>,
  tx: Transaction,
  { slotId, renewFrom, renewUntil, actor, at }: WindowMove,
): Promise<void> {
  const slot = await deps.store.windowOf(tx, slotId);
  if (slot === null) throw new FemtoError('NOT_FOUND', 'There is no such certificate; look at the unit’s lineage.');
  const lifeMs = slot.notAfter.getTime() - slot.notBefore.getTime();
  // The window written at issuance counts from then, not from the backdated notBefore: it is never too late itself.
  const latest = new Date(Math.max(slot.notBefore.getTime() + lifeMs * LATEST_PART_OF_LIFE, slot.renewUntil.getTime()));
  if (renewFrom.getTime() >= renewUntil.getTime() || renewUntil.getTime() > latest.getTime()) {
    throw new FemtoError('BAD_REQUEST', 'The window must begin before it ends, and end within 90 % of the life.', {
      facts: { latest: latest.toISOString() },
    });
  }
  if ((await deps.store.moveWindows(tx, [{ slotId, renewFrom, renewUntil }])).length === 0) {
    throw new FemtoError('STATE_CONFLICT', 'The certificate is not in use any more; move its successor’s window.');
  }
  const body = { slotId, renewFrom: renewFrom.toISOString(), renewUntil: renewUntil.toISOString(), actor };
  await deps.ledger.append(tx, [{ kind: 'renewal.window-moved', subject: `unit:${slot.serialNumber}`, at, body }]);
}
