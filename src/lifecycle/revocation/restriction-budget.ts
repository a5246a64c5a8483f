import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Requester } from './revocation.js';
import type { RevocationDeps } from './revocation-deps.js';

/** Rules 8.1: cumulative per person over revoke, hold and lost, so that a hundred small requests are one large one. */
export const UNITS_ALONE_MAX = 100;
const WINDOW_MS = 24 * 3_600_000;

/** @throws FemtoError APPROVAL_REQUIRED with `facts.used` and `facts.units`; the caller's transaction must not commit then */
export async function checkRestrictionBudget(
  { store }: Pick<RevocationDeps, 'store'>,
  tx: Transaction,
  { actor, personId, approvedBy, units, what, at }: Requester & { units: number; what: string; at: Date },
): Promise<void> {
  if (personId === null || units === 0) return;
  const used = await store.lockRestrictionUse(tx, personId, new Date(at.getTime() - WINDOW_MS));
  if (used + units > UNITS_ALONE_MAX) requireSecondPerson({ actor, approvedBy }, { used, units });
  await store.addRestrictionUse(tx, { personId, at, units, what });
}

/** @throws FemtoError APPROVAL_REQUIRED when nobody else approved */
export function requireSecondPerson(
  { actor, approvedBy }: Pick<Requester, 'actor'> & { approvedBy?: string | undefined },
  facts: Readonly<Record<string, number | string>> = {},
): void {
  if (approvedBy !== undefined && approvedBy !== actor) return;
  throw new FemtoError(
    'APPROVAL_REQUIRED',
    `This needs a second person: request an approval, let someone else approve it, and execute it then.`,
    { facts: { ...facts, unitsAloneMax: UNITS_ALONE_MAX } },
  );
}
