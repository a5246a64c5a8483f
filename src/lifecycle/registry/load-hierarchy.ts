import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Hierarchy, HierarchyEntry } from '../../platform/hsm/hierarchy.js';
import { type Certificate, readCertificate, verifyCertificateSignature } from '../../x509/certificate.js';
import { pemBlocks } from '../../x509/pem.js';
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
  return issuers;
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

function onlyCertificate({ label, certificatePem }: HierarchyEntry): Certificate {
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
