import { FemtoError } from '../../platform/errors.js';
import type { LineageSlot } from '../model/index.js';
import { checkGood } from './confirm.js';
import type { SettleRequest } from './renewal.js';
import { authoritativeLine, checkMayServe } from './renewal-conditions.js';
import type { RenewalDeps } from './renewal-deps.js';

/**
 * The unit's word on the certificate it was just given. A refused certificate never served anybody: its slot is abandoned,
 * so that it counts in no fork, and its serial is revoked; the key may be brought again.
 */
export async function settleIssued(
  deps: RenewalDeps,
  { credential, certificate, accepted }: SettleRequest,
): Promise<void> {
  checkGood(credential);
  const { unit } = credential;
  const slot = await deps.lineages.slotBySerial(deps.transactor.read, certificate.issuerId, certificate.serial);
  if (slot === null || slot.unitId !== unit.id) {
    throw new FemtoError('NOT_RECORDED', 'The certificate was not issued to this unit; look at its record.');
  }
  const lineId = await authoritativeLine(deps, credential);
  const at = deps.clock.now();
  const actor = `unit:${unit.serialNumber}`;
  await deps.transactor.run(async (tx) => {
    // Lock order: unit, lineage, slot. A hold that is being made either sees this or is seen here.
    const now = await deps.registry.unitById(tx, unit.id, { lock: accepted ? 'share' : 'update' });
    if (now !== null) checkMayServe(now);
    const view = await deps.lineages.view(tx, slot.lineageId, { lock: true });
    if (view?.lineage.state !== 'open') {
      throw new FemtoError(
        'CERT_SUPERSEDED',
        'The certificate belongs to a lineage that has ended; activate the unit.',
      );
    }
    if (accepted) {
      await deps.lineages.confirmSlot(tx, { slotId: slot.id, by: 'certConf', at, actor, lineId });
      for (const older of view.slots) {
        if (older.generation === slot.generation - 1) await deps.tasks.closeTask(tx, older.id, at);
      }
    } else if (await deps.lineages.refuseSlot(tx, { slotId: slot.id, at, actor })) {
      await revoke(deps, tx, slot, actor, at);
    }
    await deps.registry.touchContact(tx, unit.id, at);
  });
}

async function revoke(
  deps: RenewalDeps,
  tx: Parameters<RenewalDeps['revocation']['setStatus']>[0],
  { issuerId, serial, notAfter, unitId }: LineageSlot,
  actor: string,
  at: Date,
): Promise<void> {
  const note = 'refused by the unit';
  const change = { state: 'revoked', reason: 'cessationOfOperation', actor, at, note, voidsInFlight: false } as const;
  await deps.revocation.setStatus(tx, [{ issuerId, serial, notAfter, unitId }], change);
}
