import type { Clock } from '../../platform/clock.js';
import type { Transactor } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import type { KeyRequest } from '../../x509/key-request.js';
import type { CertificateReader, Issuance } from '../issuance/index.js';
import type { Lineages } from '../lineage/index.js';
import type { Unit } from '../model/index.js';
import type { NetworkGate, Registry } from '../registry/index.js';
import type { BlockedKeyReader, Revocation } from '../revocation/index.js';
import type { ProvedCredential } from './credential.js';
import type { GrantStore } from './grant-store.js';
import type { Nonces, VerifiedNonce } from './nonce.js';
import type { RequestGuard } from './request-guard.js';

export interface ActivationDeps {
  readonly transactor: Transactor;
  readonly clock: Clock;
  readonly registry: Registry;
  readonly lineages: Lineages;
  readonly issuance: Pick<Issuance, 'issue'>;
  readonly revocation: Pick<Revocation, 'quarantine' | 'setStatus'>;
  readonly certificates: Pick<CertificateReader, 'record'> & BlockedKeyReader;
  readonly grants: GrantStore;
  readonly guard: RequestGuard;
  readonly network: NetworkGate;
  readonly nonces: Nonces;
  readonly ledger: Ledger;
  /** Waits while a sibling request is at the token. */
  readonly pause: (milliseconds: number) => Promise<void>;
}

/** One activation on its way through the steps. */
export interface Claim {
  readonly credential: ProvedCredential;
  readonly unit: Unit;
  readonly csr: KeyRequest;
  readonly nonce: VerifiedNonce | null;
  /** The latest moment at which the caller had the bootstrap key in hand, by a value or handshake of ours. */
  readonly liveAt: Date;
  readonly idempotencyKey: string | null;
  readonly requestHash: Buffer;
  readonly code: string | null;
}

export function idempotencyConflict(): FemtoError {
  return new FemtoError(
    'IDEMPOTENCY_CONFLICT',
    'This idempotency key was used for another request; take a new key for a new request.',
    { facts: { status: 409 } },
  );
}
