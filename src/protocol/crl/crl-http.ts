import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CrlShelf, ShelfItem } from './crl-shelf.js';

const CRL = /^\/crl\/([a-z0-9-]{1,64}(?:\.[a-z0-9-]{1,16})?)\.crl(?:\?|$)/;
const CERTIFICATE = /^\/ca\/([a-z0-9-]{1,64})\.cer(?:\?|$)/;

/**
 * Answers `GET /crl/<label>.crl` and `GET /ca/<label>.cer` from memory, with ETag and If-None-Match.
 *
 * @returns false when the URL is neither
 */
export function handleCrl(shelf: CrlShelf, request: IncomingMessage, response: ServerResponse): boolean {
  const url = request.url ?? '';
  if (!url.startsWith('/crl/') && !url.startsWith('/ca/')) return false;
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405, { Allow: 'GET, HEAD', 'Content-Length': 0, Connection: 'close' }).end();
    return true;
  }
  const found = find(shelf, url);
  if (!found) response.writeHead(404, { 'Content-Length': 0, 'Cache-Control': 'no-store' }).end();
  else if (matches(request.headers['if-none-match'], found.etag)) {
    response.writeHead(304, found.notModifiedHeaders as string[]).end();
  } else {
    response.writeHead(200, found.headers as string[]);
    response.end(request.method === 'HEAD' ? undefined : found.body);
  }
  return true;
}

function find(shelf: CrlShelf, url: string): ShelfItem | undefined {
  const crl = CRL.exec(url)?.[1];
  if (crl !== undefined) return shelf.crl(crl);
  const certificate = CERTIFICATE.exec(url)?.[1];
  return certificate === undefined ? undefined : shelf.certificate(certificate);
}

/** A list, weak forms and `*` (RFC 9110 section 13.1.2). */
function matches(condition: string | undefined, etag: string): boolean {
  if (condition === undefined) return false;
  if (condition.trim() === '*') return true;
  return condition.split(',').some((each) => each.trim().replace(/^W\//, '') === etag);
}
