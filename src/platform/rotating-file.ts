import { closeSync, existsSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';

/** A log file that is closed and numbered (`name.1` is the newest closed one) when it passes a size. One writer only. */
export class RotatingFile {
  readonly #path: string;
  readonly #rotateBytes: number;
  readonly #keepFiles: number;
  #descriptor: number;
  #bytes: number;

  constructor(path: string, options: { rotateBytes: number; keepFiles: number }) {
    this.#path = path;
    this.#rotateBytes = options.rotateBytes;
    this.#keepFiles = options.keepFiles;
    this.#descriptor = openSync(path, 'a', 0o600);
    this.#bytes = fstatSync(this.#descriptor).size;
  }

  write(text: string | Uint8Array): void {
    const bytes = typeof text === 'string' ? Buffer.from(text) : text;
    if (this.#bytes > 0 && this.#bytes + bytes.length > this.#rotateBytes) this.#rotate();
    writeSync(this.#descriptor, bytes);
    this.#bytes += bytes.length;
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  #rotate(): void {
    closeSync(this.#descriptor);
    for (let number = this.#keepFiles - 1; number >= 1; number--) {
      if (existsSync(`${this.#path}.${number}`)) renameSync(`${this.#path}.${number}`, `${this.#path}.${number + 1}`);
    }
    renameSync(this.#path, `${this.#path}.1`);
    this.#descriptor = openSync(this.#path, 'a', 0o600);
    this.#bytes = 0;
  }
}
