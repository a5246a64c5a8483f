import { FemtoError } from '../../platform/errors.js';
import type { KeyRequest } from '../../x509/key-request.js';
import { checkFactoryNetwork } from './check-credential.js';
import { checkMacAllowed } from './create-mac-secret.js';
import type { FactoryDeps } from './factory-deps.js';
import type { FactoryEnrolment } from './factory-office.js';
import { checkAtFactory, giveBootstrap } from './give-bootstrap.js';
import { isUsable, type MacSecret, REFERENCE, secretOf, type UsableMacSecret } from './mac-secret.js';

/** The secret behind a senderKID and its unit; null for one that proves nothing (any more). */
export async function macSecret(deps: FactoryDeps, reference: string): Promise<UsableMacSecret | null> {
  const found = await usableSecret(deps, reference);
  const unit = found && (await deps.registry.unitById(deps.transactor.read, found.unitId));
  return unit && { secret: Buffer.from(secretOf(deps.macKey, reference), 'latin1'), unit };
}

/** A unit's first identity by its secret, whose MAC the caller has verified: a bootstrap certificate (rules 3.2). */
export async function enrolBySecret(
  deps: FactoryDeps,
  { reference, csr, address }: { reference: string; csr: KeyRequest; address: string },
): Promise<FactoryEnrolment> {
  const found = await usableSecret(deps, reference);
  const unit = found && (await deps.registry.unitById(deps.transactor.read, found.unitId));
  if (!unit) throw spent();
  await checkFactoryNetwork(deps, unit, address);
  await checkAtFactory(deps, unit);
  await checkMacAllowed(deps, deps.transactor.read, unit);
  const at = deps.clock.now();
  return giveBootstrap(deps, {
    unit,
    request: csr,
    right: {
      actor: `unit:${unit.serialNumber}`,
      facts: { macReference: reference, address },
      coversRework: false,
      spentWith: 'intent',
      // The unit is MANIFESTED here, under its lock. Where the secret is spent all the same, an attempt is at the token or
      // broke off: that must not cost the unit its secret, so a minute or two later it may try again.
      spend: async (tx) => {
        const spentBefore = new Date(at.getTime() - ATTEMPT_MS_MAX);
        if (await deps.macSecrets.spend(tx, { reference, at, spentBefore })) return;
        if ((await deps.macSecrets.find(tx, reference))?.state === 'spent') throw underWay();
        throw spent();
      },
    },
  });
}

async function usableSecret(deps: FactoryDeps, reference: string): Promise<MacSecret | null> {
  if (!REFERENCE.test(reference)) return null;
  const found = await deps.macSecrets.find(deps.transactor.read, reference);
  return found !== null && isUsable(found, deps.clock.now()) ? found : null;
}

/** By then an attempt is recorded or abandoned (issuance's reconciler). Only one can be recorded: the unit's state moves once. */
const ATTEMPT_MS_MAX = 120_000;

function underWay(): FemtoError {
  return new FemtoError('RETRY_LATER', 'Another request with this secret is under way; ask again in a moment.', {
    retryAfterSeconds: 30,
  });
}

function spent(): FemtoError {
  return new FemtoError('GRANT_BAD', 'The secret is spent, withdrawn or over; ask the operator for a new one.');
}
