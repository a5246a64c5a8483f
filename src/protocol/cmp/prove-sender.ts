import { createHash } from 'node:crypto';
import type { ProvedCredential, Unit } from '../../lifecycle/model/index.js';
import type { Tolerance } from '../../lifecycle/registry/index.js';
import { asFemtoError } from '../../platform/errors.js';
import { type Certificate, readCertificate } from '../../x509/certificate.js';
import {
  CmpFault,
  type MacAlgorithm,
  protectionOf,
  verifyMac,
  verifySignatureProtection,
} from '../../x509/cmp/index.js';
import { type CheckedMessage, isOpening } from './check-header.js';
import type { CmpDeps } from './cmp-deps.js';
import type { MacSender, Sender, SignedSender } from './sender.js';

/**
 * Rows 8 to 12 of RFC 9483 section 3.5: protection present, of a kind that may be, by a key that the header names, that holds,
 * and that we know. The value is checked before the trust: nothing is looked up, and no vendor chain judged, for a message
 * that its own certificate's key did not sign.
 *
 * @throws CmpFault badMessageCheck, wrongIntegrity, badAlg, signerNotTrusted; FemtoError as Enrolment.authenticate
 */
export async function proveSender(deps: CmpDeps, message: CheckedMessage, address: string): Promise<Sender> {
  const protection = protectionOf(message);
  switch (protection.kind) {
    case 'none':
      throw new CmpFault('badMessageCheck', 'the message is not protected');
    case 'mac':
      return proveMac(deps, message, protection.algorithm);
    case 'signature':
      return proveSignature(deps, message, address);
  }
}

async function proveSignature(deps: CmpDeps, message: CheckedMessage, address: string): Promise<SignedSender> {
  const { certificate, others, needs } = await protectingCertificate(deps, message);
  if (namedByNull(message, certificate)) needs.push('sender-null-dn');
  if (!verifySignatureProtection(message, certificate.spki)) {
    throw new CmpFault('badMessageCheck', 'the protection does not verify under the certificate in extraCerts');
  }
  const credential = await authenticate(deps, certificate, others, address);
  await checkTolerated(deps, credential.unit, needs);
  return {
    kind: 'signature',
    credential,
    unit: credential.unit,
    protectionKey: certificate.spki.spkiHash,
    certificateDer: certificate.der,
  };
}

interface Found {
  readonly certificate: Certificate;
  /** What else was sent. */
  readonly others: readonly Buffer[];
  /** What the unit's model must be allowed for this message to stand. */
  readonly needs: Tolerance[];
}

/** RFC 9483 section 3.3: the first of extraCerts. Others only where the unit's model is known not to manage that. */
async function protectingCertificate(deps: CmpDeps, message: CheckedMessage): Promise<Found> {
  const { extraCerts, senderKid } = message;
  const [first, ...rest] = extraCerts;
  if (first === undefined) return rememberedCertificate(deps, message);
  const certificate = readSent(first);
  if (isNamed(certificate, senderKid)) return { certificate, others: rest, needs: [] };
  for (const [index, der] of rest.entries()) {
    const other = readSent(der);
    if (other.ski === undefined || !isNamed(other, senderKid)) continue;
    const others = extraCerts.filter((_, at) => at !== index + 1);
    return { certificate: other, others, needs: ['extra-certs-any-order'] };
  }
  throw new CmpFault('badMessageCheck', 'senderKID is not the key identifier of the first certificate in extraCerts');
}

/** A later message of an exchange without its certificate: the one that opened the exchange is tried. */
async function rememberedCertificate(deps: CmpDeps, message: CheckedMessage): Promise<Found> {
  if (!isOpening(message.body.kind)) {
    for (const der of await deps.store.certificatesOf(deps.transactor.read, message.transactionId)) {
      const certificate = readCertificate(der);
      if (!isNamed(certificate, message.senderKid) || !verifySignatureProtection(message, certificate.spki)) continue;
      return { certificate, others: [], needs: ['extra-certs-absent'] };
    }
  }
  throw new CmpFault('badMessageCheck', 'extraCerts must begin with the certificate that protects the message');
}

/** senderKID is required where the certificate has a subjectKeyIdentifier, and is that (RFC 9483 section 3.1). */
function isNamed({ ski }: Certificate, senderKid: Buffer | undefined): boolean {
  return ski === undefined ? senderKid === undefined : senderKid?.equals(ski) === true;
}

/** @returns true where the sender is the empty name, which only some models may say */
function namedByNull({ sender }: CheckedMessage, { subjectDer }: Certificate): boolean {
  if (sender.kind === 'directoryName') {
    if (sender.nameDer.equals(subjectDer)) return false;
    if (sender.isNull) return true;
  }
  throw new CmpFault('badMessageCheck', 'the sender is not the subject of the certificate that protects the message');
}

async function authenticate(
  deps: CmpDeps,
  certificate: Certificate,
  others: readonly Buffer[],
  address: string,
): Promise<ProvedCredential> {
  const chain = await chainToTry(deps, certificate, others);
  try {
    return await deps.enrolment.authenticate({ der: certificate.der, chain, provedAt: new Date(0), address });
  } catch (thrown) {
    throw aboutTheSigner(thrown);
  }
}

/** In order, each certifying the one before; as it came where the unit's model is known to send it anyhow. */
async function chainToTry(
  deps: CmpDeps,
  certificate: Certificate,
  others: readonly Buffer[],
): Promise<readonly Buffer[]> {
  const ordered: Buffer[] = [];
  let below: Pick<Certificate, 'issuerDer'> = certificate;
  for (const der of others) {
    const above = readSent(der);
    if (!above.subjectDer.equals(below.issuerDer)) break;
    ordered.push(der);
    below = above;
  }
  if (ordered.length === others.length) return ordered;
  const tx = deps.transactor.read;
  const unit = await deps.registry.unitByVendorKey(tx, certificate.spki.spkiHash);
  if (unit === null) return ordered;
  const { tolerances } = await deps.registry.modelOf(tx, unit);
  return tolerances.has('extra-certs-any-order') ? others : ordered;
}

async function checkTolerated(deps: CmpDeps, unit: Unit, needs: readonly Tolerance[]): Promise<void> {
  if (needs.length === 0) return;
  const { tolerances } = await deps.registry.modelOf(deps.transactor.read, unit);
  const missing = needs.find((need) => !tolerances.has(need));
  if (missing !== undefined) throw new CmpFault('badMessageCheck', FAULT_UNLESS_TOLERATED[missing] ?? missing);
}

const FAULT_UNLESS_TOLERATED: Readonly<Partial<Record<Tolerance, string>>> = {
  'sender-null-dn': 'the sender must be the subject of the certificate that protects the message',
  'extra-certs-any-order': 'extraCerts must begin with the certificate that protects the message',
  'extra-certs-absent': 'extraCerts must carry the certificate that protects the message',
};

function readSent(der: Buffer): Certificate {
  try {
    return readCertificate(der);
  } catch (thrown) {
    throw aboutTheSigner(thrown);
  }
}

/** The codes of a bad request, said of the certificate that protects it. */
function aboutTheSigner(thrown: unknown): unknown {
  const { code, message, facts } = asFemtoError(thrown);
  if (code === 'KEY_WEAK') {
    return new CmpFault('signerNotTrusted', message, { facts: { ...facts, code }, cause: thrown });
  }
  if (code === 'BAD_REQUEST') {
    return new CmpFault('badDataFormat', 'a certificate in extraCerts cannot be read', { facts, cause: thrown });
  }
  return thrown;
}

/** A reference that nobody was given and a wrong secret are one answer. */
async function proveMac(deps: CmpDeps, message: CheckedMessage, algorithm: MacAlgorithm): Promise<MacSender> {
  if (!MAC_BODIES.has(message.body.kind)) {
    throw new CmpFault('wrongIntegrity', 'this kind of message is protected by a signature');
  }
  const reference = message.senderKid?.toString('latin1') ?? '';
  const known = REFERENCE.test(reference) ? await deps.factory.macSecret(reference) : null;
  const { protection } = message;
  if (
    known === null ||
    protection === undefined ||
    !verifyMac(algorithm, known.secret, message.protectedDer, protection)
  ) {
    throw new CmpFault('badMessageCheck', 'the MAC is wrong');
  }
  const { secret, unit } = known;
  const { macAllowed } = await deps.registry.modelOf(deps.transactor.read, unit);
  if (!macAllowed) throw new CmpFault('wrongIntegrity', 'messages of this model are protected by a signature');
  const protectionKey = createHash('sha256').update('femtopki-cmp-mac-reference').update(reference).digest();
  return { kind: 'mac', reference, secret, algorithm, unit, protectionKey };
}

/** A secret never renews, revokes or reads: it leads to a bootstrap certificate (rules 3.2). */
const MAC_BODIES: ReadonlySet<string> = new Set(['ir', 'cr', 'p10cr', 'certConf', 'pollReq']);
const REFERENCE = /^[A-Za-z0-9_-]{16,64}$/;
