import { lengthBytes, TAG, writeLength } from './der.js';

/**
 * Writes DER from its last octet to its first into one buffer that is used again and again: each length is known when its
 * header is written, and nothing is copied twice. For what is built thousands of times a second; elsewhere der.ts reads
 * better.
 */
export class DerWriter {
  private readonly buffer: Buffer;
  private at: number;

  /** @param bytesMax  more than the largest thing written; beyond it every method throws RangeError */
  constructor(bytesMax: number) {
    this.buffer = Buffer.allocUnsafeSlow(bytesMax);
    this.at = bytesMax;
  }

  /** Forgets what was written. */
  restart(): this {
    this.at = this.buffer.length;
    return this;
  }

  /** Where the first octet written so far lies: what {@link wrap} takes as the end of its content. */
  get position(): number {
    return this.at;
  }

  bytes(bytes: Uint8Array): void {
    this.room(bytes.length);
    this.buffer.set(bytes, this.at);
  }

  byte(value: number): void {
    this.room(1);
    this.buffer[this.at] = value;
  }

  /** Puts tag and length before everything that was written since `end`. */
  wrap(tag: number, end: number): void {
    const contentBytes = end - this.at;
    this.room(1 + lengthBytes(contentBytes));
    this.buffer[this.at] = tag;
    writeLength(this.buffer, this.at + 1, contentBytes);
  }

  /** GeneralizedTime, UTC, whole seconds since 1970. */
  time(second: number): void {
    this.room(17);
    const { buffer, at } = this;
    buffer[at] = TAG.GENERALIZED_TIME;
    buffer[at + 1] = 15;
    const day = Math.floor(second / DAY_SECONDS);
    buffer.write(day === lastDay.day ? lastDay.text : dayText(day), at + 2, 'latin1');
    const ofDay = second - day * DAY_SECONDS;
    const hour = Math.floor(ofDay / 3_600);
    const minute = Math.floor((ofDay - hour * 3_600) / 60);
    twoDigits(buffer, at + 10, hour);
    twoDigits(buffer, at + 12, minute);
    twoDigits(buffer, at + 14, ofDay - hour * 3_600 - minute * 60);
    buffer[at + 16] = 0x5a;
  }

  /** A copy of what was written. */
  toBuffer(): Buffer {
    return Buffer.from(this.buffer.subarray(this.at));
  }

  /** What was written, one character an octet. */
  toLatin1(): string {
    return this.buffer.toString('latin1', this.at);
  }

  private room(bytes: number): void {
    if (bytes > this.at) throw new RangeError('the DER writer is full');
    this.at -= bytes;
  }
}

const DAY_SECONDS = 86_400;
let lastDay = { day: Number.NaN, text: '' };

function dayText(day: number): string {
  const iso = new Date(day * DAY_SECONDS * 1_000).toISOString(); // years beyond 9999 have a sign and six digits
  if (iso.length !== 24) throw new RangeError('a certificate time lies between the years 0 and 9999');
  lastDay = { day, text: iso.slice(0, 4) + iso.slice(5, 7) + iso.slice(8, 10) };
  return lastDay.text;
}

function twoDigits(buffer: Buffer, at: number, value: number): void {
  const tens = Math.floor(value / 10);
  buffer[at] = 0x30 + tens;
  buffer[at + 1] = 0x30 + value - tens * 10;
}
