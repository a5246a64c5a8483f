/**
 * The marker of a refused PIN. Real HSMs wipe themselves after a few wrong PINs, and a supervisor that restarts us would
 * spend them in seconds: so while this file is there nobody logs in, over restarts too. A person corrects the PIN file
 * and removes the marker; `femtopki doctor` shows it.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeDurably } from './durable-file.js';
import type { KeyClass } from './key-class.js';

export interface PinRefusal {
  readonly at: string;
  readonly keyClass: KeyClass;
  readonly tokenLabel: string;
  /** CK_RV in hex: a0 incorrect, a3 expired, a4 locked. */
  readonly rv: string;
  readonly nextStep: string;
}

export class PinMarker {
  readonly path: string;

  constructor(stateDir: string) {
    this.path = join(stateDir, 'pin-refused.json');
  }

  get isSet(): boolean {
    return existsSync(this.path);
  }

  read(): PinRefusal | undefined {
    return this.isSet ? (JSON.parse(readFileSync(this.path, 'utf8')) as PinRefusal) : undefined;
  }

  set(refusal: Omit<PinRefusal, 'nextStep'>): void {
    const nextStep = `Put the right PIN into the PIN file (ask the token's SO when the token is locked), then remove ${this.path}.`;
    writeDurably(this.path, `${JSON.stringify({ ...refusal, nextStep }, null, 2)}\n`);
  }
}
