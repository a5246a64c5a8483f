import type { Transaction } from '../../platform/db/transaction.js';
import type { KeyRequest } from '../../x509/key-request.js';
import type { Actor } from '../model/index.js';
import type { Freshness, IssuedAnswer, PresentedCertificate, ProvedCredential } from './credential.js';

/** The room's use-cases as a rim sees them; `makeEnrolment(deps)` binds them. */
export interface Enrolment {
  /** @throws FemtoError UNKNOWN_ISSUER | NOT_RECORDED | UNREGISTERED | RETRY_LATER */
  authenticate(presented: PresentedCertificate): Promise<ProvedCredential>;
  /** A nonce for this credential only, 10 min, single use. */
  issueNonce(credential: { readonly spkiHash: Buffer }): IssuedNonce;
  /**
   * Bootstrap (or last operational) key + grant + registry state → generation 1.
   *
   * @throws FemtoError BAD_REQUEST, KEY_*, ID_MISMATCH, POP_FAIL, NONCE_BAD, GRANT_BAD, LINE_MISMATCH, ADMISSION_FROZEN,
   *   CLAIM_CONTESTED, IDEMPOTENCY_CONFLICT, DEVICE_*, CERT_REVOKED, RATE_LIMITED; HSM_UNAVAILABLE and RETRY_LATER are
   *   retryable
   */
  activate(request: ActivationRequest): Promise<IssuedAnswer>;
  /** @throws FemtoError APPROVAL_REQUIRED, NOT_FOUND, STATE_CONFLICT (one is open), BAD_REQUEST */
  createGrant(request: GrantRequest): Promise<CreatedGrant>;
  /** Of the unit's newest grant. @throws FemtoError NOT_FOUND; STATE_CONFLICT when it is neither open nor locked */
  withdrawGrant(request: { readonly unitId: number; readonly actor: Actor }): Promise<{ readonly grantId: number }>;
}

export interface ActivationRequest {
  readonly credential: ProvedCredential;
  /** PKCS#10 as it came (DER, PEM or base64), or what another form was read to. */
  readonly csr: string | Buffer | KeyRequest;
  /** The installer's one-time code; null where an order stands for it. */
  readonly code: string | null;
  /** 16 to 64 characters `[A-Za-z0-9_-]`; null for protocols without one. */
  readonly idempotencyKey: string | null;
  readonly freshness: Freshness;
}

export interface IssuedNonce {
  /** Lower-case hex: goes into a challengePassword as it is. */
  readonly nonce: string;
  readonly expiresAt: Date;
}

export interface GrantRequest {
  readonly unitId: number;
  readonly kind: 'code' | 'order';
  readonly lineId: number;
  readonly createdBy: Actor;
  /**
   * The second person; needed where the unit's head is live or expired more than 90 days ago (rules 3.6). A function is
   * called once, in the transaction that makes the grant: what it spends is spent exactly when the grant is there.
   */
  readonly approvedBy: Actor | null | ((tx: Transaction) => Promise<Actor>);
  /** Seconds from now, 1 h to 30 d. */
  readonly lifeSeconds: number;
}

export interface CreatedGrant {
  readonly grantId: number;
  /** Shown once, stored only as a salted hash; null for an order. `XXXX-XXXX-XXXX-XXXX`, 80 bits. */
  readonly code: string | null;
  readonly expiresAt: Date;
}
