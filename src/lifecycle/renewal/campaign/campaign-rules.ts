import type { Transaction } from '../../../platform/db/transaction.js';
import { FemtoError } from '../../../platform/errors.js';
import type { LedgerEntry } from '../../../platform/ledger/ledger.js';
import {
  type CampaignSelection,
  type CampaignTerms,
  campaignSubject,
  WAVE_UNITS_MAX,
  WAVES_MAX,
  type Wave,
} from './campaign.js';
import type { CampaignDeps } from './campaign-deps.js';

const PART_OF_LIFE_MAX = 0.9;

/** @throws FemtoError BAD_REQUEST */
export function checkPlan({ plan, list }: CampaignTerms): void {
  const waves = Math.ceil(list.count / plan.size);
  if (plan.size > WAVE_UNITS_MAX || waves > WAVES_MAX) {
    throw new FemtoError(
      'BAD_REQUEST',
      `This makes ${waves} waves of ${plan.size}: at most ${WAVES_MAX} waves of at most ${WAVE_UNITS_MAX} units; choose another wave size.`,
      { facts: { waves, wavesMax: WAVES_MAX, waveUnitsMax: WAVE_UNITS_MAX } },
    );
  }
}

/** @param within  only those among these serial numbers */
export async function unitIdsOf(
  { units, campaigns }: Pick<CampaignDeps, 'units' | 'campaigns'>,
  tx: Transaction,
  selection: CampaignSelection,
  within?: readonly string[],
): Promise<number[]> {
  switch (selection.by) {
    case 'ca':
    case 'key-algorithm':
    case 'lineages':
      return campaigns.unitIds(tx, selection, within);
    default:
      return units.unitIds(tx, selection, within);
  }
}

/**
 * The window of a unit that shall renew now: to the wave's end, never past 90 % of its certificate's life (REN-1).
 *
 * @returns null where it is that late already: it renews without being told
 */
export function windowIn(
  { notBefore, notAfter, renewUntil }: { notBefore: Date; notAfter: Date; renewUntil: Date },
  now: Date,
  windowSeconds: number,
): { renewFrom: Date; renewUntil: Date } | null {
  const lifeMs = notAfter.getTime() - notBefore.getTime();
  const latestMs = Math.max(notBefore.getTime() + lifeMs * PART_OF_LIFE_MAX, renewUntil.getTime());
  const untilMs = Math.min(now.getTime() + windowSeconds * 1_000, latestMs);
  return untilMs <= now.getTime() ? null : { renewFrom: now, renewUntil: new Date(untilMs) };
}

/** Why nothing further is opened after this wave; null where it went well enough. */
export function tooManyFailed({ wave, renewed, failed }: Wave, failuresPercentMax: number): string | null {
  const told = renewed + failed;
  if (told === 0 || failed * 100 <= told * failuresPercentMax) return null;
  const percent = Math.round((failed * 1_000) / told) / 10;
  return `${failed} of ${told} units of wave ${wave + 1} did not renew by its deadline: ${percent} %, more than the ${failuresPercentMax} % that were allowed`;
}

export function campaignEntry(
  kind: string,
  campaign: { readonly requestHash: Buffer },
  body: LedgerEntry['body'],
  at: Date,
): LedgerEntry {
  return { kind, subject: campaignSubject(campaign), at, body };
}
