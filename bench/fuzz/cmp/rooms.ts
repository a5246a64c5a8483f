import { randomBytes } from 'node:crypto';
import {
  type AuthenticationDeps,
  authenticateCredential,
} from '../../../src/lifecycle/enrolment/authenticate-credential.js';
import type { CertificateRecord, Issuer } from '../../../src/lifecycle/model/index.js';
import type { UnitModel } from '../../../src/lifecycle/registry/index.js';
import { plainModel } from '../../../src/lifecycle/registry/model.js';
import { FemtoError } from '../../../src/platform/errors.js';
import type { CmpDeps } from '../../../src/protocol/cmp/cmp-deps.js';
import type { StoredTransaction } from '../../../src/protocol/cmp/transaction-store.js';
import { readCertificate, verifyCertificateSignature } from '../../../src/x509/certificate.js';
import { keyRequestOf } from '../../../src/x509/csr.js';
import { checkKeyPolicy } from '../../../src/x509/key-policy.js';
import { checkWishes, type KeyRequest, verifyPossession } from '../../../src/x509/key-request.js';
import { readSpki } from '../../../src/x509/spki.js';
import { memoryStore } from './memory-store.js';
import { type FuzzKey, isProtected, provesPossession } from './oracle.js';
import { CHAIN, CLOCK, GRANTED, HOLDERS, ISSUERS, LIVE, MAC_REFERENCE, MAC_SECRET, UNIT } from './world.js';

/** What one message reached; every room that acts asks the oracle whether it may. */
export interface Reached {
  /** Whose key it was became known. */
  sender: boolean;
  /** A room was asked for a certificate, a confirmation or a revocation. */
  acted: boolean;
  /** The body could be read. */
  wasRead: boolean;
  /** A room acted for a message that proves less than it must, or something of ours broke. */
  readonly faults: string[];
}

export interface FuzzRooms {
  readonly deps: CmpDeps;
  /** The next message: what came before it, and whether the rooms want live proof first. */
  begin(
    message: Buffer,
    before: { transactions: readonly StoredTransaction[]; request: Buffer | null; waits: boolean },
  ): Reached;
}

const KEYS: readonly FuzzKey[] = [
  ...Object.values(HOLDERS).map(({ key }): FuzzKey => ({ kind: 'signature', key })),
  { kind: 'mac', secret: MAC_SECRET },
];
const MODEL: UnitModel = { ...plainModel(UNIT), label: 'fc-1', macAllowed: true, tolerances: new Set() };
const { record: GRANTED_RECORD } = GRANTED;

/**
 * Stand-ins that keep nothing and grant everything that passes the checks a real use-case makes before it issues. They
 * stand for PostgreSQL, token and lineage, which a message cannot reach except through them.
 */
export function fuzzRooms(): FuzzRooms {
  const store = memoryStore();
  let message = Buffer.alloc(0) as Buffer;
  /** The message whose key request is acted on: with pollReq the one that was kept. */
  let request: Buffer = message;
  let waits = false;
  let reached: Reached = { sender: false, acted: false, wasRead: false, faults: [] };

  const act = (room: string): void => {
    reached.acted = true;
    if (!isProtected(message, KEYS)) reached.faults.push(`${room} was reached by a message without a right protection`);
  };
  const grant = (room: string, csr: KeyRequest): CertificateRecord => {
    checkKeyPolicy(csr.spki);
    checkWishes(csr, { fqdn: UNIT.fqdn });
    if (!verifyPossession(csr)) throw new FemtoError('POP_FAIL', 'The request is not signed by the key it carries.');
    act(room);
    if (!provesPossession(request)) reached.faults.push(`${room} was reached by a request that proves no possession`);
    if (waits) {
      throw new FemtoError('RETRY_LATER', 'The old key must be proved again.', { facts: { asks: 'live proof' } });
    }
    if (GRANTED_RECORD === null) throw new Error('nothing to grant');
    return GRANTED_RECORD;
  };
  const answerOf = (certificate: CertificateRecord) => ({
    ...{ certificate, generation: 2, renewFrom: CLOCK, renewUntil: CLOCK, repeated: false },
  });

  const deps: CmpDeps = {
    enrolment: {
      authenticate: async (presented) => {
        const credential = await authenticateCredential(authentication, presented);
        reached.sender = true;
        return credential;
      },
      activate: async ({ csr }) => answerOf(grant('activate', keyRequestOf(csr))),
    },
    renewal: {
      renew: async ({ csr }) => answerOf(grant('renew', keyRequestOf(csr))),
      settleIssued: async ({ withSettled }) => {
        act('settleIssued');
        await withSettled?.(NO_DATABASE);
      },
    },
    revocation: {
      revokeByUnit: async () => {
        act('revokeByUnit');
        return { restricted: 1 } as never;
      },
    },
    lineages: { liveViewOfUnit: async () => LIVE },
    registry: {
      modelOf: async () => MODEL,
      modelByLabel: async (_, label) => (label === MODEL.label ? MODEL : null),
      unitByFqdn: async (_, fqdn) => (fqdn === UNIT.fqdn ? UNIT : null),
      unitByVendorKey: async (_, hash) => (hash.equals(HOLDERS.vendor.certificate.spki.spkiHash) ? UNIT : null),
    },
    issuers: {
      successions: async () => [],
      all: async () => ISSUERS,
      byId: async (id) => ISSUERS.find((issuer) => issuer.id === id) ?? null,
    },
    factory: {
      macSecret: async (reference) => (reference === MAC_REFERENCE ? { secret: MAC_SECRET, unit: UNIT } : null),
      enrolBySecret: async ({ csr }) => ({ certificate: grant('enrolBySecret', csr), chain: CHAIN }),
    },
    store,
    transactor: {
      run: (work) => work(NO_DATABASE),
      runTogether: (work) => work(NO_DATABASE),
      readSnapshot: refuseWriting,
      read: NO_DATABASE,
    },
    certificateOf: async () => GRANTED.certificate.der,
    certificatesOf: async () => [HOLDERS.operational.certificate.der],
    chainOf: async () => CHAIN,
    crlOf: async () => null,
    ra: { current: () => null }, // the caller hands it over
    blockExposedKeys: async () => undefined,
    recordRefusal: async ({ operation, error }) => {
      reached.wasRead ||= operation !== 'cmp unread';
      if (error.code === 'INTERNAL') reached.faults.push(`an error of ours: ${error.message}`);
    },
    clock: { now: () => CLOCK },
    random: (length) => randomBytes(length),
    pause: async () => undefined,
    trustedProxies: [],
    onInternal: (error) => void reached.faults.push(`an error of ours: ${String((error as Error).stack ?? error)}`),
  };
  return {
    deps,
    begin: (next, before) => {
      message = next;
      request = before.request ?? next;
      waits = before.waits;
      store.reset(before.transactions);
      reached = { sender: false, acted: false, wasRead: false, faults: [] };
      return reached;
    },
  };
}

/** The CA of ours whose exact key signed it, as the directory finds it. */
async function issuerOf({ der }: { readonly der: Buffer }): Promise<Issuer | null> {
  const certificate = readCertificate(der);
  const issuer = ISSUERS.find(({ keyIdentifier }) => certificate.aki?.equals(keyIdentifier) === true);
  if (issuer === undefined || !issuer.subjectDer.equals(certificate.issuerDer)) return null;
  return verifyCertificateSignature(certificate, readSpki(issuer.spkiDer)) ? issuer : null;
}

const refuseWriting = (): Promise<never> => Promise.reject(new Error('nothing is written here'));
const NO_DATABASE = { query: () => Promise.reject(new Error('there is no database here')) };

const authentication: AuthenticationDeps = {
  transactor: { run: refuseWriting, runTogether: refuseWriting, readSnapshot: refuseWriting, read: NO_DATABASE },
  clock: { now: () => CLOCK },
  issuers: {
    all: async () => ISSUERS,
    byId: async (id) => ISSUERS.find((issuer) => issuer.id === id) ?? null,
    byKind: async (kind) => ISSUERS.filter((issuer) => issuer.kind === kind),
    bySpkiOrSignature: issuerOf,
    successions: async () => [],
    refresh: async () => undefined,
  },
  certificates: {
    credential: async (_, { issuerId, serial }) => {
      const records = Object.values(HOLDERS).flatMap(({ record }) => record ?? []);
      const record = records.find((known) => known.issuerId === issuerId && known.serial.equals(serial));
      return record === undefined ? null : { record, unit: UNIT, status: 'good' };
    },
  },
  vendors: {
    unitOf: async ({ der }) => (der.equals(HOLDERS.vendor.certificate.der) ? UNIT : null),
  },
  onUnrecorded: async () => undefined,
};
