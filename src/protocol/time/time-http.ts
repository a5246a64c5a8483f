import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '../../platform/clock.js';
import { FemtoError } from '../../platform/errors.js';

export interface TimeDeps {
  readonly clock: Clock;
  /** @throws FemtoError RETRY_LATER while the key is not certified */
  readonly sign: (text: Buffer) => { signature: Buffer; certificatePem: string };
}

const PATH = '/time';
/** 16 to 64 bytes: a unit that woke up without a clock cannot be told an old answer (rules 8.3). */
const NONCE = /^(?:[0-9a-f]{2}){16,64}$/i;

/** What the time key signs, ECDSA P-256 with SHA-256, DER: three lines of ASCII, each ended by LF. */
export function timeText(time: string, nonce: string): Buffer {
  return Buffer.from(`femtopki-time-v1\n${time}\n${nonce}\n`, 'ascii');
}

/**
 * Answers `GET /time?nonce=<hex>`: `{time, nonce, signature, certificate}`; time is ISO 8601 UTC with milliseconds,
 * signature base64, certificate PEM (Services CA, OU=time). 503 until the key is certified.
 *
 * @returns false when the URL is another
 */
export function handleTime(deps: TimeDeps, request: IncomingMessage, response: ServerResponse): boolean {
  const url = request.url ?? '';
  if (url !== PATH && !url.startsWith(`${PATH}?`)) return false;
  const nonce = new URLSearchParams(url.slice(PATH.length + 1)).get('nonce') ?? '';
  if (request.method !== 'GET') json(response, 405, problem('BAD_REQUEST', 'Use GET.'));
  else if (!NONCE.test(nonce)) json(response, 400, problem('BAD_REQUEST', 'Send nonce= with 16 to 64 bytes in hex.'));
  else answer(deps, nonce.toLowerCase(), response);
  return true;
}

function answer({ clock, sign }: TimeDeps, nonce: string, response: ServerResponse): void {
  const time = clock.now().toISOString();
  try {
    const { signature, certificatePem } = sign(timeText(time, nonce));
    json(response, 200, { time, nonce, signature: signature.toString('base64'), certificate: certificatePem });
  } catch (error) {
    if (!(error instanceof FemtoError)) throw error;
    response.setHeader('Retry-After', String(error.retryAfterSeconds ?? 1));
    json(response, 503, problem('RETRY_LATER', error.message));
  }
}

function problem(code: string, detail: string): object {
  return { code, detail };
}

function json(response: ServerResponse, status: number, body: object): void {
  const text = `${JSON.stringify(body)}\n`;
  response
    .writeHead(status, {
      'Content-Type': status < 400 ? 'application/json' : 'application/problem+json',
      'Content-Length': Buffer.byteLength(text),
      'Cache-Control': 'no-store',
    })
    .end(text);
}
