import { FemtoError } from '../../platform/errors.js';
import { headOf, type LineageView } from '../lineage/index.js';
import type { ActivationDeps, Claim } from './claim.js';

/**
 * Two parties proved the bootstrap key and the grant, or one proved a key that was displaced: we cannot know who is right, so both are held until somebody looks
 * at the box (rules 3.4). One transaction; the refusal comes back as the error to throw.
 */
export async function contestClaim(
  deps: ActivationDeps,
  claim: Claim,
  { lineage, slots }: LineageView,
  displacedSlotId: number | null = null,
): Promise<FemtoError> {
  const { unit, csr, credential } = claim;
  const at = deps.clock.now();
  const actor = `unit:${unit.serialNumber}`;
  const first = slots.find((slot) => slot.generation === 1 && slot.state === 'confirmed') ?? null;
  const code = displacedSlotId === null ? 'CLAIM_CONTESTED' : 'FORK_HARD';
  const facts = {
    code,
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
      row: displacedSlotId === null ? 'second claim after the first was confirmed' : 'displaced key',
      presentedSlotId: displacedSlotId,
      successorSlotId: (displacedSlotId === null ? first : headOf(slots))?.id ?? null,
      facts,
    });
    await deps.revocation.quarantine(tx, {
      unitId: unit.id,
      actor,
      note: `${code}: a second holder claimed the unit.`,
      at,
    });
    if (displacedSlotId !== null) return;
    await deps.ledger.append(tx, [
      { kind: 'claim.contested', subject: actor, at, body: { lineageId: lineage.id, ...facts } },
    ]);
  });
  return new FemtoError(code, 'Two parties hold keys of this unit; both are held for its case.', {
    facts: { lineageId: lineage.id },
  });
}
