import type { ErrorCode } from '../../platform/errors.js';
import type { EvidenceGrade, LineageSlot } from '../model/index.js';
import { type ComebackTier, comebackTier, type LineEvidence } from './comeback.js';
import { currentSlot, headOf, mayComeAgain, SOFT_INTERVAL_MS, softDisplacementsSince, standingOf } from './heads.js';
import type { LineageState } from './lineage.js';

/** Everything the verdict depends on; nothing else may decide (REN-4). */
export interface RenewalSituation {
  readonly now: Date;
  readonly lineageState: LineageState;
  readonly lastSoftAt: Date | null;
  /** Every slot of the lineage in any state and order. */
  readonly slots: readonly LineageSlot[];
  /** Whose old key was presented. `bootstrap` = generation 0, the factory or vendor key. */
  readonly presented: { readonly kind: 'slot'; readonly slotId: number } | { readonly kind: 'bootstrap' };
  /** Status of the presented certificate in our own record. */
  readonly presentedStatus: 'good' | 'held' | 'revoked';
  readonly newSpkiHash: Buffer;
  /**
   * The moment we can vouch for possession of the presented key: when we issued the value it signed, or when the full
   * TLS handshake that it completed ended; null = not shown. It is live only if later than the competing event.
   */
  readonly provedAt: Date | null;
  readonly line: LineEvidence;
  /** The profile's own limit on the automatic comeback tier. */
  readonly comebackDays?: number;
  /** Profiles whose attested key cannot change: the head may ask for its own key again. */
  readonly sameKeyAllowed?: boolean;
}

export type Verdict = {
  /** Which row of the table spoke; goes into the record. */
  readonly row: RenewalRow;
} & (
  | { readonly kind: 'issue'; readonly generation: number }
  /** Hand out the certificate that this slot already has. */
  | { readonly kind: 'same-certificate'; readonly slotId: number }
  /** Its certificate ran out before it was fetched: a new one for the same key takes its place. */
  | { readonly kind: 'reissue-same-key'; readonly generation: number; readonly displacesSlotId: number }
  | {
      readonly kind: 'soft-displace';
      readonly generation: number;
      readonly displacesSlotId: number;
      readonly grade: 'soft' | 'strong';
    }
  | {
      readonly kind: 'hard';
      readonly code: 'FORK_HARD';
      readonly grade: 'hard';
      readonly successorSlotId: number | null;
    }
  | {
      readonly kind: 'refuse';
      readonly code: ErrorCode;
      readonly grade: Exclude<EvidenceGrade, 'hard'> | null;
      /** True: a fresh proof of the old key would change the verdict (CMP answers `waiting`, REST a new nonce). */
      readonly asksLiveProof: boolean;
    }
  | { readonly kind: 'retry-later'; readonly retryAfterSeconds: number; readonly grade: 'strong' | null }
);

export type RenewalRow = (typeof RENEWAL_TABLE)[number]['row'];

/** Where the presented key stands, and what stands against it. */
interface Facts {
  readonly situation: RenewalSituation;
  readonly presented: LineageSlot | null;
  /** `head`, the one before it, one that was displaced, anything older, or not a delivered certificate at all. */
  readonly standing: 'head' | 'head-1' | 'displaced' | 'older' | 'undelivered';
  /** What the presented key competes with: the successor in its slot. Null for the head. */
  readonly successor: LineageSlot | null;
  /** Generation that the presented key asks for. */
  readonly next: number;
  readonly nextIsSigning: boolean;
  readonly newKeyIs: 'fresh' | 'the successor' | 'the presented one' | 'an earlier one';
  /** Live proof of the old key, completed after the competing event was recorded. */
  readonly live: boolean;
  readonly tier: ComebackTier;
  readonly softWaitMs: number;
  readonly softBefore: number;
}

const SIGNING_RETRY_SECONDS = 2;
const THIRTY_DAYS_MS = 30 * 86_400_000;

/**
 * The fork table of rules section 4, first matching row speaks. Order matters: what restricts is looked at before what
 * grants, and no row that names live proof has an effect without it.
 */
const RENEWAL_TABLE = [
  {
    row: 'revoked or held',
    when: (f) => f.situation.presentedStatus !== 'good',
    verdict: () => refuse('CERT_REVOKED'),
  },
  {
    row: 'lineage quarantined',
    when: (f) => f.situation.lineageState === 'quarantined',
    verdict: () => refuse('DEVICE_QUARANTINED'),
  },
  {
    row: 'lineage closed',
    when: (f) => f.situation.lineageState === 'closed',
    verdict: (f) => (f.live ? refuse('PREDECESSOR_MISMATCH', 'strong') : askForProof()),
  },
  {
    row: 'never delivered',
    when: (f) => f.standing === 'undelivered',
    verdict: () => refuse('NOT_RECORDED'),
  },
  {
    row: 'displaced key',
    when: (f) => f.standing === 'displaced',
    verdict: (f) => (f.live ? hard(f) : askForProof()),
  },
  {
    row: 'factory key after activation',
    when: (f) => f.standing === 'older' && f.situation.presented.kind === 'bootstrap',
    // From generation 1 confirmed on it is a claim and no renewal (rules 3.4): enrolment judges it with a grant.
    verdict: () => refuse('CLAIM_CONTESTED'),
  },
  {
    row: 'older, expired long ago',
    when: (f) => f.standing === 'older' && expiredLongAgo(f),
    verdict: (f) => (f.live ? refuse('CERT_EXPIRED', 'strong') : askForProof()),
  },
  {
    row: 'older than head-1',
    when: (f) => f.standing === 'older',
    verdict: (f) => (f.live ? hard(f) : askForProof()),
  },
  {
    row: 'replacement is signing',
    when: (f) => f.nextIsSigning,
    verdict: () => ({ kind: 'retry-later', retryAfterSeconds: SIGNING_RETRY_SECONDS, grade: null }),
  },
  {
    row: 'head-1, same key',
    when: (f) => f.standing === 'head-1' && f.newKeyIs === 'the successor',
    verdict: (f) => sameKeyAgain(f),
  },
  {
    row: 'head-1, other key, head confirmed',
    when: (f) => f.standing === 'head-1' && f.successor?.state === 'confirmed',
    verdict: (f) => (f.live ? hard(f) : askForProof()),
  },
  {
    row: 'key used before in this lineage',
    when: (f) => f.newKeyIs === 'an earlier one' || (f.newKeyIs === 'the presented one' && !mayKeepKey(f)),
    verdict: () => refuse('KEY_IN_USE'),
  },
  {
    row: 'outside the comeback tier',
    when: (f) => f.tier === 'reactivate' || f.tier === 'activate',
    verdict: () => refuse('REACTIVATE'),
  },
  {
    row: 'head-1, other key, head pending',
    when: (f) => f.standing === 'head-1',
    verdict: (f) => (f.live ? displaceSoftly(f) : askForProof()),
  },
  {
    row: 'head',
    when: (f) => f.standing === 'head',
    verdict: (f) => ({ kind: 'issue', generation: f.next }),
  },
] as const satisfies readonly Row[];

type Decision = Verdict extends infer V ? (V extends unknown ? Omit<V, 'row'> : never) : never;

interface Row {
  readonly row: string;
  readonly when: (facts: Facts) => boolean;
  readonly verdict: (facts: Facts) => Decision;
}

/** Pure: the same situation always gets the same verdict, whichever server asks. */
export function judgeRenewal(situation: RenewalSituation): Verdict {
  const facts = factsOf(situation);
  const table: readonly Row[] = RENEWAL_TABLE;
  const match = table.find(({ when }) => when(facts));
  if (match === undefined) throw new Error('the renewal table has a hole'); // its last rows cover every standing
  return { row: match.row as RenewalRow, ...match.verdict(facts) } as Verdict;
}

function factsOf(situation: RenewalSituation): Facts {
  const { slots, now } = situation;
  const head = headOf(slots);
  const presented = presentedSlot(situation);
  const standing = standingOf(slots, situation.presented.kind === 'bootstrap' ? 'bootstrap' : presented);
  const generation = presented?.generation ?? 0;
  const successor = standing === 'head' ? null : head;
  const next = generation + 1;
  return {
    situation,
    presented,
    standing,
    successor,
    next,
    nextIsSigning: slots.some((slot) => slot.state === 'signing' && slot.generation === next),
    newKeyIs: whatKey(situation, presented, successor),
    live: isLive(situation.provedAt, competingEventAt(standing, presented, successor)),
    tier: tierOf(situation, presented),
    softWaitMs: situation.lastSoftAt === null ? 0 : situation.lastSoftAt.getTime() + SOFT_INTERVAL_MS - now.getTime(),
    softBefore: softDisplacementsSince(slots, new Date(now.getTime() - THIRTY_DAYS_MS)),
  };
}

function presentedSlot({ slots, presented }: RenewalSituation): LineageSlot | null {
  return presented.kind === 'bootstrap' ? null : currentSlot(slots, presented.slotId);
}

function whatKey(
  { slots, newSpkiHash }: RenewalSituation,
  presented: LineageSlot | null,
  successor: LineageSlot | null,
): Facts['newKeyIs'] {
  if (successor?.spkiHash.equals(newSpkiHash)) return 'the successor';
  if (presented?.spkiHash.equals(newSpkiHash)) return 'the presented one';
  const known = slots.some((slot) => slot.spkiHash.equals(newSpkiHash)) && !mayComeAgain(slots, newSpkiHash);
  return known ? 'an earlier one' : 'fresh';
}

/** What happened against the presented key; proof must be younger (rules 4, live proof). */
function competingEventAt(
  standing: Facts['standing'],
  presented: LineageSlot | null,
  successor: LineageSlot | null,
): Date | null {
  if (standing === 'displaced') return presented?.displacedAt ?? null;
  return successor?.confirmedAt ?? successor?.createdAt ?? null;
}

function isLive(provedAt: Date | null, competingAt: Date | null): boolean {
  if (provedAt === null) return false;
  return competingAt === null || provedAt.getTime() > competingAt.getTime();
}

function tierOf(situation: RenewalSituation, presented: LineageSlot | null): ComebackTier {
  // A factory certificate's own dates say nothing about the operational chain it opens.
  if (presented === null) return 'valid';
  return comebackTier({
    notAfter: presented.notAfter,
    now: situation.now,
    line: situation.line,
    ...(situation.comebackDays === undefined ? {} : { comebackDays: situation.comebackDays }),
  });
}

function expiredLongAgo({ presented, situation }: Facts): boolean {
  return presented !== null && situation.now.getTime() - presented.notAfter.getTime() > THIRTY_DAYS_MS;
}

function mayKeepKey(facts: Facts): boolean {
  return facts.situation.sameKeyAllowed === true && facts.standing === 'head';
}

function sameKeyAgain(facts: Facts): Decision {
  const { successor, situation } = facts;
  if (successor === null) return refuse('STATE_CONFLICT');
  const tier = tierOf(situation, successor);
  if (tier === 'valid') return { kind: 'same-certificate', slotId: successor.id };
  if (tier !== 'automatic') return refuse('REACTIVATE');
  return { kind: 'reissue-same-key', generation: successor.generation, displacesSlotId: successor.id };
}

function displaceSoftly(facts: Facts): Decision {
  const { successor } = facts;
  if (successor === null) return refuse('STATE_CONFLICT');
  if (facts.softWaitMs > 0) {
    return { kind: 'retry-later', retryAfterSeconds: Math.ceil(facts.softWaitMs / 1_000), grade: 'strong' };
  }
  return {
    kind: 'soft-displace',
    generation: successor.generation,
    displacesSlotId: successor.id,
    grade: facts.softBefore > 0 ? 'strong' : 'soft',
  };
}

function hard(facts: Facts): Decision {
  return { kind: 'hard', code: 'FORK_HARD', grade: 'hard', successorSlotId: facts.successor?.id ?? null };
}

function refuse(code: ErrorCode, grade: 'soft' | 'strong' | null = null): Decision {
  return { kind: 'refuse', code, grade, asksLiveProof: false };
}

/** Recorded, changes nothing, restricts nobody. */
function askForProof(): Decision {
  return { kind: 'refuse', code: 'POP_FAIL', grade: null, asksLiveProof: true };
}
