import { FemtoError } from '../errors.js';
import { refuseSecrets } from './refuse-secrets.js';

/** One entry's body at most; a larger fact belongs in its own table and is named here by its hash. */
export const BODY_BYTES_MAX = 16 * 1024;
const DEPTH_MAX = 12;

/**
 * The one text of a body: object keys in code unit order, no white space, ECMAScript number and string forms (as RFC
 * 8785). Dates become ISO 8601, bytes lower-case hex, properties that are undefined are left out.
 *
 * @throws FemtoError INTERNAL when the body is larger than 16 KiB, deeper than 12, holds what JSON cannot, or looks like
 *   a secret or a subscriber's number: the caller's transaction must not commit a record that cannot be kept
 */
export function canonicalBody(body: Readonly<Record<string, unknown>>): string {
  const text = write(body, 0);
  if (Buffer.byteLength(text, 'utf8') > BODY_BYTES_MAX) {
    throw unfit(`is larger than ${BODY_BYTES_MAX} bytes; store the large part in a table and name its hash`);
  }
  return text;
}

function write(value: unknown, depth: number): string {
  if (depth > DEPTH_MAX) throw unfit(`is nested deeper than ${DEPTH_MAX}`);
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return writeText(value);
  if (typeof value === 'number') return writeNumber(value);
  if (value instanceof Uint8Array) return writeText(Buffer.from(value).toString('hex'));
  if (value instanceof Date) return writeText(value.toISOString());
  if (Array.isArray(value)) return `[${value.map((item) => write(item, depth + 1)).join(',')}]`;
  if (typeof value === 'object') return writeObject(value as Readonly<Record<string, unknown>>, depth);
  throw unfit(`holds a ${typeof value}, which JSON cannot carry`);
}

function writeObject(value: Readonly<Record<string, unknown>>, depth: number): string {
  const members: string[] = [];
  for (const key of Object.keys(value).sort()) {
    const member = value[key];
    if (member === undefined) continue;
    // The name here; texts and numbers are looked at when they are written.
    refuseSecrets(key, typeof member === 'string' || typeof member === 'number' ? true : member);
    members.push(`${JSON.stringify(key)}:${write(member, depth + 1)}`);
  }
  return `{${members.join(',')}}`;
}

function writeText(value: string): string {
  refuseSecrets('', value);
  return JSON.stringify(value);
}

function writeNumber(value: number): string {
  if (!Number.isFinite(value)) throw unfit('holds a number that is not finite');
  refuseSecrets('', value);
  return JSON.stringify(value);
}

function unfit(fault: string): FemtoError {
  return new FemtoError('INTERNAL', `A ledger entry's body ${fault}.`);
}
