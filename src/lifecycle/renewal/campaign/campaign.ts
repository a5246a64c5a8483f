import type { Transaction } from '../../../platform/db/transaction.js';
import type { Actor } from '../../model/index.js';
import type { UnitSelection } from '../../revocation/index.js';

/** Units of one campaign: more are several. */
export const CAMPAIGN_UNITS_MAX = 1_000_000;
/** Units of one wave: what is looked through in one statement while it is open. */
export const WAVE_UNITS_MAX = 20_000;
export const WAVES_MAX = 1_000;

/** What a campaign is about; resolved anew when a wave opens. */
export type CampaignSelection =
  | UnitSelection
  /** Units whose certificate in use is of this CA. */
  | { readonly by: 'ca'; readonly issuerId: number }
  | { readonly by: 'key-algorithm'; readonly algorithm: 'P-256' | 'P-384' }
  | { readonly by: 'lineages'; readonly lineageIds: readonly number[] };

export interface WavePlan {
  /** Units of one wave. */
  readonly size: number;
  /** Between a wave's end and the next one's beginning. */
  readonly waitSeconds: number;
  /** What a wave has to renew in; its units spread over it. */
  readonly windowSeconds: number;
  /** More than this part of a wave's units failed, in percent: nothing further is opened. */
  readonly failuresPercentMax: number;
}

/** What people signed. */
export interface CampaignTerms {
  /** Null: the list is the selection. */
  readonly selection: CampaignSelection | null;
  readonly plan: WavePlan;
  readonly reason: string;
  readonly secondPerson: boolean;
  readonly list: { readonly count: number; readonly sha256: string };
}

/**
 * `waiting` for a second person · `running` · `paused` by a person · `stopped` because too many failed, goes on when a person
 * says so · `cancelled` for good · `done`.
 */
export type CampaignState = 'waiting' | 'running' | 'paused' | 'stopped' | 'cancelled' | 'done';

export interface Campaign {
  readonly id: number;
  /** Canonical JSON; never believed before {@link CampaignJudge} has. */
  readonly request: string;
  readonly requestHash: Buffer;
  readonly requestedBy: number;
  readonly requestSignature: Buffer;
  readonly approvalId: number | null;
  readonly count: number;
  readonly state: CampaignState;
  /** Why it does not run; null where it does. */
  readonly reason: string | null;
  readonly lastError: string | null;
  readonly createdAt: Date;
  readonly startedAt: Date | null;
  readonly finishedAt: Date | null;
  readonly waves: readonly Wave[];
}

export interface Wave {
  /** From 0. */
  readonly wave: number;
  readonly state: 'waiting' | 'opening' | 'open' | 'closed';
  readonly units: number;
  /** Told to renew, and not done with. */
  readonly advised: number;
  readonly renewed: number;
  /** Did not renew by the deadline. */
  readonly failed: number;
  /** On the list, and nothing to re-key. */
  readonly passedOver: number;
  readonly openedAt: Date | null;
  readonly deadlineAt: Date | null;
  readonly closedAt: Date | null;
}

/** Believes a campaign by its signatures alone (rules 8.1). Bound by the operator room, which knows people's keys. */
export interface CampaignJudge {
  /**
   * @param asOf  when it was started, of the ledger; null: it is not started yet, so it is now
   * @throws FemtoError DENIED; STATE_CONFLICT when it is too old
   */
  judge(campaign: SignedCampaign, asOf: Date | null): Promise<JudgedCampaign>;
}

export type SignedCampaign = Pick<
  Campaign,
  'request' | 'requestHash' | 'requestedBy' | 'requestSignature' | 'approvalId' | 'state'
>;

export interface JudgedCampaign {
  readonly terms: CampaignTerms;
  readonly actor: Actor;
  readonly personId: number;
  readonly approvedBy: Actor | null;
  readonly spend?: (tx: Transaction) => Promise<void>;
}

export interface CampaignPreview {
  readonly units: number;
  readonly listSha256: string;
  /** Of them, those that a wave would tell to renew now. */
  readonly renewable: number;
  readonly needsApproval: boolean;
  /** Units in campaigns that this person started alone in the last 24 h. */
  readonly usedToday: number;
}

export type NewCampaign = Omit<SignedCampaign, 'state'> & { readonly listed?: readonly string[] };

export interface Campaigns {
  /** Reads only. @throws FemtoError NOT_FOUND when it names nothing; BAD_REQUEST beyond {@link CAMPAIGN_UNITS_MAX} */
  preview(selection: CampaignSelection, personId: number): Promise<CampaignPreview>;
  /**
   * Keeps a campaign; without an approval its first wave opens at the next step. A text placed before gives that campaign.
   *
   * @throws FemtoError STATE_CONFLICT when the selection is not the signed list any more; APPROVAL_REQUIRED; DENIED
   */
  place(campaign: NewCampaign): Promise<Campaign>;
  /** Starts one that waited for a second person, and spends the approval; a repeat starts nothing. */
  start(campaignId: number): Promise<Campaign>;
  /** @throws FemtoError STATE_CONFLICT where its state does not lead there */
  change(campaignId: number, change: CampaignChange): Promise<Campaign>;
  byId(campaignId: number): Promise<Campaign | null>;
  recent(): Promise<readonly Campaign[]>;
  /** Takes every campaign one bounded step further; true where there is more to do at once. */
  step(): Promise<boolean>;
}

export interface CampaignChange {
  readonly to: 'paused' | 'running' | 'cancelled';
  readonly reason: string;
  readonly actor: Actor;
}

/** As the ledger names it: by what was signed, which no row can change. */
export function campaignSubject({ requestHash }: { readonly requestHash: Buffer }): string {
  return `campaign:${requestHash.toString('hex')}`;
}
