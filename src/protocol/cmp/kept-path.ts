import { asFemtoError } from '../../platform/errors.js';
import { type Certificate, readCertificate, verifyCertificateSignature } from '../../x509/certificate.js';

/**
 * What is kept of the certificates that a vendor's came with: those that signed it, one the other, up to and without the root.
 * Everything else may be junk that somebody put there on the way; nothing protects extraCerts.
 *
 * @param sent  DER, in any order
 * @returns DER, upwards; a few, and not large, whatever was sent
 */
export function keptPath(leaf: Certificate, sent: readonly Buffer[]): Buffer[] {
  const path: Certificate[] = [];
  let below = leaf;
  let octets = 0;
  while (path.length < CERTIFICATES_MAX) {
    const child = below;
    const signer = sent.map(readable).find((candidate) => candidate !== undefined && hasSigned(candidate, child));
    if (signer === undefined) break;
    octets += signer.der.length;
    if (octets > OCTETS_MAX) break;
    path.push(signer);
    below = signer;
  }
  return path.map(({ der }) => der);
}

function hasSigned({ subjectDer, issuerDer, spki }: Certificate, child: Certificate): boolean {
  const isRoot = subjectDer.equals(issuerDer);
  return !isRoot && subjectDer.equals(child.issuerDer) && verifyCertificateSignature(child, spki);
}

/** Undefined for what can be no step of a path. */
function readable(der: Buffer): Certificate | undefined {
  try {
    return readCertificate(der);
  } catch (thrown) {
    if (asFemtoError(thrown).code === 'INTERNAL') throw thrown;
    return undefined;
  }
}

/** Makers have one or two CAs between a unit and their root. */
const CERTIFICATES_MAX = 4;
const OCTETS_MAX = 12_288;
