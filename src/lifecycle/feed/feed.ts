import type { LedgerPosition } from '../../platform/ledger/cursors.js';

export type FeedEvent = 'revoked' | 'held' | 'released';
export type AckStage = 'received' | 'enforced';

/** One revocation, hold or release as a gateway reads it: texts only, so that what is measured is what is sent. */
export interface FeedEntry {
  /** `<epoch>:<seq>`. */
  readonly position: string;
  readonly event: FeedEvent;
  /** Key identifier of the issuing CA, hex: what the certificate's authorityKeyIdentifier says. */
  readonly issuer: string;
  /** Hex, as in the certificate. */
  readonly serial: string;
  /** The unit's FQDN, its IKE identity; null where the certificate is no unit's. */
  readonly unit: string | null;
  /** RFC 5280 name, e.g. `keyCompromise`. */
  readonly reason: string;
  /** When it was decided, ISO 8601. */
  readonly at: string;
}

/** Where one CA's newest full CRL stands. */
export interface CrlPlace {
  /** Key identifier of the CA, hex. */
  readonly issuer: string;
  readonly label: string;
  readonly number: number;
  readonly thisUpdate: Date;
  /** The CA's own, DER: with it a gateway checks the CRL, and tells its daemon whose it is. */
  readonly certificateDer: Buffer;
}

export type FeedPage =
  | {
      readonly kind: 'entries';
      readonly from: LedgerPosition;
      /** Everything up to here has been looked at, whether it was for the feed or not. */
      readonly to: LedgerPosition;
      /** The ledger's end when the page was read: a reader at `to` = `end` has all there is. */
      readonly end: LedgerPosition;
      readonly entries: readonly FeedEntry[];
    }
  | {
      /** The position means nothing here, or what follows it cannot be read: load the CRLs, then go on from `to`. */
      readonly kind: 'resync';
      readonly reason: 'unknown-epoch' | 'beyond-end' | 'gap' | 'unreadable';
      readonly from: LedgerPosition;
      /** What was decided up to here is in these CRLs. */
      readonly to: LedgerPosition;
      readonly crls: readonly CrlPlace[];
    };

export const PAGE_ENTRIES_MAX = 1_000;

export function positionText({ epoch, seq }: LedgerPosition): string {
  return `${epoch}:${seq}`;
}

/** Null for anything but `<epoch>:<seq>` in plain decimal. */
export function readPosition(text: string): LedgerPosition | null {
  const match = /^(0|[1-9]\d{0,8}):(0|[1-9]\d{0,14})$/.exec(text);
  return match ? { epoch: Number(match[1]), seq: Number(match[2]) } : null;
}

/** Below 0, 0 or above 0 as `a` is before, at or after `b`; a later epoch is after every position of an earlier one. */
export function comparePositions(a: LedgerPosition, b: LedgerPosition): number {
  return a.epoch - b.epoch || a.seq - b.seq;
}
