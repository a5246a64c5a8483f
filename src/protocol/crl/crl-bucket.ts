import { createHash } from 'node:crypto';
import { AwsV4Signer } from 'aws4fetch';
import type { CrlFiles } from '../../lifecycle/status/index.js';
import { FemtoError } from '../../platform/errors.js';
import { readCrl, readCrlHead } from '../../x509/crl.js';
import { CRL_NAME } from '../../x509/crl-part.js';
import type { BucketCredentials } from './bucket-credentials.js';
import { CRL_CACHE_CONTROL, CRL_MEDIA_TYPE } from './crl-headers.js';

export interface CrlBucketDeps {
  /** Address under which the objects lie, bucket included, without a slash at its end: `https://s3.example.net/bucket/crl`. */
  readonly url: string;
  readonly region: string;
  readonly credentials: () => BucketCredentials;
}

/** Of a CRL that the signer takes (64 MiB of TBS), signature and algorithm included. */
const CRL_BYTES_MAX = 65 * 1_048_576;
/** Of an error's document; only its code is looked for. */
const ERROR_BYTES_MAX = 16_384;
const HEAD_TIMEOUT_MS = 10_000;
/** For 64 MiB at one MiB a second. */
const BODY_TIMEOUT_MS = 75_000;

interface Seen {
  readonly etag: string;
  /** Null: what lies there is no CRL. */
  readonly number: bigint | null;
}

/**
 * `<url>/<label>.crl` in an S3-compatible store, each object put whole in one request (fault S3). Whoever puts states what
 * lay there before (`If-Match`, `If-None-Match`), so that of two hosts the one with the older list loses, however late its
 * request arrives. Nothing is retried here: whoever asks does that, and knows what is newest by then.
 *
 * @see RFC 9110 section 13.1; Amazon S3 API: PutObject, conditional writes
 */
export function makeCrlBucket(deps: CrlBucketDeps): CrlFiles {
  const seen = new Map<string, Seen>();

  const stamp = async (label: string): Promise<string | null> => {
    const response = await ask(deps, 'HEAD', label);
    return response.status === 404 ? null : etagOf(response, label);
  };
  const get = async (label: string): Promise<{ etag: string; der: Buffer } | null> => {
    const response = await ask(deps, 'GET', label);
    if (response.status === 404) return null;
    return { etag: etagOf(response, label), der: await bodyOf(response, CRL_BYTES_MAX, label) };
  };
  /** What lies there now; its bytes are fetched only when it is another object than before. */
  const look = async (label: string): Promise<Seen | null> => {
    const etag = await stamp(label);
    const known = seen.get(label);
    if (etag === null || known?.etag === etag) return etag === null ? null : (known ?? null);
    const found = await get(label);
    return found && { etag: found.etag, number: readAll(found.der)?.number ?? null };
  };

  return {
    stamp,
    newest: async (label) => {
      const found = await get(label);
      const list = found && readAll(found.der);
      if (found) seen.set(label, { etag: found.etag, number: list?.number ?? null });
      return list?.number === undefined ? null : { ...list, number: list.number, der: list.der };
    },
    publish: async (label, der) => {
      const { number = 0n } = readCrlHead(der);
      const lies = await look(label);
      if (lies) seen.set(label, lies);
      else seen.delete(label);
      if (lies?.number != null && lies.number > number) throw newerLies(label, lies.number, number);
      const condition: Record<string, string> = lies ? { 'If-Match': lies.etag } : { 'If-None-Match': '*' };
      const response = await ask(deps, 'PUT', label, { der, condition });
      await response.body?.cancel();
      const etag = response.headers.get('etag') ?? (await stamp(label)) ?? '';
      seen.set(label, { etag, number });
      return etag;
    },
  };
}

async function ask(
  { url, region, credentials }: CrlBucketDeps,
  method: 'GET' | 'HEAD' | 'PUT',
  label: string,
  put?: { readonly der: Buffer; readonly condition: Readonly<Record<string, string>> },
): Promise<Response> {
  if (!CRL_NAME.test(label)) throw new RangeError(`"${label}" is no issuer label`);
  const signed = await new AwsV4Signer({
    method,
    url: `${url}/${label}.crl`,
    headers: {
      'X-Amz-Content-Sha256': createHash('sha256')
        .update(put?.der ?? '')
        .digest('hex'),
      ...(put && { 'Content-Type': CRL_MEDIA_TYPE, 'Cache-Control': CRL_CACHE_CONTROL, ...put.condition }),
    },
    service: 's3',
    region,
    ...credentials(),
  }).sign();
  let response: Response;
  try {
    response = await fetch(signed.url, {
      method,
      headers: signed.headers,
      ...(put && { body: new Uint8Array(put.der) }),
      // A signature is for one address; whoever sends us elsewhere is not the store that was configured.
      redirect: 'error',
      signal: AbortSignal.timeout(method === 'HEAD' ? HEAD_TIMEOUT_MS : BODY_TIMEOUT_MS),
    });
  } catch (cause) {
    throw away(label, `does not answer (${reasonOf(cause)})`, cause);
  }
  if (response.ok || (response.status === 404 && method !== 'PUT')) return response;
  throw await refusal(response, label);
}

async function refusal(response: Response, label: string): Promise<FemtoError> {
  const { status } = response;
  const document = await bodyOf(response, ERROR_BYTES_MAX, label).catch(() => Buffer.alloc(0));
  const code = /<Code>([A-Za-z]{1,64})<\/Code>/.exec(document.toString('latin1'))?.[1] ?? `HTTP ${status}`;
  // 409: two conditional requests for one object at the same moment.
  if (status === 412 || status === 409)
    return away(label, 'was given another list meanwhile; the next try compares again');
  const nextStep =
    status === 403 || status === 401
      ? 'look at status.crlStore.credentialsFile, and at what the bucket lets that key do (get, put, list)'
      : 'see docs/crl-store.md';
  return away(label, `refuses ${label}.crl (${code}): ${nextStep}`);
}

function newerLies(label: string, theirs: bigint, ours: bigint): FemtoError {
  return new FemtoError(
    'STATE_CONFLICT',
    `The CRL store holds number ${theirs} of ${label}, this host only ${ours}; nothing is written over it. If no other host publishes, find out who else may write to the bucket.`,
    { facts: { name: label, theirs: Number(theirs), ours: Number(ours) } },
  );
}

function away(label: string, what: string, cause?: unknown): FemtoError {
  return new FemtoError('RETRY_LATER', `The CRL store ${what}.`, {
    facts: { name: label },
    retryAfterSeconds: 1,
    ...(cause !== undefined && { cause }),
  });
}

/** A word of the system's, never the request with its headers. */
function reasonOf(thrown: unknown): string {
  const { cause, name } = thrown as { cause?: { code?: unknown }; name?: unknown };
  return String(cause?.code ?? name);
}

function etagOf(response: Response, label: string): string {
  const etag = response.headers.get('etag');
  if (etag) return etag;
  throw away(label, 'names no ETag, so nothing can be put there safely');
}

/** @throws FemtoError RETRY_LATER when it is longer, or breaks off */
async function bodyOf(response: Response, bytesMax: number, label: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response.body ?? []) {
      bytes += chunk.byteLength;
      if (bytes > bytesMax) break;
      chunks.push(chunk);
    }
  } catch (cause) {
    throw away(label, `broke off (${reasonOf(cause)})`, cause);
  }
  if (bytes > bytesMax) throw away(label, `holds more than ${bytesMax} bytes as ${label}.crl; remove that object`);
  return Buffer.concat(chunks);
}

function readAll(der: Buffer) {
  try {
    const { number, thisUpdate, nextUpdate } = readCrl(der);
    return { number, thisUpdate, nextUpdate, der };
  } catch {
    return null;
  }
}
