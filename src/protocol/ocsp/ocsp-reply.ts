import type { OcspSigner } from '../../lifecycle/status/index.js';
import { type OcspAnswer, ocspResponseText, type ResponseDataFields } from '../../x509/ocsp.js';
import { httpDate } from './http-date.js';

/** A finished answer, ready to be written to a socket. Octets are latin1 text: node sends it with the headers in one write. */
export interface OcspReply {
  readonly body: string;
  /** Flat list name, value, name, value: what `writeHead` takes fastest. */
  readonly headers: readonly string[];
  /** Undefined where nobody may keep it. */
  readonly etag: string | undefined;
}

/** An answer for everybody, signed. */
export interface SharedAnswer {
  readonly responder: OcspSigner;
  /** `good` or `revoked`, with nextUpdate. */
  readonly answer: OcspAnswer & { readonly nextUpdate: Date };
  readonly producedAt: Date;
  /** Ecdsa-Sig-Value, DER. */
  readonly signature: Buffer;
}

/** An answer that is or was in the cache. */
export interface CachedReply extends OcspReply {
  readonly etag: string;
  /** From here on it is made anew in the background; milliseconds since 1970. */
  readonly refreshAtMs: number;
}

const CONTENT_TYPE = 'application/ocsp-response';

export function secondOf(at: Date): number {
  return Math.floor(at.getTime() / 1_000);
}

/** Half its life, in milliseconds; its times are seconds since 1970. */
export function refreshAtMs({ producedAt, nextUpdate }: { producedAt: number; nextUpdate: number }): number {
  return (producedAt + nextUpdate) * 500;
}

/** What the signature is over. */
export function dataOf({ responder, answer, producedAt }: SharedAnswer): ResponseDataFields {
  return { responderKeyHash: responder.keyHash, producedAt, responses: [answer] };
}

/** The whole answer, for everybody. */
export function replyOf(shared: SharedAnswer): CachedReply {
  const { responder, answer, producedAt, signature } = shared;
  const body = ocspResponseText({
    responseData: dataOf(shared),
    alg: responder.algorithm,
    signature,
    certs: [responder.certificateDer],
  });
  // No two signatures are alike, so the first octets of one name the whole answer.
  const etag = `"${signature.toString('hex', ETAG_FROM, ETAG_FROM + ETAG_OCTETS)}"`;
  return {
    body,
    etag,
    headers: headersOf(body.length, etag, answer.thisUpdate),
    refreshAtMs: refreshAtMs({ producedAt: secondOf(producedAt), nextUpdate: secondOf(answer.nextUpdate) }),
  };
}

/** Past the headers of Ecdsa-Sig-Value and of r, and a zero octet. */
const ETAG_FROM = 5;
const ETAG_OCTETS = 12;

/**
 * max-age 5 s whatever nextUpdate says, and no Expires: an HTTP/1.0 cache would keep a `good` for its whole hour, and a
 * revocation must be seen within seconds (rules 6.3). The ETag makes the question again cheap.
 */
function headersOf(bytes: number, etag: string, thisUpdate: Date): readonly string[] {
  return [
    'Content-Type',
    CONTENT_TYPE,
    'Content-Length',
    String(bytes),
    'Cache-Control',
    'max-age=5, public, no-transform, must-revalidate',
    'ETag',
    etag,
    'Last-Modified',
    httpDate(thisUpdate),
  ];
}

/** An answer for one asker, or an error: one character an octet. */
export function uncachedReply(body: string): OcspReply {
  const headers = ['Content-Type', CONTENT_TYPE, 'Content-Length', String(body.length), 'Cache-Control', 'no-store'];
  return { body, headers, etag: undefined };
}
