import type { Issuer } from '../lifecycle/model/index.js';
import type { IssuerDirectory } from '../lifecycle/registry/index.js';
import { checkOcspSigner } from '../lifecycle/status/index.js';
import type { Clock, RandomBytes } from '../platform/clock.js';
import type { Lease, Leases } from '../platform/db/lease.js';
import type { Transaction, Transactor } from '../platform/db/transaction.js';
import { FemtoError } from '../platform/errors.js';
import type { Ledger } from '../platform/ledger/ledger.js';
import type { Signer } from '../platform/signer.js';
import { assembleCertificate, readCertificate } from '../x509/certificate.js';
import { certificateTemplate } from '../x509/certificate-template.js';
import { lintTbs } from '../x509/lint-certificate.js';
import { notAfterOf, PROFILES } from '../x509/profiles.js';
import { newSerial, serialHex } from '../x509/serial.js';
import { readSpki } from '../x509/spki.js';

export interface OcspSignerCertificate {
  readonly issuerId: number;
  readonly keyLabel: string;
  readonly certificateDer: Buffer;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

export interface OcspCertificateStore {
  /** The newest certificate of each CA's OCSP key, expired or not. */
  newest(tx: Transaction): Promise<OcspSignerCertificate[]>;
  add(tx: Transaction, certificate: OcspSignerCertificate): Promise<void>;
}

export interface OcspSignerDeps {
  readonly transactor: Transactor;
  readonly leases: Leases;
  readonly issuers: Pick<IssuerDirectory, 'byId'>;
  readonly store: OcspCertificateStore;
  readonly signer: Signer;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly random: RandomBytes;
  /** O= of the subject. */
  readonly operator: string;
  /** notAfter − notBefore, inclusive; at most 14 days. */
  readonly lifeSeconds: number;
}

/**
 * With so much left the key is certified again. The alarm comes at seven days left (S10), so it means two days of failing,
 * and a token that is away over a long weekend still does no harm.
 */
export const RECERTIFY_LEFT_MS = 9 * 86_400_000;
const BACKDATE_SECONDS = 3_600;

/**
 * The OCSP keys stay in the token and get a new certificate before the old one ends (rules 1.3). The signer itself reads
 * the key in its token and refuses any other.
 *
 * @returns labels of the CAs whose signer was certified
 */
export async function certifyOcspSigners(deps: OcspSignerDeps, lease: Lease): Promise<string[]> {
  const done: string[] = [];
  for (const current of await deps.store.newest(deps.transactor.read)) {
    if (current.notAfter.getTime() - deps.clock.now().getTime() > RECERTIFY_LEFT_MS) continue;
    const issuer = await deps.issuers.byId(current.issuerId);
    if (issuer === null || issuer.state === 'offline' || issuer.notAfter <= deps.clock.now()) continue;
    await certify(deps, lease, { current, issuer });
    done.push(issuer.label);
  }
  return done;
}

async function certify(
  deps: OcspSignerDeps,
  lease: Lease,
  { current, issuer }: { current: OcspSignerCertificate; issuer: Issuer },
): Promise<void> {
  const { tbsDer, serial, notBefore, notAfter, algorithm } = draft(deps, current, issuer);
  const subject = `issuer:${issuer.label}`;
  const facts = { serial: serialHex(serial), keyLabel: current.keyLabel, notAfter };
  // Named before it is signed: a crash in between leaves a line in the signer's journal that the record explains.
  await deps.transactor.run(async (tx) => {
    await deps.leases.check(tx, lease);
    await deps.ledger.append(tx, [{ kind: 'ocsp-signer.intended', subject, at: deps.clock.now(), body: facts }]);
  });
  const [result] = await deps.signer.sign([
    { purpose: 'ocsp-signer', keyLabel: issuer.keyLabel, name: serialHex(serial), tbs: tbsDer },
  ]);
  if (!result?.ok) {
    throw new FemtoError(
      result?.code ?? 'HSM_UNAVAILABLE',
      `The OCSP signer of ${issuer.label} was not certified: ${result?.message ?? 'no answer'}`,
      { facts: { issuer: issuer.label } },
    );
  }
  const certificateDer = assembleCertificate(tbsDer, algorithm, result.signature);
  const next = { issuerId: issuer.id, keyLabel: current.keyLabel, certificateDer, notBefore, notAfter };
  checkOcspSigner(next, issuer);
  await deps.transactor.run(async (tx) => {
    await deps.leases.check(tx, lease);
    await deps.store.add(tx, next);
    await deps.ledger.append(tx, [{ kind: 'ocsp-signer.certified', subject, at: deps.clock.now(), body: facts }]);
  });
}

/** Same key, same name, fresh serial and days. */
function draft(deps: OcspSignerDeps, current: OcspSignerCertificate, issuer: Issuer) {
  const profile = PROFILES['ocsp-signer'];
  const previous = readCertificate(current.certificateDer);
  const algorithm = readSpki(issuer.spkiDer).algorithm === 'P-384' ? 'ecdsa-with-SHA384' : 'ecdsa-with-SHA256';
  const now = deps.clock.now();
  const serial = newSerial(now, deps.random);
  const notBefore = new Date(Math.floor(now.getTime() / 1_000) * 1_000 - BACKDATE_SECONDS * 1_000);
  const wanted = notAfterOf(notBefore, Math.min(deps.lifeSeconds, profile.lifeMaxSeconds));
  const notAfter = new Date(Math.min(wanted.getTime(), issuer.notAfter.getTime()));
  const commonName = previous.commonName ?? current.keyLabel;
  const tbsDer = certificateTemplate({
    profile,
    issuerSubjectDer: issuer.subjectDer,
    issuerKeyIdentifier: issuer.keyIdentifier,
    issuerSignature: algorithm,
    operator: deps.operator,
  }).build({ serial, subject: { commonName }, spki: previous.spki, notBefore, notAfter });
  lintTbs(tbsDer, profile, {
    issuerNotAfter: issuer.notAfter,
    issuerSubjectDer: issuer.subjectDer,
    issuerKeyIdentifier: issuer.keyIdentifier,
    issuerSignature: algorithm,
    serial,
    organization: deps.operator,
    commonName,
    spkiHash: previous.spki.spkiHash,
  });
  return { tbsDer, serial, notBefore, notAfter, algorithm } as const;
}
