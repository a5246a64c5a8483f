import { FemtoError } from '../platform/errors.js';
import { type Certificate, certificatePem, readCertificate, verifyCertificateSignature } from '../x509/certificate.js';
import { pemBlocks } from '../x509/pem.js';
import { checkUnder, onlyCertificate } from './check-server.js';
import type { Answer } from './enrol-client.js';
import type { UnitState } from './unit-state.js';

/** Roots that a unit holds at most: two follow one another every twenty years. */
const ROOTS_MAX = 8;
const CERTIFICATES_MAX = 16;

/** The factory's Access Root, and those that came signed by it since. */
export function trustedRoots(accessRoot: Certificate, { accessRoots = [] }: UnitState): Certificate[] {
  return [accessRoot, ...accessRoots.map(onlyCertificate)];
}

/**
 * The issued certificate is kept only when it leads to an Access Root that the unit trusts. Where it does not, the operator
 * may have another root by now: it is asked for, and believed for the signature of one that is trusted already, however
 * long the unit was asleep.
 *
 * @param askAnchors  `GET /v1/anchors`
 * @returns the state with what was learnt; roots of before stay trusted
 * @throws FemtoError UNKNOWN_ISSUER where no way leads from a trusted root to the certificate
 */
export async function withRootsFor(
  issued: { readonly certificatePem: string; readonly chainPem: string },
  given: { readonly accessRoot: Certificate; readonly state: UnitState; readonly now: Date },
  askAnchors: () => Promise<Answer>,
): Promise<UnitState> {
  const { accessRoot, state, now } = given;
  const known = trustedRoots(accessRoot, state);
  if (leadsToOne(issued, known, now)) return state;
  const { status, body } = await askAnchors();
  if (status !== 200)
    throw new FemtoError('RETRY_LATER', 'The server does not say which roots there are; try again later.');
  const learnt = newRoots(known, { roots: certificates(body['roots']), links: certificates(body['newWithOld']) }, now);
  if (!leadsToOne(issued, [...known, ...learnt], now)) {
    throw new FemtoError('UNKNOWN_ISSUER', 'The certificate leads to no root that the unit trusts; call the operator.');
  }
  const accessRoots = [...known.slice(1), ...learnt].slice(-ROOTS_MAX).map(({ der }) => certificatePem(der));
  return { ...state, accessRoots };
}

/**
 * Of the roots that are offered, those that a trusted one has signed, directly or over roots in between that nobody offers
 * any more.
 */
function newRoots(
  trusted: readonly Certificate[],
  offered: { readonly roots: readonly Certificate[]; readonly links: readonly Certificate[] },
  now: Date,
): Certificate[] {
  const reached = [...trusted];
  for (let before = 0; before < reached.length; ) {
    before = reached.length;
    for (const link of offered.links) {
      const isReached = reached.some((one) => isSameRoot(one, link));
      const signer = reached.find((one) => one.subjectDer.equals(link.issuerDer));
      if (isReached || signer === undefined || !isRoot(link, now) || !isRoot(signer, now)) continue;
      if (verifyCertificateSignature(link, signer.spki)) reached.push(link);
    }
  }
  return offered.roots.filter(
    (root) =>
      isRoot(root, now) &&
      verifyCertificateSignature(root, root.spki) &&
      reached.some((one) => isSameRoot(one, root)) &&
      !trusted.some((one) => isSameRoot(one, root)),
  );
}

function isRoot({ isCa, keyUsage, notBefore, notAfter }: Certificate, now: Date): boolean {
  return isCa && keyUsage.includes('keyCertSign') && notBefore <= now && now <= notAfter;
}

function isSameRoot(a: Certificate, b: Certificate): boolean {
  return a.subjectDer.equals(b.subjectDer) && a.spki.spkiDer.equals(b.spki.spkiDer);
}

function leadsToOne(
  { certificatePem: leafPem, chainPem }: { readonly certificatePem: string; readonly chainPem: string },
  roots: readonly Certificate[],
  now: Date,
): boolean {
  const leaf = onlyCertificate(leafPem);
  const issuers = certificates(chainPem);
  return roots.some((root) => {
    try {
      checkUnder(leaf, issuers, root, now);
      return true;
    } catch (error) {
      if (error instanceof FemtoError) return false;
      throw error;
    }
  });
}

function certificates(pem: unknown): Certificate[] {
  if (typeof pem !== 'string') return [];
  return pemBlocks(pem)
    .slice(0, CERTIFICATES_MAX)
    .map(({ der }) => readCertificate(der));
}
