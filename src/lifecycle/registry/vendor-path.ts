import { asFemtoError } from '../../platform/errors.js';
import { type Certificate, readCertificate, verifyCertificateSignature } from '../../x509/certificate.js';

/** As many as a CMP message may carry (RFC 9483 says nothing; two or three are usual). */
const SENT_MAX = 20;
/** CAs between a unit and its root. */
const PATH_MAX = 8;

export interface PathMaterial {
  readonly leaf: Certificate;
  /** What the caller sent beside the leaf, DER, as it came. */
  readonly sent: readonly Buffer[];
  /** CAs that the operator registered with the anchor, DER. */
  readonly registered: readonly Buffer[];
  /** False: what was sent counts only as far as each certificate is the issuer of the one before (RFC 9483 section 3.3). */
  readonly anyOrder: boolean;
}

/**
 * A sieve before the judge: of all CA certificates at hand those from which a path could be made, each proved by name and
 * signature to have signed the leaf or one that was picked before. It only throws away, so that junk sent along costs no
 * process and changes no cache key; whether the path is good is the judge's answer.
 */
export function pathTo({ leaf, sent, registered, anyOrder }: PathMaterial): Certificate[] {
  const candidates = sent.slice(0, SENT_MAX).flatMap(readable);
  // A root that is sent along adds nothing: the judge believes its own copy.
  const usable = [...(anyOrder ? candidates : inOrder(leaf, candidates)), ...registered.flatMap(readable)].filter(
    ({ subjectDer, issuerDer }) => !subjectDer.equals(issuerDer),
  );
  const picked = new Map<string, Certificate>();
  let frontier = [leaf];
  while (frontier.length > 0 && picked.size < PATH_MAX) {
    const next = usable.filter(
      (issuer) => !picked.has(issuer.fingerprint) && frontier.some((child) => hasSigned(issuer, child)),
    );
    for (const issuer of next) picked.set(issuer.fingerprint, issuer);
    frontier = next;
  }
  return [...picked.values()].slice(0, PATH_MAX);
}

/** Name and signature of one step. */
export function hasSigned(issuer: Certificate, child: Certificate): boolean {
  return (
    issuer.subjectDer.equals(child.issuerDer) &&
    issuer.fingerprint !== child.fingerprint &&
    verifyCertificateSignature(child, issuer.spki)
  );
}

/** The beginning of the list that reads upwards. */
function inOrder(leaf: Certificate, sent: readonly Certificate[]): Certificate[] {
  let below = leaf;
  const broken = sent.findIndex((certificate) => {
    const isNext = certificate.subjectDer.equals(below.issuerDer);
    below = certificate;
    return !isNext;
  });
  return broken === -1 ? [...sent] : sent.slice(0, broken);
}

/** What we cannot read, or must not believe (SHA-1), can be no step of a path; the judge then finds none. */
function readable(der: Buffer): Certificate[] {
  try {
    return [readCertificate(der)];
  } catch (thrown) {
    if (asFemtoError(thrown).code === 'INTERNAL') throw thrown;
    return [];
  }
}
