import { FemtoError } from '../../platform/errors.js';
import { headOf, holdBoth, type LineageView, type TwoHolders } from '../lineage/index.js';
import type { ActivationDeps, Claim } from './claim.js';

/** Two parties proved the bootstrap key and the grant (rules 3.4). @returns the error to throw */
export function contestClaim(deps: ActivationDeps, claim: Claim, { lineage, slots }: LineageView): Promise<FemtoError> {
  const first = slots.find((slot) => slot.generation === 1 && slot.state === 'confirmed');
  return hold(deps, claim, {
    lineageId: lineage.id,
    code: 'CLAIM_CONTESTED',
    row: 'second claim after the first was confirmed',
    presentedSlotId: null,
    successorSlotId: first?.id ?? null,
  });
}

/** A displaced key was proved again, whatever it was shown for (rules section 4). @returns the error to throw */
export function holdDisplaced(
  deps: ActivationDeps,
  claim: Claim,
  { lineage, slots }: LineageView,
  presentedSlotId: number,
): Promise<FemtoError> {
  return hold(deps, claim, {
    lineageId: lineage.id,
    code: 'FORK_HARD',
    row: 'displaced key',
    presentedSlotId,
    successorSlotId: headOf(slots)?.id ?? null,
  });
}

async function hold(
  deps: ActivationDeps,
  { unit, csr, credential, liveAt }: Claim,
  holders: Omit<TwoHolders, 'unit' | 'facts'>,
): Promise<FemtoError> {
  const facts = {
    address: credential.address,
    claimedSpkiSha256: csr.spki.spkiHash.toString('hex'),
    provedAt: liveAt.toISOString(),
  };
  await holdBoth(deps, { ...holders, unit, facts });
  return new FemtoError(holders.code, 'Two parties hold keys of this unit; both are held for its case.', {
    facts: { lineageId: holders.lineageId },
  });
}
