import type { Transaction } from '../../platform/db/transaction.js';
import type { CertificateKey } from '../issuance/index.js';
import type { CertificateRecord, ProvedCredential, Unit } from '../model/index.js';

export type { ProvedCredential } from '../model/index.js';

/** What a listener knows of its caller when the handshake (or message) is done. */
export interface PresentedCertificate {
  readonly der: Buffer;
  /** The other certificates it sent, in any order: between a vendor's leaf and its root. */
  readonly chain: readonly Buffer[];
  readonly provedAt: Date;
  readonly address: string;
}

/** What our record says of a certificate, in one snapshot. */
export interface RecordedCredential {
  readonly record: CertificateRecord;
  /** Null for a machine's. */
  readonly unit: Unit | null;
  readonly status: ProvedCredential['status'];
}

export interface CredentialReader {
  /** Null when the certificate is in no record. */
  credential(tx: Transaction, key: CertificateKey): Promise<RecordedCredential | null>;
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
