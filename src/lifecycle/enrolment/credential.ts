import type { Transaction } from '../../platform/db/transaction.js';
import type { Certificate } from '../../x509/certificate.js';
import type { CertificateRecord, Issuer, Unit } from '../model/index.js';

/**
 * A certificate of ours whose key the caller has just proved: by a full TLS handshake that we ended, or by a signed
 * protocol message. Only {@link authenticateCredential} makes one. Expiry, revocation and the unit's state are not
 * judged yet: each use-case has its own rule for them.
 */
export interface ProvedCredential {
  /** `bootstrap` = generation 0; `operational` = a generation of a lineage. From the exact issuing key, never a name. */
  readonly kind: 'bootstrap' | 'operational';
  readonly certificate: Certificate;
  readonly issuer: Issuer;
  readonly record: CertificateRecord;
  readonly unit: Unit;
  readonly status: CertificateStatus;
  /** When the proof of the key ended, by our clock: live proof only against events recorded before it (rules 4). */
  readonly provedAt: Date;
  /** Canonical address of the caller; empty when unknown. */
  readonly address: string;
}

export type CertificateStatus = 'good' | 'held' | 'revoked';

/** What a listener knows of its caller when the handshake (or message) is done. */
export interface PresentedCertificate {
  readonly der: Buffer;
  readonly provedAt: Date;
  readonly address: string;
}

/** The record of issued certificates and their status, read by value. */
export interface CertificateReader {
  record(tx: Transaction, key: CertificateKey): Promise<CertificateRecord | null>;
  status(tx: Transaction, key: Pick<CertificateKey, 'issuerId' | 'serial'>): Promise<CertificateStatus>;
  isBlockedKey(tx: Transaction, spkiHash: Buffer): Promise<boolean>;
}

export interface CertificateKey {
  readonly issuerId: number;
  readonly serial: Buffer;
  readonly notAfter: Date;
}

/** A request's freshness, whichever protocol carried it. */
export type Freshness =
  /** Our nonce inside the CSR's challengePassword (REST). */
  | { readonly by: 'nonce' }
  /** The credential's own `provedAt` (EST: full mTLS handshake; CMP: protected message after our nonce). */
  | { readonly by: 'handshake' };

/** What a device gets for a good request. */
export interface IssuedAnswer {
  readonly certificate: CertificateRecord;
  readonly generation: number;
  readonly renewFrom: Date;
  readonly renewUntil: Date;
  /** True where this is the stored answer to an earlier request with the same key. */
  readonly repeated: boolean;
}
