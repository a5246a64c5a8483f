import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { LedgerEntry } from '../../platform/ledger/ledger.js';
import type { Draft } from './draft-certificate.js';
import type { IssuanceStore, KeyClaim, KeyHolder, LockedUnit } from './issuance-store.js';
import { subjectOf } from './ledger-facts.js';

/**
 * One public key, one holder, for ever (KEY-1): the unique index decides, not a look before. Refuses blocked keys too.
 *
 * @returns the drafts that now hold their key
 */
export async function claimKeys(
  store: IssuanceStore,
  tx: Transaction,
  drafts: readonly Draft[],
  by: {
    at: Date;
    units: ReadonlyMap<number, LockedUnit>;
    flush: ReadonlySet<string>;
    refused: Map<string, FemtoError>;
    takeovers: Map<string, string>;
    remarks: LedgerEntry[];
  },
): Promise<Draft[]> {
  const blocked = await store.blockedKeys(
    tx,
    drafts.map(({ request }) => request.spki.spkiHash),
  );
  const allowed = drafts.filter(({ attemptId, request }) => {
    if (!blocked.has(request.spki.spkiHash.toString('hex'))) return true;
    by.refused.set(
      attemptId,
      new FemtoError('KEY_BLOCKED', 'This key is known to be compromised; generate a new one.'),
    );
    return false;
  });
  if (allowed.length === 0) return [];
  const claims = new Map(allowed.map((draft) => [draft.attemptId, keyClaimOf(draft, by.at)]));
  const holders = await store.claimKeys(tx, [...claims.values()]);
  const held: Draft[] = [];
  for (const draft of allowed) {
    const holder = holders.get(draft.attemptId);
    const claim = claims.get(draft.attemptId);
    const error =
      holder === undefined || claim === undefined ? null : await judgeHolder(store, tx, draft, claim, holder, by);
    if (error === null) {
      held.push(draft);
      continue;
    }
    by.refused.set(draft.attemptId, error);
    if (error.code === 'KEY_IN_USE' && holder !== undefined) by.remarks.push(reuseEntry(draft, holder, by));
  }
  return held;
}

async function judgeHolder(
  store: IssuanceStore,
  tx: Transaction,
  draft: Draft,
  claim: KeyClaim,
  holder: KeyHolder,
  by: { readonly flush: ReadonlySet<string>; readonly takeovers: Map<string, string> },
): Promise<FemtoError | null> {
  if (!isSameOwner(draft, holder)) return keyInUse();
  if (holder.attemptState === 'signing' || by.flush.has(holder.attemptId)) {
    return new FemtoError('RETRY_LATER', 'This key is being certified already; ask again in a moment.', {
      retryAfterSeconds: 2,
    });
  }
  // Nothing with this key ever left us, so it is still the unit's to bring (fault F1: same request, new serial).
  if (holder.attemptState === 'abandoned') {
    if (!(await store.takeOverKey(tx, claim, holder.attemptId))) return keyInUse();
    by.takeovers.set(draft.attemptId, holder.attemptId);
    return null;
  }
  return draft.request.sameKeyAllowed === true ? null : keyInUse();
}

function isSameOwner({ request }: Draft, holder: KeyHolder): boolean {
  if (request.unitId !== null) return holder.unitId === request.unitId;
  return holder.unitId === null && holder.ownerKind === request.purpose && holder.ownerName === request.commonName;
}

export function keyClaimOf({ attemptId, request }: Draft, at: Date): KeyClaim {
  return {
    attemptId,
    spkiHash: request.spki.spkiHash,
    unitId: request.unitId,
    ownerKind: request.purpose,
    ownerName: request.commonName,
    at,
  };
}

/**
 * Flags the caller; the owner too only where the caller proved possession, or anyone who has seen a public key could
 * smear its owner (rules 3.8).
 */
function reuseEntry(
  draft: Draft,
  holder: KeyHolder,
  { at, units }: { at: Date; units: ReadonlyMap<number, LockedUnit> },
): LedgerEntry {
  const { request } = draft;
  const proved = request.keyProved === true;
  return {
    kind: 'key.reused',
    subject: subjectOf(draft, request.unitId === null ? null : (units.get(request.unitId) ?? null)),
    at,
    body: {
      spkiSha256: request.spki.spkiHash.toString('hex'),
      purpose: request.purpose,
      unitId: request.unitId,
      ownerUnitId: holder.unitId,
      ownerKind: holder.ownerKind,
      ownerName: holder.ownerName,
      keyProved: proved,
      flags: proved ? ['caller', 'owner'] : ['caller'],
      actor: request.actor,
    },
  };
}

function keyInUse(): FemtoError {
  return new FemtoError('KEY_IN_USE', 'This key was certified before; generate a new key and ask again.');
}
