import { type FeedEntry, positionText } from './feed.js';
import type { EntryReceipt, GatewayRow } from './feed-store.js';

/** A gateway that is further behind, or has said nothing for so long since it was approved, alarms (REV-4). */
export const BEHIND_SECONDS = 60;

export interface GatewayStanding {
  readonly gateway: string;
  /** Positions; null before the first acknowledgement. */
  readonly received: string | null;
  readonly enforced: string | null;
  readonly lastAckAt: Date | null;
  /**
   * Age of the oldest revocation, hold or release that it has not received, counted from its own approval at the
   * earliest; 0 when it has all, null when it never spoke.
   */
  readonly receivedLagSeconds: number | null;
  readonly enforcedLagSeconds: number | null;
  /** What is late by more than {@link BEHIND_SECONDS}; null when nothing is. */
  readonly behind: 'never-acknowledged' | 'received' | 'enforced' | null;
}

export function standingOf({ name, approvedAt, cursor, ...row }: GatewayRow, now: Date): GatewayStanding {
  if (cursor === null) {
    return {
      gateway: name,
      received: null,
      enforced: null,
      lastAckAt: null,
      receivedLagSeconds: null,
      enforcedLagSeconds: null,
      behind: secondsBetween(approvedAt, now) > BEHIND_SECONDS ? 'never-acknowledged' : null,
    };
  }
  // What was decided before a gateway was approved is late only since then: it is still loading its first CRLs.
  const lag = (oldestAt: Date | null): number =>
    secondsBetween(oldestAt !== null && oldestAt < approvedAt ? approvedAt : oldestAt, now);
  const receivedLagSeconds = lag(row.oldestUnreceivedAt);
  const enforcedLagSeconds = lag(row.oldestUnenforcedAt);
  const behind =
    receivedLagSeconds > BEHIND_SECONDS ? 'received' : enforcedLagSeconds > BEHIND_SECONDS ? 'enforced' : null;
  return {
    gateway: name,
    received: positionText(cursor.received),
    enforced: cursor.enforced.epoch === 0 ? null : positionText(cursor.enforced),
    lastAckAt: latest(cursor.receivedAt, cursor.enforcedAt),
    receivedLagSeconds,
    enforcedLagSeconds,
    behind,
  };
}

/** Which gateways have one entry. */
export interface FeedStatus {
  /** E.g. `11 of 12 gateways enforced, slowest 38 s`. */
  readonly summary: string;
  /** Null while there is nothing in the feed. */
  readonly entry: FeedEntry | null;
  readonly gateways: readonly {
    readonly gateway: string;
    readonly received: boolean;
    readonly enforced: boolean;
    /** When the gateway said so, by our clock; null before it, and where no time is on record. */
    readonly receivedAt: Date | null;
    readonly enforcedAt: Date | null;
    /** Between the decision and the gateway's word; null where that time is, or none is fair. */
    readonly receivedSeconds: number | null;
    readonly enforcedSeconds: number | null;
  }[];
}

export function statusOf(entry: FeedEntry, decidedAt: Date, receipts: readonly EntryReceipt[]): FeedStatus {
  const gateways = receipts.map(({ name, approvedAt, ...receipt }) => {
    // A gateway that came later could not have been faster.
    const seconds = (at: Date | null): number | null =>
      at === null || approvedAt > decidedAt ? null : secondsBetween(decidedAt, at);
    return {
      gateway: name,
      received: receipt.received,
      enforced: receipt.enforced,
      receivedAt: receipt.receivedAt,
      enforcedAt: receipt.enforcedAt,
      receivedSeconds: seconds(receipt.receivedAt),
      enforcedSeconds: seconds(receipt.enforcedAt),
    };
  });
  const enforced = gateways.filter((gateway) => gateway.enforced);
  const times = enforced.flatMap(({ enforcedSeconds }) => enforcedSeconds ?? []);
  const slowest = times.length === 0 ? '' : `, slowest ${Math.max(...times)} s`;
  const noun = gateways.length === 1 ? 'gateway' : 'gateways';
  return { summary: `${enforced.length} of ${gateways.length} ${noun} enforced${slowest}`, entry, gateways };
}

/** Whole seconds, 0 for a time that is absent or, by a clock set back, still to come. */
function secondsBetween(from: Date | null, to: Date): number {
  return from === null ? 0 : Math.max(0, Math.round((to.getTime() - from.getTime()) / 1_000));
}

function latest(a: Date | null, b: Date | null): Date | null {
  if (a === null || b === null) return a ?? b;
  return a > b ? a : b;
}
