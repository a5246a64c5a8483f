/**
 * The newest CRL signed for each CA, kept by the `ca` class and read by the `ocsp` class, which refuses `good` for a
 * serial on it. File `crl-<issuer>.bin` in the state directory:
 *
 *   "FPCRL1\0\0" │ u64 CRL number │ u64 thisUpdate, ms │ records of 20 bytes: serial magnitudes, left-padded, ascending
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
  /** Sorted records of {@link RECORD_BYTES}. */
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

export function listsSerial(crl: NewestCrl, serial: Buffer): boolean {
  const wanted = padded(serial);
  let low = 0;
  let high = crl.serials.length / RECORD_BYTES;
  while (low < high) {
    const middle = (low + high) >> 1;
    const order = crl.serials.compare(wanted, 0, RECORD_BYTES, middle * RECORD_BYTES, (middle + 1) * RECORD_BYTES);
    if (order === 0) return true;
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return false;
}

/** Sorted records from serials in the order of a CRL. Those of one CRL mostly come sorted already. */
export function sortedRecords(serials: readonly Buffer[]): Buffer {
  const records = serials.map(padded);
  const isSorted = records.every((record, index) => index === 0 || (records[index - 1]?.compare(record) ?? 0) <= 0);
  if (!isSorted) records.sort(Buffer.compare);
  return Buffer.concat(records);
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
