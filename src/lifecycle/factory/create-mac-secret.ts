import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Actor, Unit } from '../model/index.js';
import type { FactoryDeps } from './factory-deps.js';
import { checkAtFactory } from './give-bootstrap.js';
import { type NewMacSecret, REFERENCE_BYTES, secretOf } from './mac-secret.js';

const LIFE_HOURS_DEFAULT = 24;
/** As for a factory credential (requirements section 3): seven days. */
const LIFE_HOURS_MAX = 168;
const HOUR_MS = 3_600_000;

/** A secret for one unit at its factory; an earlier open one is withdrawn. The ledger gets the reference alone. */
export async function createMacSecret(
  deps: FactoryDeps,
  { unitId, lifeHours = LIFE_HOURS_DEFAULT, actor }: { unitId: number; lifeHours?: number; actor: Actor },
): Promise<NewMacSecret> {
  if (!Number.isInteger(lifeHours) || lifeHours < 1 || lifeHours > LIFE_HOURS_MAX) {
    throw new FemtoError('BAD_REQUEST', `lifeHours is a whole number from 1 to ${LIFE_HOURS_MAX}.`, {
      facts: { field: 'lifeHours' },
    });
  }
  const at = deps.clock.now();
  const expiresAt = new Date(at.getTime() + lifeHours * HOUR_MS);
  const reference = deps.random(REFERENCE_BYTES).toString('base64url');
  await deps.transactor.run(async (tx) => {
    // Of two at once the second withdraws the first's.
    const unit = await deps.registry.unitById(tx, unitId, { lock: 'update' });
    if (unit === null) throw new FemtoError('NOT_FOUND', 'There is no such unit; list the units first.');
    await checkAtFactory(deps, unit);
    if (unit.state !== 'MANIFESTED') {
      throw new FemtoError('STATE_CONFLICT', 'The unit has its bootstrap certificate; a secret would prove less.', {
        facts: { state: unit.state },
      });
    }
    await checkMacAllowed(deps, tx, unit);
    await deps.macSecrets.open(tx, { reference, unitId, createdBy: actor, createdAt: at, expiresAt });
    await deps.ledger.append(tx, [
      {
        kind: 'mac-secret.created',
        subject: `unit:${unit.serialNumber}`,
        at,
        body: { unitId, makerId: unit.makerId, reference, expiresAt: expiresAt.toISOString(), actor },
      },
    ]);
  });
  return { reference, secret: secretOf(deps.macKey, reference), expiresAt };
}

/** @throws FemtoError STATE_CONFLICT the model may not, CREDENTIAL_FROZEN the maker is frozen */
export async function checkMacAllowed(deps: FactoryDeps, tx: Transaction, unit: Unit): Promise<void> {
  const maker = await deps.makers.maker(tx, { id: unit.makerId });
  if (maker?.state !== 'active') {
    throw new FemtoError('CREDENTIAL_FROZEN', 'The maker is frozen, and its units’ secrets with it.');
  }
  if (!(await deps.registry.modelOf(tx, unit)).macAllowed) {
    throw new FemtoError(
      'STATE_CONFLICT',
      `Units of model ${unit.model} may not enrol by a shared secret; allow it with femtopki model set --allow-mac.`,
      {
        facts: { errors: ['model: MAC not allowed'] },
      },
    );
  }
}
