import { readFileSync, statSync } from 'node:fs';
import { FemtoError } from '../errors.js';

/** PKCS#11 tokens take at most 255 bytes; a longer file is not a PIN. */
const PIN_BYTES_MAX = 255;

/**
 * Reads a PIN. The message never holds the value.
 * @throws FemtoError INTERNAL when the file is missing, empty, or readable by anyone but its owner
 */
export function readPinFile(path: string): string {
  let mode: number;
  let text: string;
  try {
    mode = statSync(path).mode;
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new FemtoError('INTERNAL', `The PIN file ${path} cannot be read; put it there with mode 0600.`, { cause });
  }
  if ((mode & 0o077) !== 0) {
    throw new FemtoError('INTERNAL', `The PIN file ${path} is readable by others; run chmod 600 on it.`);
  }
  const pin = text.replace(/\r?\n$/, '');
  if (pin.length === 0 || Buffer.byteLength(pin) > PIN_BYTES_MAX) {
    throw new FemtoError('INTERNAL', `The PIN file ${path} must hold one line of 1 to ${PIN_BYTES_MAX} bytes.`);
  }
  return pin;
}
