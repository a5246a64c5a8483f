import { FemtoError } from '../../platform/errors.js';
import type { LineageView } from '../lineage/index.js';
import type { ActivationDeps, Claim } from './claim.js';

/**
 * Two parties proved the bootstrap key and the grant: we cannot know who is right, so both are held until somebody looks
 * at the box (rules 3.4). One transaction; the refusal comes back as the error to throw.
 */
export async function contestClaim(
  deps: ActivationDeps,
  claim: Claim,
  { lineage, slots }: LineageView,
): Promise<FemtoError> {
  const { unit, csr, credential } = claim;
  const at = deps.clock.now();
  const actor = `unit:${unit.serialNumber}`;
  const first = slots.find((slot) => slot.generation === 1 && slot.state === 'confirmed') ?? null;
  const facts = {
    code: 'CLAIM_CONTESTED',
    address: credential.address,
    claimedSpkiSha256: csr.spki.spkiHash.toString('hex'),
    provedAt: claim.liveAt.toISOString(),
  };
  await deps.transactor.run(async (tx) => {
    await deps.registry.unitById(tx, unit.id, { lock: 'update' });
    await deps.lineages.quarantineLineage(tx, {
      lineageId: lineage.id,
      at,
      actor,
      row: 'second claim after the first was confirmed',
      presentedSlotId: null,
      successorSlotId: first?.id ?? null,
      facts,
    });
    await deps.revocation.quarantine(tx, { unitId: unit.id, actor, note: 'A second live claim on the unit.', at });
    await deps.ledger.append(tx, [
      { kind: 'claim.contested', subject: actor, at, body: { lineageId: lineage.id, ...facts } },
    ]);
  });
  return new FemtoError(
    'CLAIM_CONTESTED',
    'Another claim on this unit was confirmed before; both are held for its case.',
    {
      facts: { lineageId: lineage.id },
    },
  );
}
