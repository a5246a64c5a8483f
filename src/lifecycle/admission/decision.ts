import type { Transaction } from '../../platform/db/transaction.js';
import type { ErrorCode } from '../../platform/errors.js';

export const STAGES = ['ike', 'registration', 'config'] as const;
export type Stage = (typeof STAGES)[number];

/** What a gateway asks. Texts from the unit (identity, cell) are compared, never believed. */
export interface AuthoriseRequest {
  readonly stage: Stage;
  readonly certificateDer: Buffer;
  /** IDi as the gateway received it: an FQDN. */
  readonly identity: string;
  /** Outer source address of the unit as the gateway sees it. */
  readonly address: string;
  /** True where the gateway verified IKE AUTH with this certificate's key. */
  readonly keyProved: boolean;
  /** Chosen by the gateway, 16 to 64 octets in hex; comes back signed. */
  readonly nonce: string;
  /** The cell identity that the unit registers with, where the stage has one. */
  readonly cell?: string | undefined;
}

/** Who asks: a machine row of kind gateway, found by the exact issuing key and public key of its TLS certificate. */
export interface AskingGateway {
  readonly machineId: number;
  readonly name: string;
}

/** `restricted`: only what repairs a unit, enrolment and HeMS. */
export type Verdict = 'permit' | 'restricted' | 'deny';

export interface Decision {
  readonly verdict: Verdict;
  /** Every reason, in the order of the checks; a permit may carry soft ones (NET_UNKNOWN). */
  readonly reasons: readonly ErrorCode[];
  /** Runs from receipt; 0 for a deny. */
  readonly ttlSeconds: number;
  /** The unit's name where the certificate is one of ours. */
  readonly unit: string | null;
  readonly certificateSha256: string;
  readonly gateway: string;
  readonly nonce: string;
  readonly address: string;
  readonly stage: Stage;
  readonly decidedAt: Date;
  /** How far the ledger had come: a gateway whose feed is further asks again. */
  readonly position: LedgerPosition;
}

export interface LedgerPosition {
  readonly epoch: number;
  readonly seq: number;
}

/** Every answer is kept before it is given: what a gateway was told, when, about which serial. */
export interface DecisionStore {
  /**
   * Adds many in one statement. Those of strangers join the open alarm, or open one. Strangers of one outer address beyond
   * {@link STRANGERS_A_MINUTE} are counted by the alarm and not kept: whoever tries serials one by one gets the answer that
   * everybody gets, and fills no table with it.
   */
  add(tx: Transaction, rows: readonly DecisionRow[]): Promise<AddedDecisions>;
}

export interface AddedDecisions {
  /** The alarm that this opened; null where none was opened. */
  readonly openedAlarmId: number | null;
  /** Places, among the rows, of those that were only counted. */
  readonly notKept: ReadonlySet<number>;
}

/** Of one IPv4 address or IPv6 /64. */
export const STRANGERS_A_MINUTE = 60;

export interface DecisionRow {
  readonly at: Date;
  readonly gatewayId: number;
  readonly unitId: number | null;
  readonly issuerId: number | null;
  readonly serial: Buffer;
  readonly stage: Stage;
  readonly keyProved: boolean;
  readonly verdict: Verdict;
  readonly reasons: readonly ErrorCode[];
  readonly address: string;
  readonly lineId: number | null;
  /** The line is the resolver's own word (rules 5.5). */
  readonly lineSure: boolean;
  /** The cell that was claimed, where the stage has one. */
  readonly cell: string | null;
  /** Active network policy. */
  readonly policyVersion: number | null;
  /** No unit of ours that we know of: a member of the alarm (AUZ-2). */
  readonly isStranger: boolean;
}
