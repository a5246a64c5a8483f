/**
 * Asks one HTTP server as fast as it answers, over kept-alive raw sockets with one request under way on each: a client
 * library would cost more than the server. Orders come over IPC, one at a time; the answer is a LoadResult.
 */
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { type OcspQuestions, ocspRequests } from './ocsp-requests.js';

export interface LoadOrder {
  readonly port: number;
  readonly connections: number;
  readonly seconds: number;
  readonly warmUp: boolean;
  /** JSON file: array of base64, each a whole HTTP request; asked in turn. */
  readonly requestsFile: string;
  /** In its place: questions drawn anew for each order, before the clock starts. */
  readonly ocsp?: OcspQuestions;
}

export interface LoadResult {
  readonly answers: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** Answers of hardly more than headers: OCSP errors, which are HTTP 200 all the same. */
  readonly short?: number;
  readonly failures: number;
  readonly firstFailure: string;
}

/** Headers of an OCSP error, and its five octets. */
const SHORT_BYTES = 350;
const OK = Buffer.from('HTTP/1.1 200 ');
const LENGTH = Buffer.from('Content-Length: ');
const HEADERS_END = Buffer.from('\r\n\r\n');
const files = new Map<string, Buffer[]>();

process.on('message', (order: LoadOrder) => void load(order).then((result) => process.send?.(result)));
process.on('disconnect', () => process.exit(0));

async function load({ port, connections, seconds, requestsFile, ocsp }: LoadOrder): Promise<LoadResult> {
  const requests = ocsp ? ocspRequests(ocsp) : requestsOf(requestsFile);
  let next = 0;
  let answers = 0;
  let short = 0;
  let failures = 0;
  let firstFailure = '';
  let isOver = false;
  const ask = (socket: Socket): void => {
    next = next + 1 < requests.length ? next + 1 : 0;
    socket.write(requests[next] as Buffer);
  };
  const take = (asker: Asker, bytes: Buffer): void => {
    answers += 1;
    if (bytes.length < SHORT_BYTES) short += 1;
    if (bytes.compare(OK, 0, OK.length, 0, OK.length) !== 0) {
      failures += 1;
      firstFailure ||= bytes.toString('latin1', 0, 200);
    }
    if (isOver) asker.socket.end();
    else ask(asker.socket);
  };
  const askers = await Promise.all(Array.from({ length: connections }, () => open(port, take)));
  const started = process.hrtime.bigint();
  const cpuBefore = process.cpuUsage();
  const closed = askers.map(({ socket }) => new Promise<void>((done) => socket.once('close', () => done())));
  for (const { socket } of askers) ask(socket);
  await new Promise((done) => setTimeout(done, seconds * 1_000));
  isOver = true;
  const took = Number(process.hrtime.bigint() - started) / 1e9;
  const counted = answers;
  const { user, system } = process.cpuUsage(cpuBefore);
  await Promise.all(closed);
  return { answers: counted, seconds: took, cpuSeconds: (user + system) / 1e6, short, failures, firstFailure };
}

/** Bytes of the whole response that starts here; undefined while its headers are not complete. */
function lengthOf(bytes: Buffer): number | undefined {
  const end = bytes.indexOf(HEADERS_END);
  if (end < 0) return undefined;
  const at = bytes.indexOf(LENGTH);
  if (at < 0 || at > end) return end + 4;
  let length = 0;
  for (let digit = at + LENGTH.length; ; digit += 1) {
    const value = (bytes[digit] ?? 0) - 0x30;
    if (value < 0 || value > 9) return end + 4 + length;
    length = length * 10 + value;
  }
}

function requestsOf(file: string): Buffer[] {
  let requests = files.get(file);
  if (!requests) {
    requests = (JSON.parse(readFileSync(file, 'utf8')) as string[]).map((text) => Buffer.from(text, 'base64'));
    files.set(file, requests);
  }
  return requests;
}

interface Asker {
  readonly socket: Socket;
  /** What has come of the answer so far. */
  held: Buffer | undefined;
}

/** Reads into one buffer of its own, past the stream machinery: the generator must cost less than what it measures. */
function open(port: number, take: (asker: Asker, bytes: Buffer) => void): Promise<Asker> {
  return new Promise((done, fail) => {
    const buffer = Buffer.alloc(16_384);
    const socket = connect(
      {
        port,
        host: '127.0.0.1',
        noDelay: true,
        onread: {
          buffer,
          callback: (count) => {
            const chunk = buffer.subarray(0, count);
            const bytes = asker.held ? Buffer.concat([asker.held, chunk]) : chunk;
            const length = lengthOf(bytes);
            if (length === undefined || bytes.length < length) asker.held = Buffer.from(bytes);
            else {
              asker.held = undefined;
              take(asker, bytes);
            }
            return true;
          },
        },
      },
      () => done(asker),
    );
    const asker: Asker = { socket, held: undefined };
    socket.once('error', fail);
  });
}
