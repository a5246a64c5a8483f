import type { ProvedCredential, Unit } from '../../lifecycle/model/index.js';
import type { Tolerance } from '../../lifecycle/registry/index.js';
import { asFemtoError } from '../../platform/errors.js';
import type { Certificate } from '../../x509/certificate.js';
import { CmpFault, protectionOf, verifySignatureProtection } from '../../x509/cmp/index.js';
import type { CheckedMessage } from './check-header.js';
import type { CmpDeps } from './cmp-deps.js';
import { type Found, ofThisExchange, protectingCertificate } from './protecting-certificate.js';
import { proveMac } from './prove-mac.js';
import type { MacSender, Sender } from './sender.js';

/** A protection that holds. Of a signature it is not known yet whether its key is one that we know. */
export type HeldProtection =
  | { readonly kind: 'mac'; readonly protectionKey: Buffer; readonly sender: MacSender }
  | { readonly kind: 'signature'; readonly protectionKey: Buffer; readonly found: Found };

/**
 * Rows 8 to 11 of RFC 9483 section 3.5: protection present, of a kind that may be, by a key that the header names, that
 * holds. The value is checked before the trust: no vendor chain is judged, no unit asked about, no exchange looked for, for a
 * message that the key of its certificate did not sign.
 *
 * @throws CmpFault badMessageCheck, wrongIntegrity, badAlg, signerNotTrusted
 */
export async function proveProtection(deps: CmpDeps, message: CheckedMessage): Promise<HeldProtection> {
  const protection = protectionOf(message);
  switch (protection.kind) {
    case 'none':
      throw new CmpFault('badMessageCheck', 'the message is not protected');
    case 'mac': {
      const sender = await proveMac(deps, message, protection.algorithm);
      return { kind: 'mac', protectionKey: sender.protectionKey, sender };
    }
    case 'signature':
      return proveSignature(deps, message);
  }
}

async function proveSignature(deps: CmpDeps, message: CheckedMessage): Promise<HeldProtection> {
  const found = await protectingCertificate(deps, message).catch(aboutTheSigner);
  const { certificate, needs } = found;
  const isNameless = namedByNull(message, certificate);
  if (!verifySignatureProtection(message, certificate.spki)) {
    throw new CmpFault('badMessageCheck', 'the protection does not verify under the certificate that is named for it');
  }
  return {
    kind: 'signature',
    protectionKey: certificate.spki.spkiHash,
    found: isNameless ? { ...found, needs: [...needs, 'sender-null-dn'] } : found,
  };
}

/**
 * Row 12: whose the key is that protects the message.
 *
 * @throws CmpFault signerNotTrusted, badMessageCheck; FemtoError as Enrolment.authenticate
 */
export async function proveSender(
  deps: CmpDeps,
  message: CheckedMessage,
  held: HeldProtection,
  address: string,
): Promise<Sender> {
  if (held.kind === 'mac') return held.sender;
  const { found, protectionKey } = held;
  const credential = await authenticate(deps, message, found, address).catch(aboutTheSigner);
  await checkTolerated(deps, credential.unit, found.needs);
  return { kind: 'signature', credential, unit: credential.unit, protectionKey, chain: found.others };
}

/** A later message may come with its certificate and without the CAs that its exchange was opened with. */
async function authenticate(
  deps: CmpDeps,
  message: CheckedMessage,
  { certificate: { der }, others }: Found,
  address: string,
): Promise<ProvedCredential> {
  const presented = (chain: readonly Buffer[]) =>
    deps.enrolment.authenticate({ der, chain, provedAt: new Date(0), address });
  try {
    return await presented(others);
  } catch (thrown) {
    if (asFemtoError(thrown).code !== 'UNKNOWN_ISSUER' || others.length > 0) throw thrown;
    const opened = (await ofThisExchange(deps, message)).find((seen) => seen.der.equals(der));
    if (opened === undefined || opened.others.length === 0) throw thrown;
    return presented(opened.others);
  }
}

/** @returns true where the sender is the empty name, which only some models may say */
function namedByNull({ sender }: CheckedMessage, { subjectDer }: Certificate): boolean {
  if (sender.kind === 'directoryName') {
    if (sender.nameDer.equals(subjectDer)) return false;
    if (sender.isNull) return true;
  }
  throw new CmpFault('badMessageCheck', 'the sender is not the subject of the certificate that protects the message');
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

/** The codes of a bad request, said of the certificate that protects it. */
function aboutTheSigner(thrown: unknown): never {
  const { code, message, facts } = asFemtoError(thrown);
  if (code === 'KEY_WEAK') {
    throw new CmpFault('signerNotTrusted', message, { facts: { ...facts, code }, cause: thrown });
  }
  if (code === 'BAD_REQUEST') {
    throw new CmpFault('badDataFormat', 'a certificate in extraCerts cannot be read', { facts, cause: thrown });
  }
  throw thrown;
}
