import { FemtoError } from '../../platform/errors.js';
import { checkGood, closeRenewal } from './confirm.js';
import type { SettleRequest } from './renewal.js';
import { authoritativeLine, checkMayServe } from './renewal-conditions.js';
import type { RenewalDeps } from './renewal-deps.js';

/**
 * The unit's word on the certificate it was just given. Refusing it is a displacement with nothing in its place: whoever
 * holds the old key could say so too, so the refused key coming back is the second holder that it looks like.
 */
export async function settleIssued(
  deps: RenewalDeps,
  { credential, certificate, accepted, withSettled }: SettleRequest,
): Promise<void> {
  checkGood(credential);
  const { unit } = credential;
  const at = deps.clock.now();
  const actor = `unit:${unit.serialNumber}`;
  // Of a unit without a line nothing depends on it.
  const lineId = unit.lineId === null ? null : await authoritativeLine(deps, credential);
  await deps.transactor.runTogether(async (tx) => {
    // Lock order: unit, lineage, slot. A hold that is being made either sees this or is seen here.
    const now = await deps.registry.unitById(tx, unit.id, { lock: 'update' });
    const found = await deps.lineages.lockBySerial(tx, certificate.issuerId, certificate.serial);
    if (found === null || found.slot.unitId !== unit.id) {
      throw new FemtoError('NOT_RECORDED', 'The certificate was not issued to this unit; look at its record.');
    }
    if (now !== null) checkMayServe(now);
    const { slot, lineage } = found;
    if (lineage.state !== 'open') {
      throw new FemtoError(
        'CERT_SUPERSEDED',
        'The certificate belongs to a lineage that has ended; activate the unit.',
      );
    }
    if (accepted) {
      // No line: whoever carries a message may carry it from anywhere, and its address proves nothing about the key.
      await deps.lineages.confirmSlot(tx, { slotId: slot.id, by: 'certConf', at, actor });
      await closeRenewal(deps, tx, slot, { at, lineId });
    } else {
      await deps.lineages.refuseSlot(tx, { slotId: slot.id, at, actor });
      await deps.registry.touchContact(tx, unit.id, at, { lineageId: lineage.id, lineId });
    }
    await withSettled?.(tx);
  });
}
