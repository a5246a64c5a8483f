import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import { headOf, holdBoth, type LineageView, type TwoHolders } from '../lineage/index.js';
import type { LineageSlot } from '../model/index.js';
import type { Judged, Presented } from './presented.js';
import type { RenewalDeps } from './renewal-deps.js';

/**
 * Two parties hold keys of one lineage; which of them is right nobody can know from here. One transaction: the lineage
 * is quarantined, every certificate held, the unit QUARANTINED, both branches in the ledger. The refusal comes back as
 * the error to throw; the caller sees DENIED like any other refusal.
 */
export async function containFork(deps: RenewalDeps, judged: Judged<'hard'>): Promise<FemtoError> {
  const { presented, view, verdict } = judged;
  await quarantine(deps, presented, {
    lineageId: view.lineage.id,
    row: verdict.row,
    presentedSlotId: judged.slot.id,
    successorSlotId: verdict.successorSlotId,
    code: 'FORK_HARD',
  });
  return new FemtoError('FORK_HARD', 'Two holders of one lineage; both are held until the unit is seen by a person.', {
    facts: { row: verdict.row, lineageId: view.lineage.id },
  });
}

/**
 * A lineage that an approved new activation replaced: when its last head is proved once more, the old box still lives
 * and the new one may be the thief's, or the other way round (rules 3.6). Where a depot closed it, the old key coming
 * back is soft evidence. Returns when this is no such case.
 *
 * @throws FemtoError CLAIM_CONTESTED
 */
export async function contestReplacedHead(
  deps: RenewalDeps,
  presented: Presented,
  { lineage, slots }: LineageView,
  slot: LineageSlot,
): Promise<void> {
  const { closedAt, closeReason } = lineage;
  const isReplaced = closeReason !== null && REPLACED.has(closeReason);
  if (lineage.state !== 'closed' || !isReplaced || closedAt === null || headOf(slots)?.id !== slot.id) return;
  if (!presented.isFresh || presented.provedAt.getTime() <= closedAt.getTime()) return;
  const live = await deps.lineages.liveViewOfUnit(deps.transactor.read, presented.unit.id);
  if (live === null) return;
  await quarantine(deps, presented, {
    lineageId: live.lineage.id,
    row: 'replaced head proved again',
    presentedSlotId: slot.id,
    successorSlotId: headOf(live.slots)?.id ?? null,
    code: 'CLAIM_CONTESTED',
  });
  throw new FemtoError(
    'CLAIM_CONTESTED',
    'The certificate that a new activation replaced is still in use; both are held.',
    {
      facts: { lineageId: live.lineage.id },
    },
  );
}

/** Soft or strong evidence: recorded, restricts nobody. */
export async function recordEvidence(
  deps: RenewalDeps,
  { presented, view, slot, verdict, grade }: Judged & { readonly grade: 'soft' | 'strong' },
  tx?: Transaction,
): Promise<void> {
  const record = (inside: Transaction) =>
    deps.lineages.recordFork(inside, {
      grade,
      lineageId: view.lineage.id,
      at: deps.clock.now(),
      actor: `unit:${presented.unit.serialNumber}`,
      row: verdict.row,
      presentedSlotId: slot.id,
      successorSlotId: headOf(view.slots)?.id ?? null,
      facts: factsOf(presented),
    });
  await (tx === undefined ? deps.transactor.run(record) : record(tx));
}

export type Containment = Omit<TwoHolders, 'unit' | 'facts'>;

export function quarantine(deps: RenewalDeps, presented: Presented, fork: Containment): Promise<void> {
  return holdBoth(deps, { ...fork, unit: presented.unit, facts: factsOf(presented) });
}

function factsOf({ credential, newSpkiHash, provedAt }: Presented): Record<string, string | null> {
  return {
    address: credential.address,
    presentedSerial: credential.certificate.serial.toString('hex'),
    newSpkiSha256: newSpkiHash?.toString('hex') ?? null,
    provedAt: provedAt.toISOString(),
  };
}

/** Why enrolment and issuance close a lineage that a new activation takes over from. */
const REPLACED: ReadonlySet<string> = new Set(['replaced by a new activation', 'new activation']);
