import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Hierarchy, HierarchyEntry } from '../../platform/hsm/hierarchy.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import { type Certificate, readCertificate, verifyCertificateSignature } from '../../x509/certificate.js';
import { pemBlocks } from '../../x509/pem.js';
import { readSpki } from '../../x509/spki.js';
import type { Issuer } from '../model/index.js';
import type { IssuerStore } from './issuer-directory.js';

/**
 * Enters our CAs and their OCSP signers, and the installation's row, from the ceremony's file. Entering the same again
 * changes nothing; a state that people changed since then stays.
 *
 * @param hierarchy  `readHierarchy('<data>/ca/hierarchy.json')`
 * @throws FemtoError BAD_REQUEST when a certificate is not what its entry says or is not signed by the parent it names;
 *   STATE_CONFLICT when a label, name or key is here already with another certificate (rules 1.3: unique for ever)
 */
export async function loadHierarchy(
  deps: { readonly issuers: IssuerStore },
  tx: Transaction,
  hierarchy: Hierarchy,
  at: Date,
): Promise<readonly Issuer[]> {
  const { installation: installationId, operator, realm, mode, entries } = hierarchy;
  const known = await deps.issuers.readIssuers(tx);
  await deps.issuers.addInstallation(tx, { installationId, operator, realm, mode, createdAt: at });
  const certificates = new Map(entries.map((entry) => [entry.label, onlyCertificate(entry)]));
  for (const entry of entries) checkSignedByParent(entry, certificates);
  for (const entry of entries) {
    const { kind, label, state, keyLabel, issuerLabel } = entry;
    const certificate = certificates.get(label);
    if (kind === 'ocsp-signer' || kind === 'audit' || certificate === undefined) continue;
    if (!certificate.isCa) throw misfit(label, 'is no CA certificate');
    await deps.issuers.addIssuer(tx, {
      label,
      kind,
      state,
      keyLabel,
      parentLabel: issuerLabel === label ? null : issuerLabel,
      certificateDer: certificate.der,
      subjectDer: certificate.subjectDer,
      keyIdentifier: certificate.ski ?? certificate.spki.keyIdentifier,
      spkiDer: certificate.spki.spkiDer,
      spkiHash: certificate.spki.spkiHash,
      notAfter: certificate.notAfter,
    });
  }
  const issuers = await deps.issuers.readIssuers(tx);
  for (const entry of entries) await checkEntered(deps, tx, entry, certificates, issuers);
  await enterSuccessions(deps, tx, { hierarchy, issuers, known, at });
  return issuers;
}

/**
 * The same while everything runs, after a later ceremony: says in the ledger what is new.
 *
 * @returns labels of the CAs and roots that were entered now
 */
export async function enterHierarchy(
  deps: { readonly issuers: IssuerStore; readonly ledger: Ledger },
  tx: Transaction,
  hierarchy: Hierarchy,
  at: Date,
): Promise<string[]> {
  const known = new Set((await deps.issuers.readIssuers(tx)).map(({ label }) => label));
  const entered = (await loadHierarchy(deps, tx, hierarchy, at)).filter(({ label }) => !known.has(label));
  await deps.ledger.append(
    tx,
    entered.map(({ id, label, kind, state, certificateDer }) => ({
      kind: 'ca.entered',
      subject: `issuer:${label}`,
      at,
      body: { issuerId: id, kind, state, certificateSha256: readCertificate(certificateDer).fingerprint },
    })),
  );
  return entered.map(({ label }) => label);
}

/**
 * Nobody brings us another root: a second one of its kind must be signed by the newest one on record, and sign it back
 * (rules 1.1). Otherwise whoever writes this file could have units and gateways told to trust a root of his own.
 */
async function enterSuccessions(
  deps: { readonly issuers: IssuerStore },
  tx: Transaction,
  ground: {
    readonly hierarchy: Hierarchy;
    readonly issuers: readonly Issuer[];
    readonly known: readonly Issuer[];
    readonly at: Date;
  },
): Promise<void> {
  const { hierarchy, issuers, known, at } = ground;
  for (const { predecessor, successor, newWithOldPem, oldWithNewPem } of hierarchy.links ?? []) {
    const [from, to] = [predecessor, successor].map((label) => issuers.find((issuer) => issuer.label === label));
    if (from?.kind !== 'root-access' || to?.kind !== 'root-access') throw misfit(successor, 'follows no Access Root');
    const newWithOld = onlyCertificate({ label: successor, certificatePem: newWithOldPem });
    const oldWithNew = onlyCertificate({ label: predecessor, certificatePem: oldWithNewPem });
    if (!isLink(newWithOld, { of: to, by: from }) || !isLink(oldWithNew, { of: from, by: to })) {
      throw misfit(successor, `and ${predecessor} have not signed each other`);
    }
    const link = { successorId: to.id, predecessorId: from.id, newWithOld: newWithOld.der, oldWithNew: oldWithNew.der };
    await deps.issuers.addSuccession(tx, link, at);
  }
  const successions = await deps.issuers.readSuccessions(tx);
  for (const { id, kind, label } of issuers) {
    const isNew = !known.some((one) => one.id === id);
    if (!isNew || !kind.startsWith('root-') || !known.some((one) => one.kind === kind)) continue;
    if (!successions.some(({ successorId }) => successorId === id)) {
      throw misfit(label, 'is a root that the one before it has not signed');
    }
  }
}

/** The same name and key as `of`, as a CA, under the signature of `by`. */
function isLink(certificate: Certificate, { of, by }: { of: Issuer; by: Issuer }): boolean {
  return (
    certificate.isCa &&
    certificate.subjectDer.equals(of.subjectDer) &&
    certificate.spki.spkiDer.equals(of.spkiDer) &&
    certificate.issuerDer.equals(by.subjectDer) &&
    verifyCertificateSignature(certificate, readSpki(by.spkiDer))
  );
}

async function checkEntered(
  deps: { readonly issuers: IssuerStore },
  tx: Transaction,
  entry: HierarchyEntry,
  certificates: ReadonlyMap<string, Certificate>,
  issuers: readonly Issuer[],
): Promise<void> {
  const certificate = certificates.get(entry.label);
  if (certificate === undefined || entry.kind === 'audit') return;
  if (entry.kind === 'ocsp-signer') {
    const issuer = issuers.find(({ label }) => label === (entry.answersFor ?? entry.issuerLabel));
    if (issuer === undefined) throw misfit(entry.label, 'names an issuer that is not in the file');
    const { notBefore, notAfter, der } = certificate;
    await deps.issuers.addOcspSigner(tx, {
      issuerId: issuer.id,
      notBefore,
      notAfter,
      keyLabel: entry.keyLabel,
      certificateDer: der,
    });
    return;
  }
  const entered = issuers.find(({ label }) => label === entry.label);
  if (entered?.certificateDer.equals(certificate.der) === true) return;
  throw new FemtoError(
    'STATE_CONFLICT',
    `CA ${entry.label}, its name or its key is here already with another certificate; a CA is never replaced in place.`,
    { facts: { label: entry.label } },
  );
}

function onlyCertificate({ label, certificatePem }: Pick<HierarchyEntry, 'label' | 'certificatePem'>): Certificate {
  const [block, ...others] = pemBlocks(certificatePem);
  if (block?.label !== 'CERTIFICATE' || others.length > 0) throw misfit(label, 'is not one PEM certificate');
  return readCertificate(block.der);
}

function checkSignedByParent(entry: HierarchyEntry, certificates: ReadonlyMap<string, Certificate>): void {
  const own = certificates.get(entry.label);
  const parent = certificates.get(entry.issuerLabel);
  if (own === undefined || parent === undefined) throw misfit(entry.label, 'names an issuer that is not in the file');
  if (!own.issuerDer.equals(parent.subjectDer) || !verifyCertificateSignature(own, parent.spki)) {
    throw misfit(entry.label, 'is not signed by the issuer it names');
  }
}

function misfit(label: string, fault: string): FemtoError {
  return new FemtoError('BAD_REQUEST', `Hierarchy entry ${label} ${fault}; take the ceremony's file unaltered.`, {
    facts: { label, fault },
  });
}
