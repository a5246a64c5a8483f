import { createHash, randomBytes } from 'node:crypto';
import { explicitTag, octetString, oid, sequence } from '../../src/x509/der.js';
import { certIdOf } from '../../src/x509/ocsp.js';
import { OID } from '../../src/x509/oids.js';

/** Which questions to ask about certificates 1 to `serials` of one CA. */
export interface OcspQuestions {
  readonly nameHashHex: string;
  readonly keyHashHex: string;
  /** Of every serial: hours since 1970. */
  readonly hour: number;
  readonly serials: number;
  /** Exponent of a Zipf law over them; without it each is as likely as the other. */
  readonly zipf?: number;
  /** 0…1: of serials that were never issued. Default 0. */
  readonly unknownShare?: number;
  readonly method: 'GET' | 'POST';
  /** A nonce of its own in each. */
  readonly hasNonce?: boolean;
  readonly count: number;
}

/** Whole HTTP requests, drawn at random. */
export function ocspRequests(questions: OcspQuestions): Buffer[] {
  const { serials, zipf, unknownShare = 0, count } = questions;
  const draw = zipf === undefined ? () => 1 + Math.floor(Math.random() * serials) : zipfSampler(serials, zipf);
  return Array.from({ length: count }, () => {
    const number = Math.random() < unknownShare ? UNKNOWN_FROM + Math.floor(Math.random() * UNKNOWN_FROM) : draw();
    return ocspRequest(questions, number);
  });
}

export function ocspRequest(questions: Omit<OcspQuestions, 'count' | 'serials'>, number: number): Buffer {
  return ocspRequestOf(questions, benchSerial(number, questions.hour));
}

export function ocspRequestOf(questions: Omit<OcspQuestions, 'count' | 'serials'>, serial: Buffer): Buffer {
  const hashes = {
    nameHash: Buffer.from(questions.nameHashHex, 'hex'),
    keyHash: Buffer.from(questions.keyHashHex, 'hex'),
  };
  const list = sequence(sequence(certIdOf('sha1', hashes, serial).certIdDer));
  const der = questions.hasNonce
    ? sequence(
        sequence(
          list,
          explicitTag(2, sequence(sequence(oid(OID.ocspNonce), octetString(octetString(randomBytes(16)))))),
        ),
      )
    : sequence(sequence(list));
  if (questions.method === 'GET') {
    return Buffer.from(`GET /ocsp/${der.toString('base64')} HTTP/1.1\r\nHost: pki.hanbit.example\r\n\r\n`);
  }
  const head = `POST /ocsp HTTP/1.1\r\nHost: pki.hanbit.example\r\nContent-Type: application/ocsp-request\r\nContent-Length: ${der.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), der]);
}

/** The serial of our shape that `BENCH_SERIAL_SQL` gives the same number. */
export function benchSerial(number: number, hour: number): Buffer {
  const serial = Buffer.alloc(16);
  serial[0] = 1;
  serial.writeUInt32BE(hour, 1);
  const seed = Buffer.alloc(4);
  seed.writeInt32BE(number);
  createHash('sha256').update(seed).digest().copy(serial, 5, 0, 11);
  return serial;
}

/** Of a number `n` and the hour in `$1`. */
export const BENCH_SERIAL_SQL = `'\\x01'::bytea || int4send($1::integer) || substring(sha256(int4send(n)) FOR 11)`;

const UNKNOWN_FROM = 2 ** 30;

/** Rejection-inversion (Hörmann and Derflinger 1996): exact, without a table of ten million weights. */
export function zipfSampler(size: number, exponent: number): () => number {
  const tail = 1 - exponent;
  const integral = (x: number): number => (tail === 0 ? Math.log(x) : (x ** tail - 1) / tail);
  const inverse = (y: number): number => (tail === 0 ? Math.exp(y) : (1 + y * tail) ** (1 / tail));
  const density = (x: number): number => x ** -exponent;
  const low = integral(1.5) - 1;
  const high = integral(size + 0.5);
  const squeeze = 2 - inverse(integral(2.5) - density(2));
  return () => {
    for (;;) {
      const area = high + Math.random() * (low - high);
      const x = inverse(area);
      const rank = Math.min(size, Math.max(1, Math.round(x)));
      if (rank - x <= squeeze || area >= integral(rank + 0.5) - density(rank)) return rank;
    }
  };
}
