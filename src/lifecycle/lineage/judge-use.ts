import type { ErrorCode } from '../../platform/errors.js';
import type { EvidenceGrade } from '../model/index.js';
import { currentSlot, headOf, type PlacedSlot, standingOf } from './heads.js';
import type { LineageState } from './lineage.js';

/** A certificate at a gateway. Expiry, revocation, registry state and line rules are admission's own checks. */
export interface UseSituation {
  readonly now: Date;
  readonly lineageState: LineageState;
  /** Those of the presented generation and newer; older ones change nothing. */
  readonly slots: readonly PlacedSlot[];
  readonly presentedSlotId: number;
  /** The gateway verified IKE AUTH: only then may use confirm, or weigh more than soft (rules 5.1). */
  readonly keyProved: boolean;
  /** Line of the caller's address where the operator's resolver is authoritative; else null. */
  readonly authoritativeLineId: number | null;
  /** Authoritative line on which the successor was confirmed or last used; else null. */
  readonly successorLineId: number | null;
}

export type UseVerdict =
  /** `confirmsSlotId`: a pending slot that this first proved permit confirms. */
  | { readonly kind: 'permit'; readonly confirmsSlotId: number | null }
  | { readonly kind: 'deny'; readonly code: ErrorCode; readonly grade: EvidenceGrade | null };

/** How long the old certificate still serves beside its confirmed successor. */
export const SUPERSEDED_AFTER_MS = 3_600_000;

/**
 * The authorise rows of rules section 4. Pure.
 * `hard` asks the caller to quarantine; `strong` and `soft` are recorded only.
 */
export function judgeUse(situation: UseSituation): UseVerdict {
  const { slots, keyProved, now } = situation;
  if (situation.lineageState === 'quarantined') return deny('DEVICE_QUARANTINED', null);
  if (situation.lineageState === 'closed') return deny('CERT_SUPERSEDED', keyProved ? 'strong' : 'soft');
  const presented = currentSlot(slots, situation.presentedSlotId);
  const standing = standingOf(slots, presented);
  if (presented === null || standing === 'undelivered') return deny('NOT_RECORDED', null);
  if (standing === 'displaced') return deny('FORK_HARD', keyProved ? 'hard' : 'soft');
  if (isSuperseded(slots, presented, now)) {
    if (!keyProved) return deny('CERT_SUPERSEDED', 'soft');
    return deny('CERT_SUPERSEDED', fromSecondLine(situation) ? 'hard' : 'strong');
  }
  const confirms = keyProved && presented.state === 'pending' ? presented.id : null;
  return { kind: 'permit', confirmsSlotId: confirms };
}

/** True when a later generation was confirmed more than an hour ago. */
export function isSuperseded(slots: readonly PlacedSlot[], presented: PlacedSlot, now: Date): boolean {
  const head = headOf(slots);
  if (head === null || head.generation <= presented.generation) return false;
  return slots.some(
    (slot) =>
      slot.state === 'confirmed' &&
      slot.generation > presented.generation &&
      slot.confirmedAt !== null &&
      now.getTime() - slot.confirmedAt.getTime() > SUPERSEDED_AFTER_MS,
  );
}

function fromSecondLine({ authoritativeLineId, successorLineId }: UseSituation): boolean {
  return authoritativeLineId !== null && successorLineId !== null && authoritativeLineId !== successorLineId;
}

function deny(code: ErrorCode, grade: EvidenceGrade | null): UseVerdict {
  return { kind: 'deny', code, grade };
}
