import type { PkiMessage } from './pki-message.js';

export function readPkiMessage(der: Buffer): PkiMessage {
  throw new Error(`not read yet: ${der.length} bytes`);
}
