/**
 * The signer's own reading of a TBSCertificate, kept apart from the issuing side's parser on purpose: two readers that
 * must agree. It runs before every signature, so it cuts slices and compares bytes where it can.
 */
import { TAG } from '../../x509/der.js';
import { checkMinimalInteger, DerReader, readDer } from '../../x509/der-reader.js';
import { Refusal } from './refusal.js';

export interface LeafTbs {
  /** Magnitude without its sign octet. */
  readonly serial: Buffer;
  readonly signatureAlgorithmDer: Buffer;
  readonly issuerDer: Buffer;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly subjectDer: Buffer;
  readonly spkiDer: Buffer;
  /** Extension values by {@link extensionKey}. */
  readonly extensions: ReadonlyMap<string, { readonly critical: boolean; readonly value: Buffer }>;
}

const WHAT = 'certificate';
/** Ours are under 1 KiB. */
const TBS_BYTES_MAX = 16_384;
const VERSION_3 = Buffer.from('a003020102', 'hex');

/** @throws Refusal or FemtoError BAD_REQUEST */
export function readLeafTbs(tbs: Buffer): LeafTbs {
  if (tbs.length > TBS_BYTES_MAX) throw bad(`is larger than ${TBS_BYTES_MAX} bytes`);
  const fields = readDer(tbs, TAG.SEQUENCE, WHAT);
  if (!fields.expect(0xa0, 'version').der.equals(VERSION_3)) throw bad('is not version 3');
  const serialContent = fields.expect(TAG.INTEGER, 'serial number').content;
  checkMinimalInteger(serialContent, WHAT);
  const signatureAlgorithmDer = fields.expect(TAG.SEQUENCE, 'signature algorithm').der;
  const issuerDer = fields.expect(TAG.SEQUENCE, 'issuer').der;
  const validity = fields.enter(TAG.SEQUENCE, 'validity');
  const notBefore = validity.next();
  const notAfter = validity.next();
  validity.end();
  const subjectDer = fields.expect(TAG.SEQUENCE, 'subject').der;
  const spkiDer = fields.expect(TAG.SEQUENCE, 'public key').der;
  const extensions = readExtensionMap(fields.enter(0xa3, 'extensions'));
  fields.end();
  return {
    serial: serialContent[0] === 0 ? serialContent.subarray(1) : serialContent,
    signatureAlgorithmDer,
    issuerDer,
    notBeforeMs: timeMs(notBefore.tag, notBefore.content),
    notAfterMs: timeMs(notAfter.tag, notAfter.content),
    subjectDer,
    spkiDer,
    extensions,
  };
}

/** Extension map from a reader that stands before the SEQUENCE OF Extension; one of a kind (RFC 5280 section 4.2). */
export function readExtensionMap(wrapped: DerReader): Map<string, { critical: boolean; value: Buffer }> {
  const list = wrapped.enter(TAG.SEQUENCE, 'extensions');
  wrapped.end();
  const extensions = new Map<string, { critical: boolean; value: Buffer }>();
  while (!list.atEnd) {
    const entry = new DerReader(list.expect(TAG.SEQUENCE, 'extension').content, 'extension');
    const key = entry.expect(TAG.OID, 'extension').content.toString('latin1');
    const critical = entry.optional(TAG.BOOLEAN);
    // DER forbids an explicit FALSE, which is the default.
    if (critical !== undefined && critical.content[0] !== 0xff) throw bad('has a BOOLEAN that is not DER');
    const { content: value } = entry.expect(TAG.OCTET_STRING, 'extension');
    entry.end();
    if (extensions.has(key)) throw bad('has one extension twice');
    extensions.set(key, { critical: critical !== undefined, value });
  }
  return extensions;
}

/** Map key of an extension: the OID's content octets as latin1, so that the hot path decodes no OIDs. */
export function extensionKey(oidDer: Buffer): string {
  return oidDer.subarray(2).toString('latin1');
}

/**
 * Milliseconds of a UTCTime or GeneralizedTime in the form X.509 allows (RFC 5280 section 4.1.2.5).
 * @throws Refusal BAD_REQUEST
 */
export function timeMs(tag: number, content: Buffer): number {
  const yearDigits = tag === TAG.UTC_TIME ? 2 : 4;
  if ((tag !== TAG.UTC_TIME && tag !== TAG.GENERALIZED_TIME) || content.length !== yearDigits + 11) {
    throw bad('has a time that is not YYMMDDhhmmssZ or YYYYMMDDhhmmssZ');
  }
  if (content[content.length - 1] !== 0x5a) throw bad('has a time that is not in Z');
  let year = number(content, 0, yearDigits);
  if (yearDigits === 2) year += year >= 50 ? 1_900 : 2_000;
  const month = number(content, yearDigits, 2);
  const day = number(content, yearDigits + 2, 2);
  const ms = Date.UTC(
    year,
    month - 1,
    day,
    number(content, yearDigits + 4, 2),
    number(content, yearDigits + 6, 2),
    number(content, yearDigits + 8, 2),
  );
  // Date.UTC rolls 31 February over into March: such a day must not pass.
  const back = new Date(ms);
  if (back.getUTCMonth() !== month - 1 || back.getUTCDate() !== day) throw bad('has a day that does not exist');
  return ms;
}

function number(content: Buffer, at: number, digits: number): number {
  let value = 0;
  for (let index = at; index < at + digits; index += 1) {
    const digit = (content[index] ?? 0) - 0x30;
    if (digit < 0 || digit > 9) throw bad('has a time that is not all digits');
    value = value * 10 + digit;
  }
  return value;
}

function bad(fault: string): Refusal {
  return new Refusal('BAD_REQUEST', `The TBS ${fault}; the issuing side built it wrongly.`);
}
