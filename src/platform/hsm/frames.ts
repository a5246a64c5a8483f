/**
 * Wire form between a server and the signer on one machine: length-prefixed frames, big-endian, no text parsing.
 *
 *   frame     u32 bytes that follow │ u32 request id │ u16 items │ item …
 *   request   u8 purpose (index in SIGN_PURPOSES) │ u8+key label │ u16+name │ u32+tbs │ u32+evidence (FFFFFFFF = none)
 *   result    u8 0 = signature, n = RESULT_CODES[n−1] │ u16+signature or message
 */
import { FemtoError } from '../errors.js';
import type { SignRequest, SignResult } from '../signer.js';
import { SIGN_PURPOSES } from '../signer.js';

export const FRAME_ITEMS_MAX = 4_096;
/** One CRL of 64 MiB, its evidence and names. */
export const FRAME_BYTES_MAX = 64 * 1024 * 1024 + 64 * 1024;

const HEAD_BYTES = 10;
const NO_EVIDENCE = 0xffffffff;
const RESULT_CODES = [
  'HSM_UNAVAILABLE',
  'DENIED',
  'LIFETIME_EXCEEDS_CEILING',
  'RATE_LIMITED',
  'BAD_REQUEST',
  'UNKNOWN_ISSUER',
] as const;
const MESSAGE_BYTES_MAX = 1_000;

export function encodeRequests(id: number, requests: readonly SignRequest[]): Buffer {
  const keys = requests.map((request) => Buffer.from(request.keyLabel, 'latin1'));
  const names = requests.map((request) => Buffer.from(request.name, 'latin1'));
  let size = HEAD_BYTES;
  for (const [index, request] of requests.entries()) {
    size +=
      12 +
      (keys[index]?.length ?? 0) +
      (names[index]?.length ?? 0) +
      request.tbs.length +
      (request.evidence?.length ?? 0);
  }
  const out = Buffer.allocUnsafe(size);
  let at = writeHead(out, id, requests.length);
  for (const [index, request] of requests.entries()) {
    const key = keys[index] ?? Buffer.alloc(0);
    const name = names[index] ?? Buffer.alloc(0);
    at = out.writeUInt8(SIGN_PURPOSES.indexOf(request.purpose), at);
    at = out.writeUInt8(key.length, at);
    at += key.copy(out, at);
    at = out.writeUInt16BE(name.length, at);
    at += name.copy(out, at);
    at = out.writeUInt32BE(request.tbs.length, at);
    at += request.tbs.copy(out, at);
    at = out.writeUInt32BE(request.evidence?.length ?? NO_EVIDENCE, at);
    if (request.evidence) at += request.evidence.copy(out, at);
  }
  return out;
}

export interface RequestFrame {
  readonly id: number;
  readonly requests: SignRequest[];
}

/** @throws FemtoError BAD_REQUEST when the frame does not follow the form: the connection is then closed */
export function decodeRequests(body: Buffer): RequestFrame {
  const read = new Cursor(body);
  const id = read.u32();
  const count = read.u16();
  if (count > FRAME_ITEMS_MAX) throw bad('holds too many items');
  const requests: SignRequest[] = [];
  for (let index = 0; index < count; index += 1) {
    const purpose = SIGN_PURPOSES[read.u8()] ?? failPurpose();
    const keyLabel = read.bytes(read.u8()).toString('latin1');
    const name = read.bytes(read.u16()).toString('latin1');
    const tbs = read.bytes(read.u32());
    const evidenceBytes = read.u32();
    if (evidenceBytes === NO_EVIDENCE) requests.push({ purpose, keyLabel, name, tbs });
    else requests.push({ purpose, keyLabel, name, tbs, evidence: read.bytes(evidenceBytes) });
  }
  read.end();
  return { id, requests };
}

export function encodeResults(id: number, results: readonly SignResult[]): Buffer {
  const payloads = results.map((result) =>
    result.ok ? result.signature : Buffer.from(result.message, 'utf8').subarray(0, MESSAGE_BYTES_MAX),
  );
  const size = payloads.reduce((sum, payload) => sum + 3 + payload.length, HEAD_BYTES);
  const out = Buffer.allocUnsafe(size);
  let at = writeHead(out, id, results.length);
  for (const [index, result] of results.entries()) {
    const payload = payloads[index] ?? Buffer.alloc(0);
    at = out.writeUInt8(result.ok ? 0 : RESULT_CODES.indexOf(result.code) + 1, at);
    at = out.writeUInt16BE(payload.length, at);
    at += payload.copy(out, at);
  }
  return out;
}

export function decodeResults(body: Buffer): { readonly id: number; readonly results: SignResult[] } {
  const read = new Cursor(body);
  const id = read.u32();
  const count = read.u16();
  const results: SignResult[] = [];
  for (let index = 0; index < count; index += 1) {
    const status = read.u8();
    const payload = read.bytes(read.u16());
    if (status === 0) {
      results.push({ ok: true, signature: Buffer.from(payload) });
      continue;
    }
    const code = RESULT_CODES[status - 1];
    if (code === undefined) throw bad('holds an unknown result code');
    results.push({ ok: false, code, message: payload.toString('utf8') });
  }
  read.end();
  return { id, results };
}

/** Cuts a byte stream into frame bodies. One reader a connection. */
export class FrameReader {
  private chunks: Buffer[] = [];
  private held = 0;

  constructor(private readonly bytesMax: number) {}

  /**
   * Takes what arrived; returns the bodies that are complete.
   * @throws FemtoError BAD_REQUEST at a length above the limit, before a byte of it is kept
   */
  push(chunk: Buffer): Buffer[] {
    this.chunks.push(chunk);
    this.held += chunk.length;
    const bodies: Buffer[] = [];
    for (;;) {
      const length = this.frameLength();
      if (length === undefined) return bodies;
      if (length > this.bytesMax || length < HEAD_BYTES - 4) throw bad(`has ${length} bytes`);
      if (this.held < 4 + length) return bodies;
      const all = this.flatten();
      bodies.push(all.subarray(4, 4 + length));
      this.chunks = all.length > 4 + length ? [all.subarray(4 + length)] : [];
      this.held = all.length - 4 - length;
    }
  }

  private frameLength(): number | undefined {
    if (this.held < 4) return undefined;
    const first = this.chunks[0];
    return first && first.length >= 4 ? first.readUInt32BE(0) : this.flatten().readUInt32BE(0);
  }

  /** One concat for each whole frame, not for each chunk: a 64 MiB CRL comes in a thousand pieces. */
  private flatten(): Buffer {
    const all = this.chunks.length === 1 ? (this.chunks[0] ?? Buffer.alloc(0)) : Buffer.concat(this.chunks);
    this.chunks = [all];
    return all;
  }
}

class Cursor {
  private at = 0;

  constructor(private readonly body: Buffer) {}

  u8(): number {
    this.need(1);
    this.at += 1;
    return this.body.readUInt8(this.at - 1);
  }

  u16(): number {
    this.need(2);
    this.at += 2;
    return this.body.readUInt16BE(this.at - 2);
  }

  u32(): number {
    this.need(4);
    this.at += 4;
    return this.body.readUInt32BE(this.at - 4);
  }

  bytes(length: number): Buffer {
    this.need(length);
    this.at += length;
    return this.body.subarray(this.at - length, this.at);
  }

  end(): void {
    if (this.at !== this.body.length) throw bad('is longer than its items');
  }

  private need(length: number): void {
    if (this.at + length > this.body.length) throw bad('ends in the middle of an item');
  }
}

function writeHead(out: Buffer, id: number, count: number): number {
  out.writeUInt32BE(out.length - 4, 0);
  out.writeUInt32BE(id, 4);
  return out.writeUInt16BE(count, 8);
}

function failPurpose(): never {
  throw bad('names an unknown purpose');
}

function bad(fault: string): FemtoError {
  return new FemtoError('BAD_REQUEST', `The signer frame ${fault}; both ends must be of one version.`);
}
