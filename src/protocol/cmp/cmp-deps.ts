import type { Enrolment, RefusalRecorder } from '../../lifecycle/enrolment/index.js';
import type { Lineages } from '../../lifecycle/lineage/index.js';
import type { CertificateRecord, Unit } from '../../lifecycle/model/index.js';
import type { IssuerDirectory, Registry } from '../../lifecycle/registry/index.js';
import type { Renewal } from '../../lifecycle/renewal/index.js';
import type { Revocation } from '../../lifecycle/revocation/index.js';
import type { Clock, RandomBytes } from '../../platform/clock.js';
import type { Transactor } from '../../platform/db/transaction.js';
import type { KeyRequest } from '../../x509/key-request.js';
import type { TransactionStore } from './transaction-store.js';

/** What the CMP rim asks of the product. */
export interface CmpDeps {
  readonly enrolment: Pick<Enrolment, 'authenticate' | 'activate'>;
  readonly renewal: Pick<Renewal, 'renew' | 'settleIssued'>;
  readonly revocation: Pick<Revocation, 'revokeByUnit'>;
  readonly lineages: Pick<Lineages, 'liveViewOfUnit'>;
  readonly registry: Pick<Registry, 'modelOf' | 'modelByLabel' | 'unitByFqdn' | 'unitByVendorKey'>;
  readonly issuers: Pick<IssuerDirectory, 'all' | 'byId' | 'successions'>;
  readonly factory: SecretDesk;
  readonly store: TransactionStore;
  readonly transactor: Transactor;
  /** DER of a recorded certificate; null when it is not there. */
  readonly certificateOf: (key: CertificateName) => Promise<Buffer | null>;
  /** Bootstrap and operational certificates of a unit that may be of this key and have not long run out, DER; a few. */
  readonly certificatesOf: (unitId: number, keyIdentifier: Buffer) => Promise<readonly Buffer[]>;
  /** Issuing CA first, root last, DER. */
  readonly chainOf: (issuerId: number) => Promise<readonly Buffer[]>;
  /** The newest CRL of one of our CAs; null before the first. */
  readonly crlOf: (issuerId: number) => Promise<PublishedCrl | null>;
  readonly ra: CmpRa;
  /** A request that carried a private key: block what it exposed (KEY-6). */
  readonly blockExposedKeys: (upload: Buffer, actor: string) => Promise<void>;
  readonly recordRefusal: RefusalRecorder;
  readonly clock: Clock;
  readonly random: RandomBytes;
  /** Waits while a sibling of the same message is at work. */
  readonly pause: (milliseconds: number) => Promise<void>;
  readonly trustedProxies: readonly string[];
  readonly onInternal: (error: unknown, traceId: string) => void;
}

export interface CertificateName {
  readonly issuerId: number;
  readonly serial: Buffer;
  readonly notAfter: Date;
}

export interface PublishedCrl {
  readonly thisUpdate: Date;
  /** Of all of it. */
  readonly bytes: number;
  /** Null: a newer one has taken its place meanwhile. */
  der(): Promise<Buffer | null>;
}

/** Leave to ask for a bootstrap certificate with a shared secret (rules 3.2). */
export interface UsableSecret {
  readonly secret: Buffer;
  readonly unit: Unit;
}

export interface SecretDesk {
  /** The secret that goes by this reference, spent or not, while it stands for its unit; null for every other. */
  macSecret(reference: string): Promise<UsableSecret | null>;
  /** Bootstrap certificates only; the same key again gets the same certificate. */
  enrolBySecret(request: {
    readonly reference: string;
    readonly csr: KeyRequest;
    readonly address: string;
  }): Promise<{ readonly certificate: CertificateRecord; readonly chain: readonly Buffer[] }>;
}

/** The key that protects our answers: a Services certificate with id-kp-cmcRA. */
export interface CmpRa {
  /** Null while it has no certificate: what nobody can check must not be said. */
  current(): RaCredential | null;
}

export interface RaCredential {
  readonly certificateDer: Buffer;
  /** Services CA, Services Root. */
  readonly chain: readonly Buffer[];
  /** Content of the certificate's subjectKeyIdentifier. */
  readonly keyIdentifier: Buffer;
  /** DER Name. */
  readonly subjectDer: Buffer;
  /** ecdsa-with-SHA256 over the data, DER. */
  sign(data: Buffer): Buffer;
}
