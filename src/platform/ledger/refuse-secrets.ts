import { holdsPrivateKey } from '../../x509/private-key-material.js';
import { FemtoError } from '../errors.js';

/** Names under which nobody may put anything into the record; hashes of such things have other names (`tokenHash`). */
const SECRET_NAME =
  /^(?:(?:user|so|hsm|token)?pin|.*passw(?:or)?d|.*passphrase|.*secret|.*private_?key(?:_?(?:pem|der))?|imsi|msisdn|supi|imei)$/i;

/** Fifteen digits, the shortest of what is looked for. */
const SECRET_CHARACTERS_MIN = 15;
/** Runs that may be hex or base64 of a key; the shortest EC private key container has 39 bytes. */
const RUN_CHARACTERS_MIN = 52;
const ENCODED_RUN = /[A-Za-z0-9+/_-]{52,}/g;
const HEX = /^(?:[0-9a-f]{2})+$/i;
/** Hex of 39 bytes: a SHA-256, of which every entry has some, is too short to hold a key container. */
const HEX_KEY_CHARACTERS_MIN = 78;
/** An IMSI or IMEI stands alone as 15 digits; digits inside hex, base64 or a longer number are something else. */
const FIFTEEN_DIGITS = /(?<![0-9A-Za-z+/_-])\d{15}(?![0-9A-Za-z+/_-])/;

/**
 * The record is kept for years and read by many: what must never be in it is refused at the door (ADM-3, OPS-4).
 *
 * @throws FemtoError INTERNAL that names the field, never its value
 */
export function refuseSecrets(name: string, value: unknown): void {
  if (value !== null && isSecretName(name)) throw refused(`the field "${name.slice(0, 40)}"`);
  if (typeof value === 'number' && Number.isInteger(value) && Math.abs(value) >= 1e14 && Math.abs(value) < 1e15) {
    throw refused('a number of 15 digits');
  }
  if (typeof value !== 'string' || value.length < SECRET_CHARACTERS_MIN || isShortHex(value)) return;
  if (holdsEncodedPrivateKey(value)) throw refused('something that looks like a private key');
  if (FIFTEEN_DIGITS.test(value)) throw refused('a number of 15 digits');
}

/** A serial or a hash, alone in its field: too short for a key, and fifteen digits in it are no number. */
function isShortHex(text: string): boolean {
  return text.length > SECRET_CHARACTERS_MIN && text.length < HEX_KEY_CHARACTERS_MIN && HEX.test(text);
}

/** Entries use the same few names again and again. */
function isSecretName(name: string): boolean {
  if (name === '' || HARMLESS_NAMES.has(name)) return false;
  if (SECRET_NAME.test(name)) return true;
  if (HARMLESS_NAMES.size < HARMLESS_NAMES_MAX) HARMLESS_NAMES.add(name);
  return false;
}

const HARMLESS_NAMES = new Set<string>();
const HARMLESS_NAMES_MAX = 1_000;

function holdsEncodedPrivateKey(text: string): boolean {
  if (text.length < RUN_CHARACTERS_MIN) return text.includes('PRIVATE KEY-----');
  if (text.includes('PRIVATE KEY-----')) return true;
  for (const [run] of text.matchAll(ENCODED_RUN)) {
    const isHex = HEX.test(run);
    if (isHex && run.length < HEX_KEY_CHARACTERS_MIN) continue;
    if (holdsPrivateKey(Buffer.from(run, isHex ? 'hex' : 'base64'))) return true;
  }
  return false;
}

function refused(what: string): FemtoError {
  return new FemtoError(
    'INTERNAL',
    `A ledger entry holds ${what}: keys, PINs and subscriber numbers are never recorded; leave it out or record its hash.`,
  );
}
