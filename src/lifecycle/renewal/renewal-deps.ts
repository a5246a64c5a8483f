import type { Clock, RandomBytes } from '../../platform/clock.js';
import type { Transactor } from '../../platform/db/transaction.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import type { CertificateReader, Issuance } from '../issuance/index.js';
import type { Lineages } from '../lineage/index.js';
import type { NetworkGate, Registry } from '../registry/index.js';
import type { Revocation } from '../revocation/index.js';
import type { TaskStore } from './renewal.js';
import type { RenewalStore } from './renewal-store.js';

export interface RenewalDeps {
  readonly transactor: Transactor;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly registry: Pick<Registry, 'unitById' | 'lineAt' | 'profile' | 'changeState' | 'touchContact'>;
  readonly lineages: Lineages;
  readonly issuance: Pick<Issuance, 'issue'>;
  readonly revocation: Pick<Revocation, 'quarantine'>;
  readonly ledger: Ledger;
  readonly store: RenewalStore;
  readonly tasks: Pick<TaskStore, 'closeFollowed'>;
  readonly network: NetworkGate;
  /** A person should hear of it: a renewal that was let in although its address could not be placed (NET-3). */
  readonly alarm: (what: string, facts: Record<string, unknown>) => void;
  readonly nonces: NonceVerifier;
  readonly certificates: Pick<CertificateReader, 'record'>;
  /** Waits while a sibling request is at the token. */
  readonly pause: (milliseconds: number) => Promise<void>;
  /**
   * Pre-issue is off until attested keys are checked (KEY-7): true only in tests and the story, which say so, and then
   * only for units whose profile says `preissue`.
   */
  readonly preissueAllowed: boolean;
}

/** @throws FemtoError NONCE_BAD missing, malformed, aged, or another credential's */
export interface NonceVerifier {
  verify(nonce: string | undefined, credential: { readonly spkiHash: Buffer }): KnownNonce;
}

export interface KnownNonce {
  readonly hash: Buffer;
  readonly issuedAt: Date;
  readonly expiresAt: Date;
}
