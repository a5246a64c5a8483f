import type { Clock, RandomBytes } from '../../platform/clock.js';
import type { Transaction, Transactor } from '../../platform/db/transaction.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import type { CertificateReader, Issuance } from '../issuance/index.js';
import type {
  IssuerDirectory,
  IssuerStore,
  MachineOffice,
  MakerStore,
  NetworkGate,
  Registry,
  UnitStore,
} from '../registry/index.js';
import type { Revocation } from '../revocation/index.js';
import type { CredentialStatusReader } from '../status/index.js';
import type { FactoryCredentialStore } from './factory-credential.js';
import type { MacSecretStore } from './mac-secret.js';

export interface FactoryDeps {
  readonly transactor: Transactor;
  readonly clock: Clock;
  readonly ledger: Ledger;
  readonly registry: Registry;
  readonly units: UnitStore;
  readonly makers: MakerStore;
  readonly machines: Pick<MachineOffice, 'bySpkiHash' | 'byName'>;
  readonly issuers: IssuerDirectory;
  readonly installation: Pick<IssuerStore, 'readInstallation'>;
  readonly credentials: FactoryCredentialStore;
  readonly guard: OnceGuard;
  readonly macSecrets: MacSecretStore;
  /** 32 bytes from a file that enrol-server and operator-server share: MAC secrets are derived from it. */
  readonly macKey: Buffer;
  readonly network: NetworkGate;
  readonly random: RandomBytes;
  readonly bootstraps: Pick<CertificateReader, 'bootstrapsOfUnit'>;
  readonly certificates: CredentialStatusReader;
  readonly issuance: Pick<Issuance, 'issue'>;
  readonly revocation: Pick<Revocation, 'setStatus' | 'blockKeys'>;
}

/** Values that are good once: manifest nonces and token ids. */
export interface OnceGuard {
  /** False when the hash was spent before. The row may be purged after `expiresAt`. */
  spendOnce(tx: Transaction, hash: Buffer, expiresAt: Date): Promise<boolean>;
}
