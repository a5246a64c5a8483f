import { createHash } from 'node:crypto';
import type { Transaction } from '../../platform/db/transaction.js';
import type { Actor, RevocationReason } from '../model/index.js';
import type { Requester, Selection, UnitSelection } from './revocation.js';

export const FLEET_ACTS = ['revoke', 'hold', 'release'] as const;
export type FleetAct = (typeof FLEET_ACTS)[number];

/** Units of one order: a list of two megabytes. A larger fleet is several orders. */
export const FLEET_UNITS_MAX = 200_000;

/** What people signed of an order, read from the text that they signed. */
export interface FleetTerms {
  readonly act: FleetAct;
  /**
   * Resolved anew whenever a part is carried out: a unit that is no longer selected is passed over. Null: the list is the
   * selection.
   */
  readonly selection: UnitSelection | null;
  readonly reason: RevocationReason;
  readonly note: string;
  readonly evidence?: string;
  /** The requester knows that somebody else has to sign: without that signature it is nothing. */
  readonly secondPerson: boolean;
  /** Of the serial numbers, sorted by character, each with a line feed: `sort list | sha256sum`. */
  readonly list: { readonly count: number; readonly sha256: string };
}

export type FleetOrderState = 'waiting' | 'running' | 'done';

export interface FleetOrder {
  readonly id: number;
  /** Canonical JSON; never believed before {@link FleetJudge} has. */
  readonly request: string;
  readonly requestHash: Buffer;
  /** Units on its list. */
  readonly count: number;
  readonly requestedBy: number;
  readonly requestSignature: Buffer;
  /** Null: one person's own. */
  readonly approvalId: number | null;
  readonly state: FleetOrderState;
  readonly progress: FleetProgress;
  readonly lastError: string | null;
  readonly createdAt: Date;
  readonly startedAt: Date | null;
  readonly finishedAt: Date | null;
}

export interface FleetProgress {
  /** Units of the list gone through; the rest is still to do. */
  readonly done: number;
  /** Units whose state or certificates changed. */
  readonly units: number;
  readonly certificates: number;
  readonly blockedKeys: number;
  /** Units on the list that were not selected any more. */
  readonly passedOver: number;
}

/** Believes an order or not: rows alone prove nothing (rules 8.1). Bound by the operator room, which knows people's keys. */
export interface FleetJudge {
  /**
   * @returns terms from a text whose hash the requester signed, and the approver where there is an approval
   * @throws FemtoError DENIED; STATE_CONFLICT when it is too old
   */
  judge(order: FleetOrder): Promise<JudgedOrder>;
}

export interface JudgedOrder {
  readonly terms: FleetTerms;
  readonly actor: Actor;
  readonly personId: number;
  /** Null: nobody else signed. */
  readonly approvedBy: Actor | null;
  /** Spends the approval; called in the transaction that starts the order. Absent where there is none. */
  readonly spend?: (tx: Transaction) => Promise<void>;
}

export interface FleetPreview {
  /** Everything the selection names; what the list's hash covers. */
  readonly units: number;
  readonly listSha256: string;
  /** What would change now: exactly what the order reports when nothing moves in between. */
  readonly changing: { readonly units: number; readonly certificates: number };
  /** Units that have nothing left to change: already revoked, held, or not on hold. */
  readonly already: number;
  readonly byState: readonly { readonly state: string; readonly units: number; readonly changing: number }[];
  readonly byCa: readonly { readonly ca: string; readonly certificates: number; readonly changing: number }[];
  /** Gateways that let one of these units in within the last day, most units first; at most 50. */
  readonly gateways: readonly { readonly gateway: string; readonly units: number }[];
  /** True when this person needs a second one for it now. */
  readonly needsApproval: boolean;
  /** Units that the person restricted in the last 24 h. */
  readonly usedToday: number;
}

export interface NewFleetOrder {
  readonly request: string;
  readonly requestHash: Buffer;
  readonly requestedBy: number;
  readonly requestSignature: Buffer;
  readonly approvalId: number | null;
  /** Where the list itself is the selection; may name units that do not exist, which are not on the order's list. */
  readonly listed?: readonly string[];
}

export interface FleetOrders {
  /** Reads only. @throws FemtoError NOT_FOUND when it names nothing; BAD_REQUEST beyond {@link FLEET_UNITS_MAX} */
  preview(act: FleetAct, selection: Selection, requester: Requester): Promise<FleetPreview>;
  /** Serial numbers a selection names, sorted by character. */
  list(selection: UnitSelection): Promise<readonly string[]>;
  /**
   * Keeps an order. A text that was placed before gives the order of then, unchanged.
   *
   * Without an approval it runs from now on, and the units it changes are counted against the person's day.
   *
   * @throws FemtoError STATE_CONFLICT when the selection is not the signed list any more; APPROVAL_REQUIRED; DENIED
   */
  place(order: NewFleetOrder): Promise<FleetOrder>;
  /** Starts an order that waited for a second person, and spends the approval; a repeat starts nothing. */
  start(orderId: number): Promise<FleetOrder>;
  /**
   * Carries a running order to its end, one bounded transaction after another; returns early when another process is at
   * it, or when it is told to stop. Safe to call again after any crash.
   */
  carryOut(orderId: number, signal?: AbortSignal): Promise<FleetOrder>;
  /** Ids of orders that were started and are not done. */
  running(): Promise<readonly number[]>;
  byId(orderId: number): Promise<FleetOrder | null>;
  recent(): Promise<readonly FleetOrder[]>;
  /** The list of an order, as it was when people signed. */
  listOf(orderId: number): Promise<readonly string[]>;
}

/** @param sorted  as {@link FleetOrders.list} gives them */
export function listSha256(sorted: readonly string[]): string {
  const hash = createHash('sha256');
  for (let from = 0; from < sorted.length; from += HASHED_AT_ONCE) {
    hash.update(`${sorted.slice(from, from + HASHED_AT_ONCE).join('\n')}\n`);
  }
  return hash.digest('hex');
}

/** As the ledger names it: by what was signed, which no row can change. */
export function fleetOrderSubject({ requestHash }: { readonly requestHash: Buffer }): string {
  return `fleet-order:${requestHash.toString('hex')}`;
}

const HASHED_AT_ONCE = 10_000;
