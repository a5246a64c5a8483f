import { createHash } from 'node:crypto';
import { compactVerify } from 'jose';
import { FemtoError } from '../../platform/errors.js';
import { type JsonValue, parseStrictJson } from '../../platform/strict-json.js';
import { importPublicKey, readSpki } from '../../x509/spki.js';
import { holdsSubscriberNumber, MODEL_NAME } from '../registry/index.js';
import { checkManifestRows } from './check-manifest-rows.js';
import { MANIFEST_BYTES_MAX, MANIFEST_ROWS_MAX, type Manifest } from './manifest.js';

export interface ReadManifest {
  /** Its `units` are the rows without a fault of their own. */
  readonly manifest: Manifest;
  readonly rowCount: number;
  /** SHA-256 of the signed payload: a signature has several spellings, what was signed has one. */
  readonly sha256: Buffer;
  readonly faults: readonly string[];
  readonly faultCount: number;
}

/** The maker's name is a member near the beginning; only its first kilobytes are looked at before the signature. */
const MAKER_HINT_CHARACTERS = 4_096;
const MAKER_HINT = /"maker"\s*:\s*"([^"\\]{1,64})"/;

/**
 * Whose key to try. A hint, nothing more: the verified payload must name the same maker.
 *
 * @returns null when the text is no compact JWS that names a maker
 */
export function makerHint(jws: string): string | null {
  const payload = jws.slice(0, jws.lastIndexOf('.')).split('.', 2)[1];
  if (payload === undefined) return null;
  return (
    MAKER_HINT.exec(Buffer.from(payload.slice(0, MAKER_HINT_CHARACTERS), 'base64url').toString('utf8'))?.[1] ?? null
  );
}

/**
 * Verifies and reads a manifest whole. Faults of rows are collected, so that one reply names them all; everything else
 * throws at once.
 *
 * @param maker.manifestKeySpki  DER, P-256
 * @throws FemtoError BAD_REQUEST (422): not a JWS of this maker, altered, or not of the documented shape
 * @see RFC 7515 section 5.2; RFC 7518 section 3.4
 */
export async function readManifest(
  jws: string,
  maker: { name: string; manifestKeySpki: Buffer; euiPrefixes: readonly string[] },
): Promise<ReadManifest> {
  return readPayload(await verifiedPayload(jws, maker.manifestKeySpki), maker);
}

/** The half of {@link readManifest} after the signature. */
export function readPayload(payload: Buffer, maker: { name: string; euiPrefixes: readonly string[] }): ReadManifest {
  const fields = envelope(parseStrictJson(payload, { bytesMax: MANIFEST_BYTES_MAX, depthMax: 4 }));
  if (fields.maker !== maker.name) throw badManifest('names another maker than the one that signed it');
  const { units, faults, faultCount } = checkManifestRows(fields.units, maker.euiPrefixes);
  return {
    manifest: { ...fields, units },
    rowCount: fields.units.length,
    sha256: createHash('sha256').update(payload).digest(),
    faults,
    faultCount,
  };
}

/** The same words for every reason: which makers exist, and with which keys, is nobody else's business. */
export function notSigned(cause?: unknown): FemtoError {
  return new FemtoError(
    'BAD_REQUEST',
    'The manifest is not an unaltered compact JWS, ES256, under the manifest key of the maker it names.',
    { facts: { status: 422, errors: ['manifest: signature'] }, ...(cause === undefined ? {} : { cause }) },
  );
}

export function badManifest(fault: string, status = 422): FemtoError {
  return new FemtoError('BAD_REQUEST', `The manifest ${fault}; nothing of it was taken.`, {
    facts: { status, errors: [`manifest: ${fault}`] },
  });
}

/** @throws FemtoError BAD_REQUEST, the same for every reason */
export async function verifiedPayload(jws: string, spkiDer: Buffer): Promise<Buffer> {
  if (jws.length > MANIFEST_BYTES_MAX) throw badManifest('is larger than 32 MiB', 413);
  try {
    // The algorithm is ours to choose: `none` and HMAC with a public key as secret end here.
    const { payload } = await compactVerify(jws, importPublicKey(readSpki(spkiDer)), { algorithms: ['ES256'] });
    return Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  } catch (cause) {
    throw notSigned(cause);
  }
}

type Envelope = Omit<Manifest, 'units'> & { readonly units: readonly JsonValue[] };

const MEMBERS = ['maker', 'batch', 'model', 'firmwareSha256', 'createdAt', 'nonce', 'units'] as const;
const MAKER_NAME = /^.{1,64}$/u;
const BATCH_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,47}$/;
const SHA256_HEX = /^[0-9a-f]{64}$/;
const NONCE = /^[A-Za-z0-9_-]{16,64}$/;
const INSTANT = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,3})?Z$/;

function envelope(value: JsonValue): Envelope {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw badManifest('is not a JSON object');
  const unknown = Object.keys(value).find((name) => !(MEMBERS as readonly string[]).includes(name));
  if (unknown !== undefined) throw badManifest('has an unknown member');
  const { units } = value;
  if (!Array.isArray(units) || units.length === 0) throw badManifest('has no rows');
  if (units.length > MANIFEST_ROWS_MAX) throw badManifest(`has more than ${MANIFEST_ROWS_MAX} rows`);
  const createdAt = new Date(textOf(value['createdAt'], 'createdAt', INSTANT));
  if (Number.isNaN(createdAt.getTime())) throw badManifest('has a createdAt that is no instant');
  return {
    maker: textOf(value['maker'], 'maker', MAKER_NAME),
    batch: textOf(value['batch'], 'batch', BATCH_NAME),
    model: textOf(value['model'], 'model', MODEL_NAME),
    firmwareSha256: textOf(value['firmwareSha256'], 'firmwareSha256', SHA256_HEX),
    nonce: textOf(value['nonce'], 'nonce', NONCE),
    createdAt,
    units,
  };
}

function textOf(value: JsonValue | undefined, member: string, pattern: RegExp): string {
  if (typeof value !== 'string' || !pattern.test(value)) throw badManifest(`has a ${member} that is not as documented`);
  if (holdsSubscriberNumber(value)) throw badManifest(`has a ${member} that looks like a subscriber number`);
  return value;
}
