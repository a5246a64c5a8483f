import { FemtoError } from '../../platform/errors.js';
import { headOf, judgeRenewal, type LineageView, mayComeAgain, previousOf } from '../lineage/index.js';
import type { LineageSlot } from '../model/index.js';
import { type GrantMatch, grantBad } from './match-grant.js';

/** Everything a claim to generation 1 is judged by. */
export interface ClaimSituation {
  readonly now: Date;
  /** `generation-0`: the bootstrap or the vendor key. */
  readonly credential: { readonly kind: 'generation-0' | 'operational'; readonly slotId: number | null };
  readonly newSpkiHash: Buffer;
  /** When the bootstrap key was last shown to be in the caller's hand. */
  readonly liveAt: Date;
  /** The unit's lineage that is not closed; null before the first activation and after a closure. */
  readonly live: LineageView | null;
  readonly grant: GrantMatch;
}

export type ClaimVerdict =
  | FirstIssue
  | { readonly kind: 'same-certificate'; readonly slotId: number }
  /** Everything the first claim proved is proved again, with another key, after the first was confirmed (rules 3.4). */
  | { readonly kind: 'contest'; readonly view: LineageView }
  /** A displaced key, proved again: a second holder, whatever it asks for (rules section 4). */
  | { readonly kind: 'hard'; readonly view: LineageView; readonly presentedSlotId: number }
  | { readonly kind: 'refuse'; readonly error: FemtoError; readonly evidence?: ClaimEvidence };

/** Recorded beside a refusal; restricts nobody. */
export interface ClaimEvidence {
  readonly grade: 'soft' | 'strong';
  readonly row: string;
  readonly lineageId: number;
  readonly successorSlotId: number | null;
}

export interface FirstIssue {
  readonly kind: 'issue';
  /** Null opens a lineage. */
  readonly lineageId: number | null;
  readonly displacesSlotId: number | null;
  /** The lineage that an approved new grant ends first. */
  readonly closes: LineageView | null;
  /** Grade of the displacement, for the record; null where nothing is displaced by another key. */
  readonly grade: 'soft' | 'strong' | null;
  /** The key was certified before for this very place: its certificate ran out unfetched, or was refused. */
  readonly sameKeyAllowed: boolean;
}

/**
 * Pure. The bootstrap certificate is generation 0: while generation 1 is pending the rows for head−1 apply, afterwards it
 * is only ever a claim (rules section 3, items 4 to 8).
 */
export function judgeClaim(situation: ClaimSituation): ClaimVerdict {
  const { live, grant } = situation;
  if (live?.lineage.state === 'quarantined') {
    return refuse(new FemtoError('DEVICE_QUARANTINED', 'The unit’s lineage is quarantined; settle its case first.'));
  }
  const own = live === null ? null : slotOfKey(live, situation.newSpkiHash);
  if (own !== null) return { kind: 'same-certificate', slotId: own.id };
  if (situation.credential.kind === 'operational') {
    const stale = refuseStaleKey(situation);
    if (stale !== null) return stale;
  }
  if (grant.kind === 'open') return issueByOpenGrant(situation, live);
  if (live === null || situation.credential.kind === 'operational') {
    return refuse(grantBad(grant.kind === 'spent' ? 'the grant is spent' : faultOf(grant)));
  }
  return judgeGenerationZero(situation, live);
}

/**
 * Rules 3.7: of the operational keys only the last one proves a reactivation, the head or, while nobody proved that the head
 * arrived, the one before it. Any other is a key that the unit left behind, a displaced one a second holder's: with an
 * approved grant, an order above all, it would take over the unit that the grant is for.
 */
function refuseStaleKey({ credential, live, liveAt }: ClaimSituation): ClaimVerdict | null {
  const error = refusal('PREDECESSOR_MISMATCH');
  const presented = live?.slots.find(({ id }) => id === credential.slotId);
  const head = live === null ? null : headOf(live.slots);
  // A lineage that is closed for good (found after loss, head revoked) leaves the bootstrap key only.
  if (live === null || presented === undefined || head === null) return refuse(error);
  const last = head.state === 'pending' ? [head, previousOf(live.slots)] : [head];
  // By key: one that was issued again for itself sits twice in its generation.
  if (last.some((slot) => slot?.generation === presented.generation && slot.spkiHash.equals(presented.spkiHash))) {
    return null;
  }
  const competingAt = presented.displacedAt ?? head.confirmedAt ?? head.createdAt;
  if (liveAt.getTime() <= competingAt.getTime()) return refuse(error);
  if (presented.state === 'displaced') return { kind: 'hard', view: live, presentedSlotId: presented.id };
  return refuse(error, evidenceOf('strong', STALE_KEY, live));
}

const STALE_KEY = 'reactivation by a key that is not the last';

/** An expired one is issued anew by the table's own row, so it does not count as an answer here. */
function slotOfKey({ slots }: LineageView, spkiHash: Buffer): LineageSlot | null {
  const first = slots.filter((slot) => slot.generation === 1 && slot.spkiHash.equals(spkiHash));
  return first.find((slot) => slot.state === 'confirmed') ?? null;
}

function issueByOpenGrant({ liveAt, newSpkiHash }: ClaimSituation, live: LineageView | null): ClaimVerdict {
  const sameKeyAllowed = live !== null && mayComeAgain(live.slots, newSpkiHash);
  const base = { kind: 'issue', displacesSlotId: null, grade: null, sameKeyAllowed } as const;
  if (live === null) return { ...base, lineageId: null, closes: null };
  if (live.slots.some((slot) => slot.state === 'signing')) return refuse(stillSigning(2));
  // A lineage that never delivered anything goes on; one that did was put up for replacement by two people (rules 3.6).
  const head = headOf(live.slots);
  if (head === null) return { ...base, lineageId: live.lineage.id, closes: null };
  // A recorded message could otherwise end the chain that stands: who claims against it shows the key again (rules 3.1).
  const competingAt = head.confirmedAt ?? head.createdAt;
  if (liveAt.getTime() <= competingAt.getTime()) return refuse(askForProof());
  return { ...base, lineageId: null, closes: live };
}

function judgeGenerationZero(situation: ClaimSituation, live: LineageView): ClaimVerdict {
  const { grant } = situation;
  const verdict = judgeRenewal({
    now: situation.now,
    lineageState: live.lineage.state,
    lastSoftAt: live.lineage.lastSoftAt,
    slots: live.slots,
    presented: { kind: 'bootstrap' },
    presentedStatus: 'good',
    newSpkiHash: situation.newSpkiHash,
    provedAt: situation.liveAt,
    // The grant's line is compared before anything is issued; the comeback tiers do not speak of a factory certificate.
    line: 'match',
  });
  if (verdict.kind === 'same-certificate') return { kind: 'same-certificate', slotId: verdict.slotId };
  if (verdict.kind === 'retry-later') {
    return refuse(stillSigning(verdict.retryAfterSeconds), evidenceOf(verdict.grade, verdict.row, live));
  }
  // What follows needs the code (or order) once more: the bootstrap key alone never suffices (ENR-1).
  if (grant.kind !== 'spent') return refuse(grantBad(faultOf(grant)));
  const sameKeyAllowed = verdict.kind === 'reissue-same-key' || mayComeAgain(live.slots, situation.newSpkiHash);
  const base = { kind: 'issue', lineageId: live.lineage.id, closes: null, sameKeyAllowed } as const;
  switch (verdict.kind) {
    case 'issue':
      return { ...base, displacesSlotId: null, grade: null };
    case 'reissue-same-key':
      return { ...base, displacesSlotId: verdict.displacesSlotId, grade: null };
    case 'soft-displace':
      return { ...base, displacesSlotId: verdict.displacesSlotId, grade: verdict.grade };
    case 'hard':
      return { kind: 'contest', view: live };
    case 'refuse':
      if (verdict.code === 'CLAIM_CONTESTED') return judgeContest(situation, live);
      return refuse(
        verdict.asksLiveProof ? askForProof() : refusal(verdict.code),
        evidenceOf(verdict.grade, verdict.row, live),
      );
  }
}

function judgeContest({ liveAt }: ClaimSituation, live: LineageView): ClaimVerdict {
  const confirmedAt = live.slots
    .filter((slot) => slot.generation === 1 && slot.confirmedAt !== null)
    .reduce((latest, slot) => Math.max(latest, slot.confirmedAt?.getTime() ?? 0), 0);
  // A proof from before the confirmation may be the first claimant's own, late.
  if (liveAt.getTime() <= confirmedAt) return refuse(askForProof());
  return { kind: 'contest', view: live };
}

function faultOf(grant: GrantMatch): string {
  if (grant.kind === 'none') return grant.fault;
  return grant.kind === 'wrong-code' ? 'the code is wrong' : 'the grant is spent';
}

function refusal(code: FemtoError['code']): FemtoError {
  return new FemtoError(code, 'The key that was shown no longer opens a lineage; look at the unit’s history.');
}

/** Possession shown before the competing event proves nothing; a new connection under the same key would. */
export function askForProof(): FemtoError {
  return new FemtoError('RETRY_LATER', 'The bootstrap key must be proved again; ask over a new connection.', {
    retryAfterSeconds: 1,
    facts: { asks: 'live proof' },
  });
}

function stillSigning(retryAfterSeconds: number): FemtoError {
  return new FemtoError('RETRY_LATER', 'Another request of this unit is under way; ask again.', { retryAfterSeconds });
}

function evidenceOf(
  grade: 'soft' | 'strong' | 'hard' | null,
  row: string,
  live: LineageView,
): ClaimEvidence | undefined {
  if (grade !== 'soft' && grade !== 'strong') return undefined;
  return { grade, row, lineageId: live.lineage.id, successorSlotId: headOf(live.slots)?.id ?? null };
}

function refuse(error: FemtoError, evidence?: ClaimEvidence): ClaimVerdict {
  return { kind: 'refuse', error, ...(evidence === undefined ? {} : { evidence }) };
}
