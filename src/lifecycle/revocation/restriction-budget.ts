import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Actor } from '../model/index.js';
import type { Requester } from './revocation.js';
import type { RevocationDeps } from './revocation-deps.js';

/** Rules 8.1: cumulative per person over revoke, hold and lost, so that a hundred small requests are one large one. */
export const UNITS_ALONE_MAX = 100;
const WINDOW_MS = 24 * 3_600_000;

/** @throws FemtoError APPROVAL_REQUIRED with `facts.used` and `facts.units`; the caller's transaction must not commit then */
export async function checkRestrictionBudget(
  { store }: Pick<RevocationDeps, 'store'>,
  tx: Transaction,
  by: Omit<Requester, 'approvedBy'> & { approvedBy?: Actor | undefined; units: number; what: string; at: Date },
): Promise<void> {
  const { actor, personId, approvedBy, units, what, at } = by;
  if (personId === null || units === 0) return;
  const used = await store.lockRestrictionUse(tx, personId, windowBefore(at));
  if (used + units > UNITS_ALONE_MAX) requireSecondPerson({ actor, approvedBy }, { used, units });
  await store.addRestrictionUse(tx, { personId, at, units, what });
}

/** Units that this person restricted in the last 24 h. Locks the count until the transaction ends. */
export function restrictedSoFar(
  { store }: Pick<RevocationDeps, 'store'>,
  tx: Transaction,
  { personId, at }: { personId: number; at: Date },
): Promise<number> {
  return store.lockRestrictionUse(tx, personId, windowBefore(at));
}

/** Who else stands behind the request; asked once in the transaction that acts. */
export async function secondPerson(
  tx: Transaction,
  { approvedBy }: Pick<Requester, 'approvedBy'>,
): Promise<Actor | undefined> {
  return typeof approvedBy === 'function' ? approvedBy(tx) : approvedBy;
}

function windowBefore(at: Date): Date {
  return new Date(at.getTime() - WINDOW_MS);
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
