import { readFileSync, statSync } from 'node:fs';
import { z } from 'zod';
import { FemtoError } from '../../platform/errors.js';
import { parseStrictJson } from '../../platform/strict-json.js';

const BYTES_MAX = 16_384;

const text = z.string().min(1).max(4_096);
const credentials = z.strictObject({ accessKeyId: text, secretAccessKey: text, sessionToken: text.optional() });

export interface BucketCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/**
 * `{"accessKeyId": "…", "secretAccessKey": "…"}`, with `sessionToken` where the store hands out such. Read for each
 * request, so that whoever renews the file restarts nothing.
 *
 * @throws FemtoError BAD_REQUEST that names the file and never what it holds
 */
export function readBucketCredentials(path: string): BucketCredentials {
  let bytes: Buffer;
  try {
    if ((statSync(path).mode & 0o077) !== 0) throw bad(path, 'may be read by others: chmod 600, and renew the key');
    bytes = readFileSync(path);
  } catch (cause) {
    if (cause instanceof FemtoError) throw cause;
    throw bad(path, `cannot be read (${(cause as NodeJS.ErrnoException).code}): put it there with mode 0600`);
  }
  const found = credentials.safeParse(parsed(path, bytes));
  if (!found.success) throw bad(path, 'must hold accessKeyId and secretAccessKey, at most sessionToken beside them');
  const { sessionToken, ...pair } = found.data;
  return { ...pair, ...(sessionToken !== undefined && { sessionToken }) };
}

// The parser's own sentence stays here: it may quote what it read.
function parsed(path: string, bytes: Buffer): unknown {
  try {
    return parseStrictJson(bytes, { bytesMax: BYTES_MAX, depthMax: 1 });
  } catch {
    throw bad(path, `must be a JSON object of at most ${BYTES_MAX} bytes`);
  }
}

function bad(path: string, what: string): FemtoError {
  return new FemtoError('BAD_REQUEST', `The credentials file ${path} ${what}.`, { facts: { path } });
}
