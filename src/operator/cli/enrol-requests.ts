import { createReadStream, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, extname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { FemtoError } from '../../platform/errors.js';

/** One unit's request as the factory API takes it. */
export interface EnrolRequest {
  readonly serialNumber: string;
  /** PEM or base64 DER. */
  readonly csr: string;
}

export interface RequestSource {
  /** Rows in all, for the progress bar; counted by reading once. */
  count(): Promise<number>;
  /** From the start, one by one. @throws FemtoError BAD_REQUEST naming the line */
  requests(): AsyncIterable<EnrolRequest>;
}

const REQUEST_FILE = /^([A-Z0-9-]{4,32})\.(?:csr|pem|der|req)$/;
const CSR_BYTES_MAX = 24_576;

/**
 * Where a station keeps its requests: NDJSON (`{"serialNumber","csr"}` a line), CSV with the header `serialNumber,csr` where csr
 * is base64 DER or the path of a file beside it, or a directory of `<serialNumber>.csr`.
 *
 * @throws FemtoError NOT_FOUND, BAD_REQUEST for a file of another kind
 */
export function openRequests(path: string): RequestSource {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found) throw new FemtoError('NOT_FOUND', `There is no ${path}; name the file or directory of requests.`);
  if (found.isDirectory()) return directorySource(path);
  const format = FORMATS[extname(path).toLowerCase()];
  if (format) return lineSource(path, format);
  throw new FemtoError(
    'BAD_REQUEST',
    `${path} must end in .ndjson, .jsonl or .csv, or be a directory of <serial>.csr.`,
  );
}

interface LineFormat {
  /** What the first line may be. */
  readonly header?: RegExp;
  /** Null: the line is no request. */
  parse(line: string, file: string): EnrolRequest | null;
}

const NDJSON: LineFormat = { parse: jsonLine };
const CSV: LineFormat = { header: /^\ufeff?"?serialNumber"?,"?csr"?$/i, parse: csvLine };
const FORMATS: Readonly<Record<string, LineFormat>> = { '.ndjson': NDJSON, '.jsonl': NDJSON, '.csv': CSV };

function lineSource(file: string, { header, parse }: LineFormat): RequestSource {
  const requests = async function* (): AsyncIterable<EnrolRequest> {
    let number = 0;
    for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY })) {
      number += 1;
      if (line.trim() === '' || (number === 1 && header?.test(line.trim()))) continue;
      const request = parse(line, file);
      if (!request) {
        const what = `${file} line ${number} is no request; it needs a serial number and a CSR.`;
        throw new FemtoError('BAD_REQUEST', what);
      }
      yield request;
    }
  };
  return { requests, count: () => countOf(requests()) };
}

async function countOf(requests: AsyncIterable<EnrolRequest>): Promise<number> {
  let count = 0;
  for await (const _request of requests) count += 1;
  return count;
}

function jsonLine(line: string): EnrolRequest | null {
  try {
    const { serialNumber, csr } = JSON.parse(line) as Record<string, unknown>;
    return typeof serialNumber === 'string' && typeof csr === 'string' ? { serialNumber, csr } : null;
  } catch {
    return null;
  }
}

const CSV_ROW = /^"?([A-Z0-9-]{4,32})"?,"?([^",]+)"?$/;

function csvLine(line: string, file: string): EnrolRequest | null {
  const [, serialNumber, value] = CSV_ROW.exec(line.trim()) ?? [];
  if (serialNumber === undefined || value === undefined) return null;
  const isBase64 = /^[A-Za-z0-9+/]{64,}={0,2}$/.test(value);
  return { serialNumber, csr: isBase64 ? value : requestFile(resolve(dirname(file), value)) };
}

function directorySource(directory: string): RequestSource {
  const names = readdirSync(directory).filter((name) => REQUEST_FILE.test(name));
  if (names.length === 0)
    throw new FemtoError('NOT_FOUND', `${directory} has no <serial>.csr; a serial number has 4 to 32 of A-Z 0-9 -.`);
  return {
    count: async () => names.length,
    requests: async function* () {
      for (const name of names.sort()) {
        const [, serialNumber = ''] = REQUEST_FILE.exec(name) ?? [];
        yield { serialNumber, csr: requestFile(join(directory, name)) };
      }
    },
  };
}

function requestFile(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found) throw new FemtoError('NOT_FOUND', `There is no ${path}; correct the path in the list.`);
  if (found.size > CSR_BYTES_MAX)
    throw new FemtoError('BAD_REQUEST', `${path} is too large for a certificate request.`);
  const bytes = readFileSync(path);
  return bytes.includes('-----BEGIN') ? bytes.toString('latin1') : bytes.toString('base64');
}
