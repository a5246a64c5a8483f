import { TAG } from '../der.js';
import { oidValue, readDer } from '../der-reader.js';
import { type SignatureAlgorithm, verifySignature } from '../signature-algorithm.js';
import type { Spki } from '../spki.js';
import { CmpFault, faultAs } from './cmp-fault.js';
import { cmpSignatureAlgorithmOf } from './cmp-signature-algorithm.js';
import { isMacAlgorithm, type MacAlgorithm, readMacAlgorithm } from './mac-algorithm.js';
import type { PkiMessage } from './pki-message.js';

/** How a message says it is protected. Nothing is verified yet. */
export type ProtectionKind =
  | { readonly kind: 'none' }
  | { readonly kind: 'signature'; readonly algorithm: SignatureAlgorithm }
  | { readonly kind: 'mac'; readonly algorithm: MacAlgorithm };

/**
 * @throws CmpFault badMessageCheck where only one of protectionAlg and protection is there; badAlg where the algorithm is
 *   one we refuse
 * @see RFC 9810 section 5.1.3
 */
export function protectionOf({ protectionAlgDer, protection }: PkiMessage): ProtectionKind {
  if (protectionAlgDer === undefined && protection === undefined) return { kind: 'none' };
  if (protectionAlgDer === undefined || protection === undefined) {
    throw new CmpFault('badMessageCheck', 'The message has one of protectionAlg and protection without the other.');
  }
  const algorithm = cmpSignatureAlgorithmOf(protectionAlgDer);
  if (algorithm !== undefined) return { kind: 'signature', algorithm };
  const id = faultAs('badAlg', () =>
    oidValue(readDer(protectionAlgDer, TAG.SEQUENCE, 'protectionAlg').expect(TAG.OID).content, 'protectionAlg'),
  );
  if (isMacAlgorithm(id)) return { kind: 'mac', algorithm: readMacAlgorithm(protectionAlgDer) };
  throw new CmpFault('badAlg', 'The message is protected with an algorithm we refuse; use ecdsa-with-SHA256.', {
    facts: { algorithm: id },
  });
}

/**
 * Does this key's signature protect the message? Checked over the bytes received. False too where the message is not
 * signed, or by an algorithm that is not the key's.
 */
export function verifySignatureProtection(message: PkiMessage, spki: Spki): boolean {
  const { protectionAlgDer, protection, protectedDer } = message;
  if (protectionAlgDer === undefined || protection === undefined) return false;
  const algorithm = cmpSignatureAlgorithmOf(protectionAlgDer);
  return algorithm !== undefined && verifySignature(algorithm, protectedDer, spki, protection);
}
