import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { FemtoError } from '../errors.js';
import type { SignerRole } from '../signer.js';
import type { KeyClass } from './key-class.js';

/** sun_path holds 108 bytes with its closing NUL (unix(7)). */
const SOCKET_PATH_BYTES_MAX = 107;
const LONGEST_NAME = 'signer-audit-worker.sock';
/** File in the run directory that names the short directory, where the run directory itself is too deep. */
const POINTER = 'sockets-dir';

export function signerSocketPath(runDir: string, keyClass: KeyClass, role: SignerRole): string {
  return join(socketsDir(runDir), `signer-${keyClass}-${role}.sock`);
}

/**
 * Where sockets live: the run directory, or a short private directory it points to. Read at every connect, so a client
 * started before the signer finds the place once it exists.
 */
export function socketsDir(runDir: string): string {
  const direct = resolve(runDir);
  if (Buffer.byteLength(join(direct, LONGEST_NAME)) <= SOCKET_PATH_BYTES_MAX) return direct;
  const pointer = join(direct, POINTER);
  return existsSync(pointer) ? readFileSync(pointer, 'utf8').trim() : direct;
}

/** Makes the sockets' directory: the signer's parent process calls this once before anyone listens. */
export function prepareSocketsDir(runDir: string): string {
  mkdirSync(runDir, { recursive: true, mode: 0o750 });
  const direct = resolve(runDir);
  const known = socketsDir(direct);
  if (Buffer.byteLength(join(known, LONGEST_NAME)) <= SOCKET_PATH_BYTES_MAX && existsSync(known)) {
    if (known !== direct) checkPrivate(known);
    return known;
  }
  const made = mkdtempSync(join(tmpdir(), 'femtopki-'));
  chmodSync(made, 0o750);
  writeFileSync(join(direct, `${POINTER}.new`), `${made}\n`);
  renameSync(join(direct, `${POINTER}.new`), join(direct, POINTER));
  return made;
}

/** Someone else's directory under a shared /tmp would let its owner swap our sockets. */
function checkPrivate(directory: string): void {
  const found = statSync(directory);
  if (found.uid !== (process.getuid?.() ?? found.uid) || (found.mode & 0o007) !== 0) {
    throw new FemtoError(
      'INTERNAL',
      `The sockets directory ${directory} is not private; remove run/${POINTER} and start again.`,
    );
  }
}
