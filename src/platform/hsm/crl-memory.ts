/**
 * The newest CRL signed for each CA, kept by the `ca` class and read by the `ocsp` class, which refuses `good` for a
 * serial on it. File `crl-<issuer>.bin` in the state directory:
 *
 *   "FPCRL1\0\0" │ u64 CRL number │ u64 thisUpdate, ms │ records of 20 bytes: serial magnitudes, left-padded, as in the CRL
 */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { writeDurably } from './durable-file.js';

const MAGIC = Buffer.from('FPCRL1\0\0', 'latin1');
const HEAD_BYTES = 24;
/** RFC 5280 section 4.1.2.2: a serial has at most 20 octets. */
export const RECORD_BYTES = 20;

export interface NewestCrl {
  readonly number: bigint;
  readonly thisUpdateMs: number;
  /** Records of {@link RECORD_BYTES}. */
  readonly serials: Buffer;
}

export function writeNewestCrl(stateDir: string, issuerLabel: string, crl: NewestCrl): void {
  const head = Buffer.alloc(HEAD_BYTES);
  MAGIC.copy(head);
  head.writeBigUInt64BE(crl.number, 8);
  head.writeBigUInt64BE(BigInt(crl.thisUpdateMs), 16);
  writeDurably(fileOf(stateDir, issuerLabel), Buffer.concat([head, crl.serials]));
}

/** Reads again only when the file has changed. One reader a process. */
export class NewestCrlReader {
  private readonly known = new Map<string, { stamp: string; crl: NewestCrl | undefined }>();

  constructor(private readonly stateDir: string) {}

  /**
   * Undefined: none was signed yet.
   * @throws Error when the file is there but is not one: then nobody knows what is revoked, and nothing may be `good`
   */
  newest(issuerLabel: string): NewestCrl | undefined {
    const path = fileOf(this.stateDir, issuerLabel);
    const found = statSync(path, { throwIfNoEntry: false });
    // The inode too: two CRLs within one tick of the file system's clock still differ, because each is a new file.
    const stamp = found ? `${found.ino}:${found.mtimeMs}:${found.size}` : 'none';
    const known = this.known.get(issuerLabel);
    if (known?.stamp === stamp) return known.crl;
    const crl = found ? parse(readFileSync(path), path) : undefined;
    this.known.set(issuerLabel, { stamp, crl });
    return crl;
  }
}

/** Is the serial on the list? By an index made once a list: sorting a million serials would block the signer for seconds. */
export function listsSerial(crl: NewestCrl, serial: Buffer): boolean {
  const wanted = padded(serial);
  const index = indexOf(crl);
  for (let slot = slotOf(wanted, 0, index.length); ; slot = (slot + 1) % index.length) {
    const position = index[slot] ?? 0;
    if (position === 0) return false;
    const start = (position - 1) * RECORD_BYTES;
    if (crl.serials.compare(wanted, 0, RECORD_BYTES, start, start + RECORD_BYTES) === 0) return true;
  }
}

const indexes = new WeakMap<NewestCrl, Uint32Array>();

/** Open addressing, at most half full: record number + 1, 0 = free. */
function indexOf(crl: NewestCrl): Uint32Array {
  const known = indexes.get(crl);
  if (known) return known;
  const count = crl.serials.length / RECORD_BYTES;
  const index = new Uint32Array(2 * count + 1);
  for (let record = 0; record < count; record += 1) {
    let slot = slotOf(crl.serials, record * RECORD_BYTES, index.length);
    while (index[slot] !== 0) slot = (slot + 1) % index.length;
    index[slot] = record + 1;
  }
  indexes.set(crl, index);
  return index;
}

/** The end of a serial of ours is random, drawn by us: nobody can choose it to make long chains. */
function slotOf(bytes: Buffer, start: number, slots: number): number {
  return bytes.readUInt32BE(start + RECORD_BYTES - 4) % slots;
}

function padded(serial: Buffer): Buffer {
  if (serial.length === RECORD_BYTES) return serial;
  const record = Buffer.alloc(RECORD_BYTES);
  serial.copy(record, RECORD_BYTES - serial.length);
  return record;
}

function parse(bytes: Buffer, path: string): NewestCrl {
  if (
    bytes.length < HEAD_BYTES ||
    !bytes.subarray(0, 8).equals(MAGIC) ||
    (bytes.length - HEAD_BYTES) % RECORD_BYTES !== 0
  ) {
    throw new Error(`${path} is damaged; let the worker publish a new CRL before OCSP goes on`);
  }
  return {
    number: bytes.readBigUInt64BE(8),
    thisUpdateMs: Number(bytes.readBigUInt64BE(16)),
    serials: bytes.subarray(HEAD_BYTES),
  };
}

function fileOf(stateDir: string, issuerLabel: string): string {
  return join(stateDir, `crl-${issuerLabel}.bin`);
}
