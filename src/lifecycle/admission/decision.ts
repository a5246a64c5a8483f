import type { Transaction } from '../../platform/db/transaction.js';
import type { ErrorCode } from '../../platform/errors.js';
import type { CertificateRecord } from '../model/index.js';

export const STAGES = ['ike', 'registration', 'config'] as const;
export type Stage = (typeof STAGES)[number];

/** What a gateway asks. Texts from the unit (identity) are compared, never believed. */
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
}

/** Who asks: a machine row of kind gateway, found by the exact issuing key and public key of its TLS certificate. */
export interface AskingGateway {
  readonly machineId: number;
  readonly name: string;
}

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

/** What admission reads of records that other rooms own. */
export interface AdmissionReader {
  record(tx: Transaction, key: { issuerId: number; serial: Buffer; notAfter: Date }): Promise<CertificateRecord | null>;
  status(tx: Transaction, key: { issuerId: number; serial: Buffer }): Promise<'good' | 'held' | 'revoked'>;
  isBlockedKey(tx: Transaction, spkiHash: Buffer): Promise<boolean>;
  ledgerPosition(tx: Transaction): Promise<LedgerPosition>;
}

/** Every answer is kept: what a gateway was told, when, about which serial. */
export interface DecisionStore {
  add(tx: Transaction, row: DecisionRow): Promise<void>;
}

export interface DecisionRow {
  readonly at: Date;
  readonly gatewayId: number;
  readonly unitId: number | null;
  readonly issuerId: number | null;
  readonly serial: Buffer | null;
  readonly stage: Stage;
  readonly keyProved: boolean;
  readonly verdict: Verdict;
  readonly reasons: readonly ErrorCode[];
  readonly address: string;
  readonly lineId: number | null;
}
