import type { Certificate } from '../../x509/certificate.js';
import type { CertificateRecord, Issuer, Unit } from './nouns.js';

/**
 * A certificate whose key the caller has shown to hold: by a full TLS handshake that we ended, or by a protocol message it
 * signed. Only enrolment's authentication makes one. Expiry, revocation and the unit's state are not judged yet: each
 * use-case has its own rule for them.
 */
export type ProvedCredential = OwnCredential | VendorCredential;

/** Issued and recorded by us. */
export interface OwnCredential extends CredentialFacts {
  /** `bootstrap` = generation 0; `operational` = a generation of a lineage. From the exact issuing key, never a name. */
  readonly kind: 'bootstrap' | 'operational';
  readonly issuer: Issuer;
  readonly record: CertificateRecord;
}

/** Issued by a maker's own CA that is registered for the unit's model; its key is named on the manifest. Generation 0, too. */
export interface VendorCredential extends CredentialFacts {
  readonly kind: 'vendor';
  readonly issuer: null;
  readonly record: null;
}

interface CredentialFacts {
  readonly certificate: Certificate;
  readonly unit: Unit;
  readonly status: CredentialStatus;
  /**
   * When the proof of the key ended, by our clock: the handshake, or the moment a value of ours that the caller signed was
   * made. The epoch where the message carried nothing of ours. Live only against events recorded before it (rules 4).
   */
  readonly provedAt: Date;
  /** Canonical address of the caller; empty when unknown. */
  readonly address: string;
}

export type CredentialStatus = 'good' | 'held' | 'revoked';
