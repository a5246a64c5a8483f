import type { IncomingMessage } from 'node:http';
import type { ZodType } from 'zod';
import { FemtoError } from '../../platform/errors.js';
import { type JsonLimits, parseStrictJson } from '../../platform/strict-json.js';

/** Requests of devices, stations and gateways (requirements: JSON 64 KiB). */
export const JSON_BODY_BYTES_MAX = 65_536;
/** A caller that trickles its body is cut off; the TLS socket's own time limit is the second line. */
const BODY_TIMEOUT_MS = 10_000;
const ISSUES_SHOWN_MAX = 20;

/**
 * Reads a whole body. The limit is enforced on the declared length first and on what arrives second.
 *
 * @throws FemtoError BAD_REQUEST; `facts.status` 413 too large, 408 too slow, 415 wrong type or encoded
 */
export function readBody(
  request: IncomingMessage,
  options: { bytesMax: number; mediaType: string; mayLackMediaType?: boolean; timeoutMs?: number },
): Promise<Buffer> {
  const header = request.headers['content-type'];
  const mediaType = (header ?? '').split(';', 1)[0]?.trim().toLowerCase();
  const isLacking = header === undefined && options.mayLackMediaType === true;
  if (!isLacking && mediaType !== options.mediaType) {
    return Promise.reject(badBody(415, `must be ${options.mediaType}`));
  }
  const encoding = request.headers['content-encoding'];
  // A compressed body can be a bomb, and no client of ours compresses.
  if (encoding !== undefined && encoding !== 'identity') return Promise.reject(badBody(415, 'must not be compressed'));
  if (Number(request.headers['content-length'] ?? 0) > options.bytesMax) {
    request.resume();
    return Promise.reject(badBody(413, `must be at most ${options.bytesMax} bytes`));
  }
  // The caller went while somebody looked at who it is: nothing will ever be heard of this body.
  if (request.destroyed && !request.complete) return Promise.reject(badBody(400, 'ended early'));
  return collect(request, options.bytesMax, options.timeoutMs ?? BODY_TIMEOUT_MS);
}

function collect(request: IncomingMessage, bytesMax: number, timeoutMs: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const timer = setTimeout(() => finish(badBody(408, `must arrive within ${timeoutMs / 1000} s`)), timeoutMs);
    const finish = (error?: Error) => {
      clearTimeout(timer);
      request.off('data', onData).off('end', onEnd).off('error', finish).off('close', onClose);
      if (error === undefined) return resolve(Buffer.concat(chunks, bytes));
      // What still arrives is dropped unread; the answer tells the client to close.
      request.on('error', () => undefined).resume();
      reject(error);
    };
    const onData = (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > bytesMax) finish(badBody(413, `must be at most ${bytesMax} bytes`));
      else chunks.push(chunk);
    };
    const onEnd = () => finish();
    const onClose = () => finish(badBody(400, 'ended early'));
    request.on('data', onData).on('end', onEnd).on('error', finish).on('close', onClose);
  });
}

/**
 * A strict JSON body in its schema's shape. Schemas are `z.strictObject`: an unknown member is refused, not ignored.
 *
 * @throws FemtoError BAD_REQUEST; `facts.errors` lists `pointer: fault`, without the values sent
 */
export async function readJsonBody<T>(
  request: IncomingMessage,
  schema: ZodType<T>,
  limits: JsonLimits = { bytesMax: JSON_BODY_BYTES_MAX },
): Promise<T> {
  const bytes = await readBody(request, { bytesMax: limits.bytesMax, mediaType: 'application/json' });
  return checkShape(parseStrictJson(bytes, limits), schema);
}

/** @throws FemtoError BAD_REQUEST as {@link readJsonBody} */
export function checkShape<T>(value: unknown, schema: ZodType<T>): T {
  const outcome = schema.safeParse(value);
  if (outcome.success) return outcome.data;
  const errors = outcome.error.issues
    .slice(0, ISSUES_SHOWN_MAX)
    .map(({ path, code }) => `/${path.map((part) => pointerPart(String(part))).join('/')}: ${code}`);
  throw new FemtoError('BAD_REQUEST', 'The request does not have the documented shape; compare it with the docs.', {
    facts: { errors },
  });
}

/** RFC 6901 escapes; a name from outside is cut and kept printable. */
function pointerPart(part: string): string {
  return part
    .slice(0, 64)
    .replaceAll(/[^\x20-\x7e]/g, '?')
    .replaceAll('~', '~0')
    .replaceAll('/', '~1');
}

function badBody(status: number, fault: string): FemtoError {
  return new FemtoError('BAD_REQUEST', `The body ${fault}; correct it and send it again.`, {
    facts: { status, fault },
  });
}
