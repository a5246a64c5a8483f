import type { SignatureAlgorithm } from '../signature-algorithm.js';
import type { Spki } from '../spki.js';
import type { MacAlgorithm } from './mac-algorithm.js';
import type { PkiMessage } from './pki-message.js';

/** How a message says it is protected. */
export type ProtectionKind =
  | { readonly kind: 'none' }
  | { readonly kind: 'signature'; readonly algorithm: SignatureAlgorithm }
  | { readonly kind: 'mac'; readonly algorithm: MacAlgorithm };

export function protectionOf(message: PkiMessage): ProtectionKind {
  throw new Error(`not read yet: ${message.der.length} bytes`);
}

export function verifySignatureProtection(message: PkiMessage, spki: Spki): boolean {
  throw new Error(`not read yet: ${message.der.length} bytes ${spki.algorithm}`);
}
