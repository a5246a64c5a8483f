import type { Transaction } from '../../platform/db/transaction.js';
import { asFemtoError, FemtoError } from '../../platform/errors.js';
import type { LedgerEntry } from '../../platform/ledger/ledger.js';
import { serialHex } from '../../x509/serial.js';
import { claimKeys, keyClaimOf } from './claim-keys.js';
import type { Draft } from './draft-certificate.js';
import type { IssuanceStore, LockedUnit, SlotClaim } from './issuance-store.js';
import { subjectOf } from './ledger-facts.js';
import { type Hook, inSavepoint, runHooks } from './run-hooks.js';

/** What one T1 knows: its instant, the locked units, and who was refused. */
export interface Claiming {
  readonly tx: Transaction;
  readonly at: Date;
  readonly units: ReadonlyMap<number, LockedUnit>;
  /** Attempts of this transaction: their intents are not written yet when keys are looked at. */
  readonly flush: ReadonlySet<string>;
  readonly refused: Map<string, FemtoError>;
  readonly slotIds: Map<string, number>;
  /** By attempt: the abandoned attempt whose key it took over. */
  readonly takeovers: Map<string, string>;
  /** Appended whatever becomes of the row they are about, e.g. `key.reused`. */
  readonly remarks: LedgerEntry[];
  /** Appended if the claims they are about stand. */
  readonly entries: LedgerEntry[];
}

/**
 * Claims key and successor slot of each draft and runs its hook. Refused drafts leave nothing behind; most are undone
 * row by row, what closes or displaces something else is rolled back to a savepoint of its own.
 */
export async function claimRows(store: IssuanceStore, drafts: readonly Draft[], claiming: Claiming): Promise<void> {
  await claimTogether(
    store,
    drafts.filter((draft) => !changesOthers(draft)),
    claiming,
  );
  for (const draft of drafts.filter(changesOthers)) await claimAlone(store, draft, claiming);
}

function changesOthers({ request: { successor } }: Draft): boolean {
  return successor !== null && (successor.displacesSlotId !== null || successor.closesLineageId !== undefined);
}

async function claimAlone(store: IssuanceStore, draft: Draft, claiming: Claiming): Promise<void> {
  const entries: LedgerEntry[] = [];
  try {
    await inSavepoint(claiming.tx, async () => {
      await makeRoom(store, draft, { ...claiming, entries });
      await claimTogether(store, [draft], { ...claiming, entries });
      const refusal = claiming.refused.get(draft.attemptId);
      if (refusal !== undefined) throw refusal;
    });
    claiming.entries.push(...entries);
  } catch (thrown) {
    if (store.faultOf(thrown) === 'transaction') throw thrown;
    refuse(draft, asFemtoError(thrown), claiming);
  }
}

async function claimTogether(store: IssuanceStore, drafts: readonly Draft[], claiming: Claiming): Promise<void> {
  if (drafts.length === 0) return;
  const { tx, at, refused, slotIds } = claiming;
  const keyed = await claimKeys(store, tx, drafts, claiming);
  const opening = keyed.flatMap(({ request }) => (request.successor?.lineageId === null ? (request.unitId ?? []) : []));
  const opened = opening.length === 0 ? new Map<number, number>() : await store.openLineages(tx, opening, at);
  const claims = keyed.flatMap((draft) => slotClaim(draft, at, opened) ?? []);
  const claimed = claims.length === 0 ? new Map<string, number>() : await store.claimSlots(tx, claims);
  for (const draft of keyed) {
    const slotId = claimed.get(draft.attemptId);
    if (slotId !== undefined) slotIds.set(draft.attemptId, slotId);
    else if (draft.request.successor !== null) refuse(draft, slotTaken(), claiming);
  }
  const hooks = keyed.flatMap((draft): Hook[] => {
    const { withIntent } = draft.request;
    if (withIntent === undefined || refused.has(draft.attemptId)) return [];
    return [{ draft, work: (inside) => withIntent(inside, draft.attemptId) }];
  });
  for (const [attemptId, error] of await runHooks(store, tx, hooks)) refused.set(attemptId, error);
  await undoRefused(store, keyed, claiming);
  const following = claims.filter(({ attemptId, generation }) => generation > 1 && !refused.has(attemptId));
  if (following.length > 0) await confirmPredecessors(store, following, claiming);
}

/** Nothing was signed for them, so keys and slots go back to what they were. */
async function undoRefused(store: IssuanceStore, keyed: readonly Draft[], claiming: Claiming): Promise<void> {
  const { tx, at, refused, slotIds, takeovers } = claiming;
  const undone = keyed.filter(({ attemptId }) => refused.has(attemptId));
  if (undone.length === 0) return;
  const slots = undone.flatMap(({ attemptId }) => slotIds.get(attemptId) ?? []);
  if (slots.length > 0) await store.removeSlots(tx, slots);
  const fresh: Draft[] = [];
  for (const draft of undone) {
    slotIds.delete(draft.attemptId);
    const from = takeovers.get(draft.attemptId);
    if (from === undefined) fresh.push(draft);
    else await store.takeOverKey(tx, { ...keyClaimOf(draft, at), attemptId: from }, draft.attemptId);
  }
  if (fresh.length > 0)
    await store.releaseKeys(
      tx,
      fresh.map((draft) => keyClaimOf(draft, at)),
    );
}

/** Its key was just proved by the request that claims the next generation. */
async function confirmPredecessors(
  store: IssuanceStore,
  claims: readonly SlotClaim[],
  claiming: Claiming,
): Promise<void> {
  const { tx, at, units, entries } = claiming;
  for (const slot of await store.confirmPredecessors(tx, claims, at)) {
    entries.push({
      kind: 'lineage.confirmed',
      subject: `unit:${units.get(slot.unitId)?.serialNumber ?? slot.unitId}`,
      at,
      body: { ...slot, serial: serialHex(slot.serial), by: 'renewal' },
    });
  }
}

/** Closes and displaces as the claim says. */
async function makeRoom(store: IssuanceStore, draft: Draft, { tx, at, entries, units }: Claiming): Promise<void> {
  const { successor, unitId, actor } = draft.request;
  if (successor === null || unitId === null) return;
  const subject = subjectOf(draft, units.get(unitId) ?? null);
  if (successor.closesLineageId !== undefined) {
    const lineageId = successor.closesLineageId;
    if (!(await store.closeLineage(tx, { lineageId, unitId, at }))) throw slotTaken();
    entries.push({ kind: 'lineage.closed', subject, at, body: { lineageId, reason: 'new activation', actor } });
  }
  const { displacesSlotId: slotId, lineageId } = successor;
  if (slotId === null || lineageId === null) return;
  const { generation } = successor;
  const change = { slotId, lineageId, generation, newSpkiHash: draft.request.spki.spkiHash, at };
  const displaced = await store.displaceSlot(tx, change);
  if (displaced === 'not-pending') throw slotTaken();
  if (displaced === 'too-soon') {
    throw new FemtoError('RETRY_LATER', 'This generation was replaced within the last hour; ask again later.', {
      retryAfterSeconds: 3_600,
    });
  }
  entries.push({
    kind: 'lineage.displaced',
    subject,
    at,
    body: { lineageId, generation, slotId, how: displaced, byAttempt: draft.attemptId, actor },
  });
}

function slotClaim(draft: Draft, at: Date, opened: ReadonlyMap<number, number>): SlotClaim | null {
  const { request } = draft;
  const lineageId = request.successor?.lineageId ?? opened.get(request.unitId ?? 0) ?? null;
  if (request.successor === null || request.unitId === null || lineageId === null) return null;
  return {
    attemptId: draft.attemptId,
    lineageId,
    unitId: request.unitId,
    generation: request.successor.generation,
    preissued: request.successor.preissued,
    spkiHash: request.spki.spkiHash,
    issuerId: draft.issuer.id,
    serial: draft.serial,
    notBefore: draft.notBefore,
    notAfter: draft.notAfter,
    renewFrom: draft.renewFrom,
    renewUntil: draft.renewUntil,
    at,
  };
}

function refuse({ attemptId }: Draft, error: FemtoError, { refused, slotIds }: Claiming): void {
  refused.set(attemptId, error);
  slotIds.delete(attemptId);
}

function slotTaken(): FemtoError {
  return new FemtoError(
    'STATE_CONFLICT',
    'Another request of this unit was faster, or its lineage is closed; start over.',
  );
}
