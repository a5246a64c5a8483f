import type { Transaction } from '../../../platform/db/transaction.js';
import type { Campaign, CampaignSelection, CampaignState, NewCampaign, Wave } from './campaign.js';

/** A unit's certificate in use, as a wave needs it. */
export interface CampaignHead {
  readonly unitId: number;
  readonly serialNumber: string;
  readonly slotId: number;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly renewUntil: Date;
}

export interface CampaignStore {
  /** Null when the same text was placed before. */
  insert(
    tx: Transaction,
    campaign: NewCampaign & { serialNumbers: readonly string[]; waveUnits: number; state: CampaignState; at: Date },
  ): Promise<number | null>;
  byId(tx: Transaction, campaignId: number): Promise<Campaign | null>;
  byHash(tx: Transaction, requestHash: Buffer): Promise<Campaign | null>;
  recent(tx: Transaction): Promise<Campaign[]>;
  /** Ids of those that run or are paused with a wave still open. */
  open(tx: Transaction): Promise<number[]>;
  /** Locks one that is open; null when it is not, or another process is at it. */
  lockOpen(tx: Transaction, campaignId: number): Promise<Campaign | null>;
  /** When the ledger says that it was started, and whether it says that it ended. */
  told(tx: Transaction, subject: string): Promise<{ startedAt: Date | null; isEnded: boolean }>;
  /** False when it was in none of `from`. */
  setState(
    tx: Transaction,
    campaignId: number,
    change: { from: readonly CampaignState[]; to: CampaignState; reason: string | null; at: Date },
  ): Promise<boolean>;
  writeError(tx: Transaction, campaignId: number, sentence: string | null): Promise<void>;
  /** Units of campaigns that one person started alone since then; locks the count until the transaction ends. */
  lockStartedAlone(tx: Transaction, personId: number, since: Date): Promise<number>;

  /** What only a campaign selects by; ids ascending, among these serial numbers where they are given. */
  unitIds(
    tx: Transaction,
    selection: Extract<CampaignSelection, { by: 'ca' | 'key-algorithm' | 'lineages' }>,
    within?: readonly string[],
  ): Promise<number[]>;
  /** Certificates in use of those units that may renew with a new key. */
  heads(tx: Transaction, unitIds: readonly number[]): Promise<CampaignHead[]>;
  moveWave(
    tx: Transaction,
    campaignId: number,
    wave: number,
    change: { state: Wave['state']; at: Date; deadlineAt?: Date },
  ): Promise<void>;
  /** The next units of a wave that nobody told yet, in the order of the list. */
  untold(
    tx: Transaction,
    campaignId: number,
    wave: number,
    limit: number,
  ): Promise<{ n: number; serialNumber: string }[]>;
  /** Writes what became of a part of a wave, and adds it to the wave's counters. */
  tell(
    tx: Transaction,
    campaignId: number,
    wave: number,
    part: { ns: readonly number[]; advised: readonly { serialNumber: string; slotId: number }[] },
  ): Promise<void>;
  /**
   * Finds out of those that were told who has renewed by the deadline, and, once it is over, who has not; adds both to the
   * wave's counters.
   */
  settle(
    tx: Transaction,
    campaignId: number,
    wave: number,
    until: { deadlineAt: Date; isOver: boolean },
  ): Promise<void>;
}
