import type { RandomBytes } from '../platform/clock.js';
import { FemtoError } from '../platform/errors.js';

/**
 * Our serial numbers: `01 ‖ u32 big-endian hours since 1970 ‖ 11 random bytes`. The first octet keeps the INTEGER
 * positive, minimal and of one length; the hour tells a reader of stale state that a serial is newer than what it
 * knows (rules sections 5.4 and 6.1); 88 random bits are above the 64 that the baseline of 2019 was missed by.
 */
export const SERIAL_BYTES = 16;
const SERIAL_LEAD = 0x01;
const RANDOM_BYTES = 11;
const HOUR_MS = 3_600_000;

/**
 * @param now     the issuing clock's instant
 * @param random  must give exactly the bytes asked for; anything else throws INTERNAL rather than issue a short serial
 */
export function newSerial(now: Date, random: RandomBytes): Buffer {
  const serial = Buffer.alloc(SERIAL_BYTES);
  serial[0] = SERIAL_LEAD;
  serial.writeUInt32BE(Math.floor(now.getTime() / HOUR_MS), 1);
  const bytes = random(RANDOM_BYTES);
  if (bytes.length !== RANDOM_BYTES) {
    throw new FemtoError('INTERNAL', 'The random source gave the wrong number of bytes; check it before issuing on.');
  }
  bytes.copy(serial, SERIAL_BYTES - RANDOM_BYTES);
  return serial;
}

/** Lowercase hex, no separators: how a serial is written in the ledger, in logs and for people. */
export function serialHex(serial: Buffer): string {
  return serial.toString('hex');
}

/** Start of the hour in which a serial of our shape was drawn: it cannot have been issued before. */
export function serialIssuedAfter(serial: Buffer): Date {
  if (!isOurSerialShape(serial)) {
    throw new FemtoError('BAD_REQUEST', 'The serial number is not of our shape; ask isOurSerialShape first.');
  }
  return new Date(serial.readUInt32BE(1) * HOUR_MS);
}

/** Says nothing about who issued it: any CA may draw such a number. */
export function isOurSerialShape(serial: Buffer): boolean {
  return serial.length === SERIAL_BYTES && serial[0] === SERIAL_LEAD;
}
