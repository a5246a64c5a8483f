import { request } from 'node:https';
import { connect, type TLSSocket } from 'node:tls';
import { FemtoError } from '../platform/errors.js';
import { checkServer, type Pins } from './check-server.js';
import type { Held } from './unit-state.js';

export interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
  /** From Retry-After; null where the server did not say. */
  readonly retryAfterSeconds: number | null;
}

export interface CallOptions {
  readonly as: Held;
  readonly json?: object;
  readonly idempotencyKey?: string;
  /** Passed when the whole request is on its way and no byte of the answer was looked at. */
  readonly onSent?: () => Promise<void>;
}

export interface EnrolClient {
  call(method: 'GET' | 'POST', path: string, options: CallOptions): Promise<Answer>;
  /** Every connection ends at once, as when the power goes. */
  vanish(): void;
}

/** The unit reads answers into a buffer of this size (ENR-4). */
const ANSWER_BYTES_MAX = 8_192;
const CALL_TIMEOUT_MS = 20_000;

/**
 * One call, one connection: a full handshake is what proves the unit's key, and a small unit holds no connection open.
 *
 * @param base  e.g. `https://enrol.hanbit.example:8443`
 * @param deps.address  connect there instead of resolving the name; null = resolve
 */
export function makeEnrolClient(
  base: string,
  deps: { readonly pins: Pins; readonly now: () => Date; readonly address: string | null },
): EnrolClient {
  const url = new URL(base);
  const open = new Set<TLSSocket>();
  const connected = (as: Held): Promise<TLSSocket> =>
    new Promise((resolve, reject) => {
      const socket = connect({
        host: deps.address ?? url.hostname,
        port: Number(url.port || '443'),
        servername: url.hostname,
        cert: as.certificatePem + as.chainPem,
        key: as.keyPem,
        minVersion: 'TLSv1.2',
        // Judged below, by the network's time instead of the system's.
        rejectUnauthorized: false,
      });
      open.add(socket);
      socket.setTimeout(CALL_TIMEOUT_MS, () => socket.destroy(unreachable('took too long')));
      socket.once('close', () => open.delete(socket));
      socket.once('error', (cause) => reject(unreachable('cannot be reached', cause)));
      socket.once('secureConnect', () => {
        try {
          checkServer(socket, deps.pins, url.hostname, deps.now());
          resolve(socket);
        } catch (error) {
          socket.destroy();
          reject(error as Error);
        }
      });
    });
  return {
    call: async (method, path, options) => {
      const socket = await connected(options.as);
      const answer = send(socket, `${base}${path}`, method, options);
      // Where the hook below never comes back, nobody is left to hear of a failure.
      answer.catch(() => undefined);
      await options.onSent?.();
      return answer.finally(() => socket.destroy());
    },
    vanish: () => {
      for (const socket of open) socket.destroy();
    },
  };
}

function send(socket: TLSSocket, url: string, method: string, { json, idempotencyKey }: CallOptions): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const body = json === undefined ? undefined : Buffer.from(JSON.stringify(json), 'utf8');
    const outgoing = request(
      url,
      {
        method,
        createConnection: () => socket,
        headers: {
          connection: 'close',
          ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': body.length }),
          ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
        },
      },
      (incoming) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        incoming.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > ANSWER_BYTES_MAX) socket.destroy(unreachable('sent more than a unit can hold'));
          else chunks.push(chunk);
        });
        incoming.once('error', (cause) => reject(unreachable('was cut off', cause)));
        incoming.once('end', () => {
          try {
            resolve(answerOf(incoming.statusCode ?? 0, incoming.headers['retry-after'], Buffer.concat(chunks)));
          } catch (cause) {
            reject(unreachable('sent no JSON', cause));
          }
        });
      },
    );
    outgoing.once('error', (cause) => reject(unreachable('was cut off', cause)));
    outgoing.end(body);
  });
}

function answerOf(status: number, retryAfter: string | undefined, bytes: Buffer): Answer {
  const seconds = Number(retryAfter);
  return {
    status,
    body: bytes.length === 0 ? {} : (JSON.parse(bytes.toString('utf8')) as Answer['body']),
    retryAfterSeconds: retryAfter !== undefined && Number.isFinite(seconds) ? seconds : null,
  };
}

function unreachable(fault: string, cause?: unknown): FemtoError {
  return new FemtoError('RETRY_LATER', `The server ${fault}; try again later.`, { cause });
}
