import type { Transaction } from '../../platform/db/transaction.js';

/** What one renewal costs before it is judged; one statement. */
export interface Admission {
  /** Requests of this credential in this minute, this one included. */
  readonly requests: number;
  /** False: the nonce was spent before. True too where the protocol has none. */
  readonly nonceFresh: boolean;
  readonly key: 'none' | 'claimed' | 'same' | 'other';
}

export interface AdmissionRequest {
  /** SHA-256 of the presented certificate's SPKI. */
  readonly credential: Buffer;
  readonly operation: 'renew' | 'pickup';
  readonly idempotencyKey: string | null;
  readonly requestHash: Buffer;
  readonly nonce: { readonly hash: Buffer; readonly expiresAt: Date } | null;
  readonly at: Date;
}

/** The room's own questions to the database; tasks have a store of their own. */
export interface RenewalStore {
  /** Counts the request, spends its nonce and claims its idempotency key, whatever comes of it. */
  admit(tx: Transaction, request: AdmissionRequest): Promise<Admission>;
  /** A slot's lives and lineage by its id; null when there is none. */
  windowOf(tx: Transaction, slotId: number): Promise<SlotWindow | null>;
  /** With their markers; returns the slots that are in use, which alone moved. */
  moveWindows(
    tx: Transaction,
    moves: readonly { readonly slotId: number; readonly renewFrom: Date; readonly renewUntil: Date }[],
  ): Promise<number[]>;
}

export interface SlotWindow {
  readonly lineageId: number;
  readonly serialNumber: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly renewUntil: Date;
}
