import type { Unit } from '../../lifecycle/model/index.js';
import type { Tolerance } from '../../lifecycle/registry/index.js';
import { asFemtoError } from '../../platform/errors.js';
import type { Certificate } from '../../x509/certificate.js';
import { CmpFault, verifySignatureProtection } from '../../x509/cmp/index.js';
import { nameAttributes, onlyAttribute } from '../../x509/distinguished-name.js';
import { OID } from '../../x509/oids.js';
import { rememberedCertificate } from '../../x509/remembered-certificate.js';
import { type CheckedMessage, isOpening } from './check-header.js';
import type { CmpDeps } from './cmp-deps.js';
import type { SeenCertificate } from './transaction-store.js';

export interface Found {
  readonly certificate: Certificate;
  /** What it came with, DER. */
  readonly others: readonly Buffer[];
  /** What the unit's model must be allowed for this message to stand. */
  readonly needs: readonly Tolerance[];
}

/**
 * Which certificate a message says it is protected by: the first of extraCerts, which senderKID names. A later message of an
 * exchange may leave extraCerts out; then it is the one that opened the exchange. Everything else is for models whose
 * firmware cannot do that.
 *
 * @throws FemtoError as readCertificate; CmpFault badMessageCheck
 * @see RFC 9483 sections 3.1 and 3.3
 */
export async function protectingCertificate(deps: CmpDeps, message: CheckedMessage): Promise<Found> {
  const { extraCerts, senderKid } = message;
  const [first, ...others] = extraCerts;
  if (first === undefined) return certificateOnRecord(deps, message);
  const certificate = rememberedCertificate(first);
  if (isNamed(certificate, senderKid)) return { certificate, others, needs: [] };
  const later = others.map(readable).find((other) => other?.ski !== undefined && isNamed(other, senderKid));
  if (later === undefined) {
    throw new CmpFault('badMessageCheck', 'senderKID is not the key identifier of the first certificate in extraCerts');
  }
  const rest = extraCerts.filter((der) => !der.equals(later.der));
  return { certificate: later, others: rest, needs: ['extra-certs-any-order'] };
}

/** Of the certificates that it could be, the one whose key made the protection. */
async function certificateOnRecord(deps: CmpDeps, message: CheckedMessage): Promise<Found> {
  const opens = isOpening(message.body.kind);
  for (const { der, others } of await (opens ? seenBefore(deps, message) : ofThisExchange(deps, message))) {
    const certificate = rememberedCertificate(der);
    if (!isNamed(certificate, message.senderKid) || !verifySignatureProtection(message, certificate.spki)) continue;
    return { certificate, others, needs: opens ? ['extra-certs-absent'] : [] };
  }
  throw new CmpFault('badMessageCheck', 'extraCerts must begin with the certificate that protects the message');
}

/** Certificates that its exchange was opened with; none for a message that opens one. */
export async function ofThisExchange(
  deps: CmpDeps,
  { body, transactionId, senderKid }: CheckedMessage,
): Promise<SeenCertificate[]> {
  if (isOpening(body.kind)) return [];
  return deps.store.openedWith(deps.transactor.read, { transactionId, keyIdentifier: senderKid ?? null });
}

/**
 * By the sender's name, the unit's own; by senderKID, a vendor's that opened an exchange in these weeks. Anybody can ask for
 * this, so nothing is looked for that its unit's model may not have, and there is little to try afterwards.
 */
async function seenBefore(deps: CmpDeps, { sender, senderKid }: CheckedMessage): Promise<SeenCertificate[]> {
  if (senderKid === undefined) return [];
  const tx = deps.transactor.read;
  const name = sender.kind === 'directoryName' ? commonNameOf(sender.nameDer) : undefined;
  const unit = name === undefined ? null : await deps.registry.unitByFqdn(tx, name);
  if (unit !== null) {
    if (!(await mayLeaveOut(deps, unit))) return [];
    const own = await deps.certificatesOf(unit.id, senderKid);
    if (own.length > 0) return own.map((der) => ({ der, others: [] }));
  }
  return vendorsBefore(deps, senderKid);
}

async function vendorsBefore(deps: CmpDeps, senderKid: Buffer): Promise<SeenCertificate[]> {
  const tx = deps.transactor.read;
  const found: SeenCertificate[] = [];
  for (const seen of await deps.store.vendorCertificates(tx, senderKid)) {
    if (found.some(({ der }) => der.equals(seen.der))) continue;
    const unit = await deps.registry.unitByVendorKey(tx, rememberedCertificate(seen.der).spki.spkiHash);
    if (unit !== null && (await mayLeaveOut(deps, unit))) found.push(seen);
  }
  return found;
}

async function mayLeaveOut(deps: CmpDeps, unit: Unit): Promise<boolean> {
  return (await deps.registry.modelOf(deps.transactor.read, unit)).tolerances.has('extra-certs-absent');
}

/** senderKID is required where the certificate has a subjectKeyIdentifier, and is that (RFC 9483 section 3.1). */
function isNamed({ ski }: Certificate, senderKid: Buffer | undefined): boolean {
  return ski === undefined ? senderKid === undefined : senderKid?.equals(ski) === true;
}

/** Undefined for a name that is none of ours. */
function commonNameOf(nameDer: Buffer): string | undefined {
  return unlessUnreadable(() => onlyAttribute(nameAttributes(nameDer, 'sender'), OID.commonName, 'sender'));
}

/** Undefined for what protects nothing here: form, or a key that we would refuse. */
function readable(der: Buffer): Certificate | undefined {
  return unlessUnreadable(() => rememberedCertificate(der));
}

function unlessUnreadable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (thrown) {
    if (asFemtoError(thrown).code === 'INTERNAL') throw thrown;
    return undefined;
  }
}
