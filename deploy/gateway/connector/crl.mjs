/** What the connector must know of a CRL before it is given to charon, which checks it all again (RFC 5280 section 5.1). */
import { verify } from 'node:crypto';

const SEQUENCE = 0x30;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const CONSTRUCTED_0 = 0xa0;
/** OID in DER → hash. Nothing else is signed with here (RFC 5758 section 3.2). */
const ECDSA_HASHES = new Map([
  ['06082a8648ce3d040302', 'sha256'],
  ['06082a8648ce3d040303', 'sha384'],
]);

/**
 * @typedef {object} Crl
 * @property {Buffer} der
 * @property {number} thisUpdateMs
 * @property {number} nextUpdateMs  0 where it has none
 * @property {(serialHex: string) => boolean} lists
 */

/**
 * @param {Buffer} der
 * @param {import('node:crypto').X509Certificate} ca
 * @returns {Crl}
 * @throws Error for what is no CRL, or not signed with this CA's key
 */
export function readCrl(der, ca) {
  const outer = element(der, 0);
  if (outer.tag !== SEQUENCE || outer.end !== der.length) throw new Error('no DER CRL');
  const [tbs, algorithm, signature] = childrenOf(der, outer);
  if (tbs === undefined || algorithm === undefined || signature?.tag !== BIT_STRING) throw new Error('no DER CRL');
  const oid = element(der, algorithm.start);
  const hash = ECDSA_HASHES.get(der.subarray(algorithm.start, oid.end).toString('hex'));
  const signed = der.subarray(outer.start, tbs.end);
  // The first octet of a BIT STRING counts unused bits.
  if (!hash || !verify(hash, signed, ca.publicKey, der.subarray(signature.start + 1, signature.end)))
    throw new Error('a CRL whose signature does not hold');
  const parts = childrenOf(der, tbs);
  // version is there in every CRL v2; then the algorithm, the issuer, thisUpdate.
  const [version, , , thisUpdate, ...rest] = parts;
  if (version?.tag !== INTEGER || thisUpdate === undefined) throw new Error('no version 2 CRL');
  const [nextUpdate] = rest.filter(({ tag }) => isTime(tag));
  const revoked = rest.find(({ tag }) => tag === SEQUENCE);
  const serials = new Set();
  for (const entry of revoked ? childrenOf(der, revoked) : []) {
    const serial = element(der, entry.start);
    if (serial.tag !== INTEGER) throw new Error('a CRL entry without a serial number');
    serials.add(plain(der.subarray(serial.start, serial.end).toString('hex')));
  }
  if (rest.some(({ tag }) => tag !== SEQUENCE && tag !== CONSTRUCTED_0 && !isTime(tag))) {
    throw new Error('a CRL with an element that is not of RFC 5280');
  }
  return {
    der,
    thisUpdateMs: timeOf(der, thisUpdate),
    nextUpdateMs: nextUpdate ? timeOf(der, nextUpdate) : 0,
    lists: (serialHex) => serials.has(plain(serialHex)),
  };
}

/** UTCTime or GeneralizedTime. @param {number} tag */
function isTime(tag) {
  return tag === 0x17 || tag === 0x18;
}

/** @typedef {{ tag: number, start: number, end: number }} Element */

/** @param {Buffer} der @param {number} at @returns {Element} */
function element(der, at) {
  const tag = der[at];
  let length = der[at + 1];
  let start = at + 2;
  if (tag === undefined || length === undefined) throw new Error('DER ends in the middle of an element');
  if (length >= 0x80) {
    const octets = length & 0x7f;
    if (octets === 0 || octets > 4 || start + octets > der.length) throw new Error('no DER length');
    length = der.readUIntBE(start, octets);
    start += octets;
  }
  if (start + length > der.length) throw new Error('DER ends in the middle of an element');
  return { tag, start, end: start + length };
}

/** @param {Buffer} der @param {Element} parent @returns {Element[]} */
function childrenOf(der, parent) {
  const found = [];
  for (let at = parent.start; at < parent.end; ) {
    const child = element(der, at);
    if (child.end > parent.end) throw new Error('a DER element is longer than what holds it');
    found.push(child);
    at = child.end;
  }
  return found;
}

/** @param {Buffer} der @param {Element} time */
function timeOf(der, { tag, start, end }) {
  const text = der.subarray(start, end).toString('latin1');
  // UTCTime until 2049, as RFC 5280 section 5.1.2.4 has it.
  const full = tag === 0x17 ? `${Number(text.slice(0, 2)) < 50 ? '20' : '19'}${text}` : text;
  const read = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(full);
  if (!read) throw new Error('a CRL without a readable time');
  const [, year, month, day, hour, minute, second] = read.map(Number);
  return Date.UTC(year ?? 0, (month ?? 1) - 1, day, hour, minute, second);
}

/** @param {string} hex */
function plain(hex) {
  return hex.toLowerCase().replace(/^(?:00)+/, '');
}
