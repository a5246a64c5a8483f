import { exposedKeys } from '../x509/exposed-key.js';
import type { Core } from './wire-core.js';

/** Blocks for ever each private key that a unit sent us (KEY-6), whichever protocol carried it. */
export function keyBlocker({ revocation }: Core): (upload: string | Buffer, actor: string) => Promise<void> {
  return async (upload, actor) => {
    for (const spkiHash of exposedKeys(typeof upload === 'string' ? Buffer.from(upload, 'utf8') : upload)) {
      const note = 'the private key was sent in a request of a unit';
      await revocation.blockKey({ spkiHash, actor, personId: null, note, source: 'upload' });
    }
  };
}
