import { FemtoError } from '../../platform/errors.js';
import type { Actor } from '../model/index.js';
import type { FactoryDeps } from './factory-deps.js';

/** A new board or secure element before activation: one more bootstrap certificate, for one other key (rules 3.6). */
export async function allowRework(
  deps: FactoryDeps,
  { serialNumber, makerId, actor, reason }: { serialNumber: string; makerId?: number; actor: Actor; reason: string },
): Promise<void> {
  const at = deps.clock.now();
  await deps.transactor.run(async (tx) => {
    const found = await deps.registry.unitBySerialNumber(tx, serialNumber);
    const unit = found === null ? null : await deps.registry.unitById(tx, found.id, { lock: 'update' });
    if (unit === null || (makerId !== undefined && unit.makerId !== makerId)) {
      throw new FemtoError('NOT_FOUND', 'There is no such unit; check its serial number.');
    }
    if (unit.state !== 'BOOTSTRAPPED') {
      throw new FemtoError('STATE_CONFLICT', `The unit is ${unit.state}; rework is for units that await activation.`, {
        facts: { state: unit.state },
      });
    }
    await deps.units.writeRework(tx, unit.id, true);
    await deps.ledger.append(tx, [
      {
        kind: 'unit.rework-allowed',
        subject: `unit:${unit.serialNumber}`,
        at,
        body: { unitId: unit.id, makerId: unit.makerId, actor, reason: reason.slice(0, 500) },
      },
    ]);
  });
}
