import type { Clock } from '../../platform/clock.js';
import type { Transaction, Transactor } from '../../platform/db/transaction.js';
import { verifyCertificateSignature } from '../../x509/certificate.js';
import { rememberedCertificate } from '../../x509/remembered-certificate.js';
import { readSpki, type Spki } from '../../x509/spki.js';
import type { Issuer, IssuerKind } from '../model/index.js';

/** A root and the one that follows it, each signed by the other (RFC 4210 section 4.4). */
export interface RootSuccession {
  readonly successorId: number;
  readonly predecessorId: number;
  /** DER: the new key under the new name, signed by the old root: who trusts the old one comes to the new one. */
  readonly newWithOld: Buffer;
  /** DER: the old key under the old name, signed by the new root. */
  readonly oldWithNew: Buffer;
}

/** Our own CAs, cached; read again at most once a second when something unknown is asked for. */
export interface IssuerDirectory {
  all(): Promise<readonly Issuer[]>;
  byId(issuerId: number): Promise<Issuer | null>;
  /** Active ones of a kind, lowest id first. */
  byKind(kind: IssuerKind): Promise<readonly Issuer[]>;
  /**
   * The CA of ours whose exact key signed this certificate: found by authorityKeyIdentifier, proved by its signature. A
   * name or an identifier alone proves nothing (rules 1.2). Null for every other certificate.
   *
   * @throws FemtoError BAD_REQUEST, KEY_WEAK when the bytes are no certificate we read
   */
  bySpkiOrSignature(certificate: { readonly der: Buffer }): Promise<Issuer | null>;
  /** Roots that follow one another, oldest first. */
  successions(): Promise<readonly RootSuccession[]>;
  /** Forget what is cached, e.g. after a ceremony. */
  refresh(): Promise<void>;
}

/** Rows of `issuer`. */
export interface IssuerStore {
  readIssuers(tx: Transaction): Promise<Issuer[]>;
  /** False when the label, name, key or key identifier is there already. */
  addIssuer(
    tx: Transaction,
    issuer: Omit<Issuer, 'id'> & { parentLabel: string | null; spkiHash: Buffer },
  ): Promise<boolean>;
  addOcspSigner(
    tx: Transaction,
    signer: { issuerId: number; notBefore: Date; notAfter: Date; keyLabel: string; certificateDer: Buffer },
  ): Promise<void>;
  readSuccessions(tx: Transaction): Promise<RootSuccession[]>;
  /** The same again changes nothing. */
  addSuccession(tx: Transaction, succession: RootSuccession, at: Date): Promise<void>;
  addInstallation(tx: Transaction, installation: NewInstallation): Promise<void>;
  readInstallation(tx: Transaction): Promise<Installation | null>;
}

export interface NewInstallation {
  readonly installationId: string;
  /** `O=` of every subject. */
  readonly operator: string;
  /** Lower-case domain that units' names end in. */
  readonly realm: string;
  readonly mode: 'demo' | 'production';
  readonly createdAt: Date;
}

export interface Installation extends NewInstallation {
  readonly epoch: number;
  readonly admissionFrozen: boolean;
  /** Why issuing is stopped; null when it is not. */
  readonly issuingStopped: string | null;
}

const REFRESH_INTERVAL_MS = 1_000;
/** A state change (a spare that goes into use) is seen this late at most without a refresh. */
const AGE_MAX_MS = 10_000;

export function makeIssuerDirectory(deps: {
  readonly transactor: Transactor;
  readonly issuers: IssuerStore;
  readonly clock: Clock;
}): IssuerDirectory {
  let cached: readonly Issuer[] = [];
  let successions: readonly RootSuccession[] = [];
  let readAtMs = Number.NEGATIVE_INFINITY;
  let reading: Promise<readonly Issuer[]> | undefined;

  const refresh = (): Promise<readonly Issuer[]> => {
    reading ??= Promise.all([
      deps.issuers.readIssuers(deps.transactor.read),
      deps.issuers.readSuccessions(deps.transactor.read),
    ])
      .then(([issuers, following]) => {
        cached = issuers;
        successions = following;
        readAtMs = deps.clock.now().getTime();
        return issuers;
      })
      .finally(() => {
        reading = undefined;
      });
    return reading;
  };
  const ageMs = () => Math.abs(deps.clock.now().getTime() - readAtMs);
  const current = async () => (ageMs() > AGE_MAX_MS ? refresh() : cached);
  const find = async (matches: (issuer: Issuer) => boolean): Promise<Issuer | null> => {
    const found = (await current()).find(matches);
    if (found !== undefined || ageMs() < REFRESH_INTERVAL_MS) return found ?? null;
    return (await refresh()).find(matches) ?? null;
  };

  return {
    all: current,
    byId: (issuerId) => find(({ id }) => id === issuerId),
    byKind: async (kind) => (await current()).filter((issuer) => issuer.kind === kind && issuer.state === 'active'),
    bySpkiOrSignature: async ({ der }) => {
      const certificate = rememberedCertificate(der);
      const { aki } = certificate;
      if (aki === undefined) return null;
      const issuer = await find(({ keyIdentifier }) => keyIdentifier.equals(aki));
      if (issuer === null || !issuer.subjectDer.equals(certificate.issuerDer)) return null;
      return verifyCertificateSignature(certificate, spkiOf(issuer)) ? issuer : null;
    },
    successions: async () => {
      await current();
      return successions;
    },
    refresh: async () => {
      await refresh();
    },
  };
}

const SPKIS = new WeakMap<Issuer, Spki>();

/** Read once a row, so that its key is imported once. */
function spkiOf(issuer: Issuer): Spki {
  const known = SPKIS.get(issuer);
  if (known !== undefined) return known;
  const spki = readSpki(issuer.spkiDer);
  SPKIS.set(issuer, spki);
  return spki;
}
