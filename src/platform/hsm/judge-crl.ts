/** May this CRL be signed? REV-3: number and thisUpdate never fall, life under the ceiling, the CA's own name and key. */
import { oid, TAG } from '../../x509/der.js';
import { DerReader, integerValue, readDer } from '../../x509/der-reader.js';
import { OID } from '../../x509/oids.js';
import type { SignRequest } from '../signer.js';
import { type NewestCrl, RECORD_BYTES } from './crl-memory.js';
import type { KeyFacts } from './issuer-facts.js';
import { extensionKey, readExtensionMap, timeMs } from './leaf-tbs.js';
import { deny, Refusal } from './refusal.js';

const CRL_NUMBER = extensionKey(oid(OID.crlNumber));
const AUTHORITY_KEY = extensionKey(oid(OID.authorityKeyIdentifier));
const DELTA = extensionKey(oid(OID.deltaCrlIndicator));
const SERIAL_BYTES_MAX = 20;
/** SEQUENCE { INTEGER of one octet, UTCTime }. */
const ENTRY_BYTES_MIN = 20;

export interface CrlJudgement {
  readonly issuer: KeyFacts;
  readonly lifeSecondsMax: number;
  readonly skewMs: number;
  readonly nowMs: number;
  readonly newest: NewestCrl | undefined;
}

/**
 * @returns what to remember once it is signed; undefined for a delta, which replaces no base
 * @throws Refusal; FemtoError BAD_REQUEST from the DER reader
 */
export function judgeCrl(request: SignRequest, by: CrlJudgement): NewestCrl | undefined {
  const fields = readDer(request.tbs, TAG.SEQUENCE, 'CRL');
  const version = fields.expect(TAG.INTEGER, 'version').content;
  if (version.length !== 1 || version[0] !== 1) deny('The CRL is not version 2.');
  if (!fields.expect(TAG.SEQUENCE, 'signature algorithm').der.equals(by.issuer.algorithmDer)) {
    deny('The signature algorithm is not that of the CA key.');
  }
  if (!fields.expect(TAG.SEQUENCE, 'issuer').der.equals(by.issuer.subjectDer)) {
    deny('The issuer name is not that of the CA whose key is asked for.');
  }
  const thisUpdate = fields.next();
  const nextUpdate = fields.next();
  const thisUpdateMs = timeMs(thisUpdate.tag, thisUpdate.content);
  checkLife(thisUpdateMs, timeMs(nextUpdate.tag, nextUpdate.content), by);
  const revoked = fields.optional(TAG.SEQUENCE);
  const extensions = readExtensionMap(fields.expect(0xa0, 'CRL extensions').content);
  fields.end();
  const authority = extensions.get(AUTHORITY_KEY);
  if (!authority) deny('The CRL has no authority key identifier.');
  if (!authority.value.equals(by.issuer.authorityKeyDer))
    deny('The authority key identifier is not that of the CA key.');

  const number = crlNumber(extensions.get(CRL_NUMBER)?.value);
  if (request.name !== `crl:${request.keyLabel}:${number}`)
    deny('The name of the request is not crl:<CA>:<number> of the TBS.');
  if (extensions.has(DELTA)) return undefined;
  if (by.newest && number <= by.newest.number)
    deny(`CRL number ${number} is not above ${by.newest.number}, signed before.`);
  if (by.newest && thisUpdateMs < by.newest.thisUpdateMs) deny('thisUpdate lies before that of the CRL signed before.');
  return { number, thisUpdateMs, serials: recordsOf(revoked?.content ?? Buffer.alloc(0)) };
}

function checkLife(
  thisUpdateMs: number,
  nextUpdateMs: number,
  { lifeSecondsMax, nowMs, skewMs, newest }: CrlJudgement,
): void {
  const lifeSeconds = (nextUpdateMs - thisUpdateMs) / 1_000;
  if (lifeSeconds <= 0) deny('nextUpdate is not after thisUpdate.');
  if (lifeSeconds > lifeSecondsMax) {
    throw new Refusal(
      'LIFETIME_EXCEEDS_CEILING',
      `The CRL lives ${lifeSeconds} s; the signer's ceiling is ${lifeSecondsMax} s.`,
    );
  }
  // After a clock was set back the next CRL repeats the last thisUpdate, which must not fall; that one was judged before.
  const isRepeated = thisUpdateMs === newest?.thisUpdateMs;
  if (thisUpdateMs > nowMs + skewMs && !isRepeated) deny('thisUpdate lies in the future.');
}

function crlNumber(value: Buffer | undefined): bigint {
  if (!value) deny('The CRL has no CRL number.');
  const reader = new DerReader(value, 'CRL number');
  const number = integerValue(reader.expect(TAG.INTEGER).content, 'CRL number');
  reader.end();
  // RFC 5280 section 5.2.3 allows 20 octets; ours are a counter, and the memory file has eight.
  if (number < 0n || number >= 1n << 63n) deny('The CRL number is not one of ours.');
  return number;
}

/** One padded record for each entry, in the order of the CRL. No objects: there may be a million entries. */
function recordsOf(content: Buffer): Buffer {
  const records = Buffer.alloc(Math.ceil(content.length / ENTRY_BYTES_MIN) * RECORD_BYTES);
  let count = 0;
  for (let at = 0; at < content.length; count += 1) {
    // Entries are short: SEQUENCE with a one- or two-octet length, then the serial as its first field.
    const isLong = content[at + 1] === 0x81;
    const start = at + (isLong ? 3 : 2);
    const length = (isLong ? content[at + 2] : content[at + 1]) ?? 0;
    const end = start + length;
    const serialBytes = content[start + 1] ?? 0;
    const isProper =
      content[at] === TAG.SEQUENCE &&
      (isLong ? length >= 0x80 : length < 0x80) &&
      end <= content.length &&
      content[start] === TAG.INTEGER;
    if (!isProper || serialBytes === 0 || serialBytes > SERIAL_BYTES_MAX + 1 || start + 2 + serialBytes > end) {
      deny('A revoked entry has no proper serial number.');
    }
    // The sign octet is not part of the number; only a 21-octet serial must have one.
    const magnitudeStart = content[start + 2] === 0 && serialBytes > 1 ? start + 3 : start + 2;
    const magnitudeBytes = start + 2 + serialBytes - magnitudeStart;
    if (magnitudeBytes > SERIAL_BYTES_MAX) deny('A revoked entry has no proper serial number.');
    content.copy(records, (count + 1) * RECORD_BYTES - magnitudeBytes, magnitudeStart, magnitudeStart + magnitudeBytes);
    at = end;
  }
  return records.subarray(0, count * RECORD_BYTES);
}
