import { FemtoError } from '../../platform/errors.js';
import { checkKeyAttributes } from '../../platform/hsm/check-key-attributes.js';
import type { HierarchyEntry } from '../../platform/hsm/hierarchy.js';
import type { CeremonySession, TokenKey } from '../../platform/hsm/token.js';
import { type Certificate, readCertificate } from '../../x509/certificate.js';
import { pemBlocks } from '../../x509/pem.js';

/** A root in its open token, for signing. @throws FemtoError STATE_CONFLICT for another token's key; KeyRefusal */
export function rootInToken(
  session: CeremonySession,
  root: HierarchyEntry,
): { readonly certificate: Certificate; readonly key: TokenKey } {
  const key = session.key(root.keyLabel);
  checkKeyAttributes(key);
  if (key.spki.toString('hex') !== root.spkiHex) {
    throw new FemtoError(
      'STATE_CONFLICT',
      `The key in ${root.tokenLabel} is not that of ${root.label}; use its token.`,
    );
  }
  return { certificate: certificateOf(root), key };
}

export function certificateOf({ label, certificatePem }: HierarchyEntry): Certificate {
  const [block] = pemBlocks(certificatePem);
  if (!block) throw new FemtoError('INTERNAL', `hierarchy.json has no certificate of ${label}; restore the file.`);
  return readCertificate(block.der);
}
