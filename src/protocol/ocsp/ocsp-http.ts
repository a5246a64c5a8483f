import type { IncomingMessage, ServerResponse } from 'node:http';
import { OCSP_REQUEST_BYTES_MAX } from '../../x509/ocsp.js';
import type { OcspReply } from './ocsp-reply.js';
import type { OcspResponder } from './ocsp-responder.js';
import { requestFromPath } from './request-path.js';

export const OCSP_PATH = '/ocsp';

/** What the listener counts. */
export type OcspEvent = 'cached' | 'worked' | 'bad-url' | 'bad-type' | 'too-large' | 'bad-method';

/**
 * Answers `POST /ocsp` and `GET /ocsp/<base64>` (RFC 6960 appendix A), from memory before anything else is looked at.
 * OCSP errors are answers with HTTP 200; HTTP errors are for what is no OCSP request at all.
 *
 * @returns false when the URL is not an OCSP one
 */
export function handleOcsp(
  responder: OcspResponder,
  request: IncomingMessage,
  response: ServerResponse,
  count: (event: OcspEvent) => void,
): boolean {
  const url = request.url ?? '';
  if (!url.startsWith(OCSP_PATH)) return false;
  const rest = url.slice(OCSP_PATH.length);
  if (rest !== '' && rest[0] !== '/' && rest[0] !== '?') return false;
  if (request.method === 'POST') {
    receive(responder, request, response, count);
    return true;
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    count('bad-method');
    refuse(response, 405, 'Use POST, or GET with the request in the path.', ['Allow', 'GET, HEAD, POST']);
    return true;
  }
  const der = requestFromPath(rest.slice(1).split('?')[0] ?? '');
  const cached = der && responder.cached(der);
  if (cached) {
    count('cached');
    send(request, response, cached);
  } else if (!der) {
    count('bad-url');
    refuse(response, 400, 'The path does not hold a base64 OCSP request.');
  } else if (der.length > OCSP_REQUEST_BYTES_MAX) {
    count('too-large');
    refuse(response, 413, 'An OCSP request has at most 4096 bytes.');
  } else {
    count('worked');
    void responder.answer(der).then((reply) => send(request, response, reply));
  }
  return true;
}

function receive(
  responder: OcspResponder,
  request: IncomingMessage,
  response: ServerResponse,
  count: (event: OcspEvent) => void,
): void {
  const type = rawHeader(request, 'content-type');
  if (type !== CONTENT_TYPE && type?.split(';')[0]?.trim().toLowerCase() !== CONTENT_TYPE) {
    count('bad-type');
    refuse(response, 415, `Send ${CONTENT_TYPE}.`);
    return;
  }
  if (Number(rawHeader(request, 'content-length') ?? 0) > OCSP_REQUEST_BYTES_MAX) {
    count('too-large');
    refuse(response, 413, 'An OCSP request has at most 4096 bytes.');
    return;
  }
  let first: Buffer | undefined;
  let more: Buffer[] | undefined;
  let bytes = 0;
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > OCSP_REQUEST_BYTES_MAX) {
      if (!response.headersSent) {
        count('too-large');
        refuse(response, 413, 'An OCSP request has at most 4096 bytes.');
      }
      return;
    }
    if (first === undefined) first = chunk;
    else {
      more ??= [first];
      more.push(chunk);
    }
  });
  request.on('end', () => {
    if (response.headersSent) return;
    const der = more ? Buffer.concat(more) : (first ?? EMPTY);
    const cached = responder.cached(der);
    if (cached) {
      count('cached');
      response.writeHead(200, cached.headers as string[]).end(cached.body, 'latin1');
      return;
    }
    count('worked');
    void responder.answer(der).then((reply) => send(request, response, reply));
  });
}

function send(request: IncomingMessage, response: ServerResponse, reply: OcspReply): void {
  const { headers } = reply;
  if (reply.etag !== undefined && request.method !== 'POST' && rawHeader(request, 'if-none-match') === reply.etag) {
    // Without Content-Type and Content-Length: the rest is what a cache refreshes its copy with.
    response.writeHead(304, headers.slice(4)).end();
    return;
  }
  response.writeHead(200, headers as string[]);
  if (request.method === 'HEAD') response.end();
  else response.end(reply.body, 'latin1');
}

/** `request.headers` builds an object of all headers when it is first looked at: a tenth of a cached answer's whole cost. */
function rawHeader({ rawHeaders }: IncomingMessage, name: string): string | undefined {
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const candidate = rawHeaders[index];
    if (candidate?.length === name.length && candidate.toLowerCase() === name) return rawHeaders[index + 1];
  }
  return undefined;
}

/** The connection is closed: what follows on it may be the rest of ten megabytes. */
function refuse(response: ServerResponse, status: number, sentence: string, headers: readonly string[] = []): void {
  const body = `${sentence}\n`;
  response
    .writeHead(status, [
      'Content-Type',
      'text/plain; charset=utf-8',
      'Content-Length',
      String(Buffer.byteLength(body)),
      'Cache-Control',
      'no-store',
      'Connection',
      'close',
      ...headers,
    ])
    .end(body);
}

const CONTENT_TYPE = 'application/ocsp-request';
const EMPTY = Buffer.alloc(0);
