import type { DetailedPeerCertificate, TLSSocket } from 'node:tls';
import { FemtoError } from '../platform/errors.js';
import { type Certificate, readCertificate, verifyCertificateSignature } from '../x509/certificate.js';
import { OID } from '../x509/oids.js';
import { pemBlocks } from '../x509/pem.js';

/** The roots that were put into the unit at the factory. */
export interface Pins {
  readonly servicesRoot: Certificate;
  readonly accessRoot: Certificate;
}

export function readPins(pem: { readonly servicesRootPem: string; readonly accessRootPem: string }): Pins {
  return { servicesRoot: onlyCertificate(pem.servicesRootPem), accessRoot: onlyCertificate(pem.accessRootPem) };
}

export function onlyCertificate(pem: string): Certificate {
  const [block] = pemBlocks(pem);
  if (block === undefined)
    throw new FemtoError('BAD_REQUEST', 'There is no certificate in the file; provision it anew.');
  return readCertificate(block.der);
}

/**
 * Is this our server? The unit's own check, because OpenSSL's reads the system's clock, and a unit that woke up in 1970
 * has a better one: the signed time of the network.
 *
 * @param hostname  the name in the URL; must be a dNSName of the certificate
 * @throws FemtoError UNKNOWN_ISSUER | CERT_EXPIRED | ID_MISMATCH
 */
export function checkServer(socket: TLSSocket, pins: Pins, hostname: string, now: Date): void {
  const [leaf, ...issuers] = chainOf(socket.getPeerCertificate(true));
  if (leaf === undefined)
    throw new FemtoError('UNKNOWN_ISSUER', 'The server showed no certificate; check its address.');
  checkUnder(leaf, issuers, pins.servicesRoot, now);
  if (!leaf.ekus.includes(OID.serverAuth) || !leaf.sanDns.includes(hostname.toLowerCase())) {
    throw new FemtoError('ID_MISMATCH', `The server is not ${hostname}; check its address.`);
  }
}

/** Leaf, exactly one CA, pinned root: our hierarchy has no other shape. */
export function checkUnder(leaf: Certificate, issuers: readonly Certificate[], root: Certificate, now: Date): void {
  const ca = issuers.find(
    (candidate) =>
      candidate.isCa &&
      candidate.subjectDer.equals(leaf.issuerDer) &&
      candidate.issuerDer.equals(root.subjectDer) &&
      verifyCertificateSignature(candidate, root.spki) &&
      verifyCertificateSignature(leaf, candidate.spki),
  );
  if (ca === undefined || leaf.isCa) {
    throw new FemtoError('UNKNOWN_ISSUER', 'The certificate does not lead to the pinned root; check the server.');
  }
  for (const { notBefore, notAfter } of [leaf, ca, root]) {
    if (now < notBefore || now > notAfter) {
      throw new FemtoError('CERT_EXPIRED', 'The certificate is not valid at this time; ask the network for the time.');
    }
  }
}

const CHAIN_MAX = 5;

function chainOf(peer: DetailedPeerCertificate): Certificate[] {
  const chain: Certificate[] = [];
  for (
    let at: DetailedPeerCertificate | undefined = peer;
    at?.raw && chain.length < CHAIN_MAX;
    at = at.issuerCertificate
  ) {
    if (chain.some(({ der }) => der.equals(at?.raw ?? Buffer.alloc(0)))) break; // a root is its own issuer
    chain.push(readCertificate(at.raw));
  }
  return chain;
}
