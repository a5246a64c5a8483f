import { MinuteBudget } from '../platform/minute-budget.js';
import { exposedKeys } from '../x509/exposed-key.js';
import type { Core } from './wire-core.js';

/** More private keys of one unit in one minute are no accident: each costs a row and an entry for ever. */
const KEYS_A_MINUTE = 10;

/** Blocks the keys whose private halves came with an upload (KEY-6). Every one of them is unsafe from now on. */
export function keyBlocker({ revocation, clock }: Core): (upload: string | Buffer, actor: string) => Promise<void> {
  const budget = new MinuteBudget(KEYS_A_MINUTE);
  return async (upload, actor) => {
    const spkiHashes = exposedKeys(typeof upload === 'string' ? Buffer.from(upload, 'utf8') : upload).filter(() =>
      budget.take(actor, clock.now()),
    );
    if (spkiHashes.length === 0) return;
    const note = 'the private key was sent in a request of a unit';
    await revocation.blockKeys({ spkiHashes, actor, personId: null, note, source: 'upload' });
  };
}
