import { closeSync, existsSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';

/**
 * A log file that is closed and numbered (`name.1` is the newest closed one) when it passes a size. One writer only. What is
 * written after its end is dropped: its number may be another file's by then.
 */
export class RotatingFile {
  readonly #path: string;
  readonly #rotateBytes: number;
  readonly #keepFiles: number;
  #descriptor: number | null;
  #bytes: number;

  constructor(path: string, options: { rotateBytes: number; keepFiles: number }) {
    this.#path = path;
    this.#rotateBytes = options.rotateBytes;
    this.#keepFiles = options.keepFiles;
    this.#descriptor = openSync(path, 'a', 0o600);
    this.#bytes = fstatSync(this.#descriptor).size;
  }

  write(text: string | Uint8Array): void {
    if (this.#descriptor === null) return;
    const bytes = typeof text === 'string' ? Buffer.from(text) : text;
    if (this.#bytes > 0 && this.#bytes + bytes.length > this.#rotateBytes)
      this.#descriptor = this.#next(this.#descriptor);
    writeSync(this.#descriptor, bytes);
    this.#bytes += bytes.length;
  }

  close(): void {
    if (this.#descriptor !== null) closeSync(this.#descriptor);
    this.#descriptor = null;
  }

  #next(full: number): number {
    closeSync(full);
    for (let number = this.#keepFiles - 1; number >= 1; number--) {
      if (existsSync(`${this.#path}.${number}`)) renameSync(`${this.#path}.${number}`, `${this.#path}.${number + 1}`);
    }
    renameSync(this.#path, `${this.#path}.1`);
    this.#bytes = 0;
    return openSync(this.#path, 'a', 0o600);
  }
}
