import { readFileSync, statSync } from 'node:fs';
import { ERROR_CODES, type ErrorCode, FemtoError } from '../../platform/errors.js';

export interface ApiClient {
  get(path: string): Promise<unknown>;
  post(path: string, body?: unknown): Promise<unknown>;
}

const TIMEOUT_MS = 30_000;

/**
 * Calls the operator API with the credential in a 0600 file.
 *
 * @param baseUrl        e.g. `http://127.0.0.1:8090`
 * @param credentialFile one line: the token. Refused when others may read it.
 */
export function apiClient(baseUrl: string, credentialFile: string): ApiClient {
  const call = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const response = await send(`${baseUrl}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${readCredential(credentialFile)}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const text = await response.text();
    const value: unknown = text === '' ? null : JSON.parse(text);
    if (!response.ok) throw problemAsError(value, response.status);
    return value;
  };
  return { get: (path) => call('GET', path), post: (path, body = {}) => call('POST', path, body) };
}

async function send(url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init);
  } catch (cause) {
    throw new FemtoError(
      'RETRY_LATER',
      `No answer from ${url}; is it running? Start it with npm start, or give --server.`,
      { cause },
    );
  }
}

function readCredential(file: string): string {
  try {
    if ((statSync(file).mode & 0o077) !== 0) {
      throw new FemtoError('DENIED', `Others may read ${file}; run chmod 600 on it and use a new credential.`);
    }
    return readFileSync(file, 'utf8').trim();
  } catch (cause) {
    if (cause instanceof FemtoError) throw cause;
    throw new FemtoError('NOT_FOUND', `No credential at ${file}; give --data DIR or --credential FILE.`, { cause });
  }
}

function problemAsError(value: unknown, status: number): FemtoError {
  const problem = (value ?? {}) as {
    code?: string;
    detail?: string;
    title?: string;
    traceId?: string;
    facts?: Record<string, string>;
  };
  const code = ERROR_CODES.includes(problem.code as ErrorCode) ? (problem.code as ErrorCode) : 'INTERNAL';
  const sentence = problem.detail ?? problem.title ?? `The server answered ${status}.`;
  return new FemtoError(code, problem.traceId ? `${sentence} (trace ${problem.traceId})` : sentence, {
    facts: problem.facts ?? {},
  });
}
