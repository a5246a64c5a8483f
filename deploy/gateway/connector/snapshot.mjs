/**
 * Who may come in while nobody can be asked, as the server signed it for this gateway. Octets: u32 length of a JWS │ the JWS │
 * units │ prefixes.
 *
 * Unit, 52 octets, ascending: name (16) │ line (u32, 0 = none) │ head (16) │ head − 1 or zeros (16); name = SHA-256 of the FQDN,
 * head = SHA-256 of the issuer's key identifier and the serial, each cut to 16 octets. Prefix, 24 octets, longest first:
 * family (4 or 6) │ bits │ authoritative (1 or 0) │ 0 │ address (16) │ line (u32).
 */
import { createHash } from 'node:crypto';
import { isIPv4, isIPv6 } from 'node:net';
import { isBefore, positionOf } from './position.mjs';

const UNIT_BYTES = 52;
const PREFIX_BYTES = 24;
const JWS_BYTES_MAX = 64 * 1024;
/** Longer than that none lives, whatever it says of itself. */
const LIFE_MS_MAX = 3_600_000;
/** A gateway's clock may be so far behind the server's. */
const SKEW_MS_MAX = 60_000;
const HOUR_MS = 3_600_000;
const NONE = Buffer.alloc(16);

/**
 * @typedef {object} Snapshot
 * @property {Buffer} bytes  as it came
 * @property {string} nonce
 * @property {import('./position.mjs').Position} position
 * @property {number} issuedAtMs
 * @property {number} validUntilMs
 * @property {(fqdn: string) => { line: number, heads: Buffer[] } | null} unit
 * @property {(address: string) => number | null} line  of an authoritative prefix, the longest one that holds it
 */

/**
 * @param {Buffer} bytes
 * @param {{ trust: import('./trust.mjs').Trust, gateway: string, now: number }} by
 * @returns {Snapshot}
 * @throws Error for what is not whole, not signed, for another gateway, or from the future
 */
export function readSnapshot(bytes, { trust, gateway, now }) {
  if (bytes.length < 4) throw new Error('no snapshot');
  const jwsLength = bytes.readUInt32BE(0);
  if (jwsLength > JWS_BYTES_MAX || 4 + jwsLength > bytes.length) throw new Error('no snapshot');
  const claims = trust.snapshot(bytes.toString('latin1', 4, 4 + jwsLength));
  if (claims.version !== 1) throw new Error(`a snapshot of version ${claims.version}; there is a newer connector`);
  if (claims.gateway !== gateway) throw new Error(`a snapshot for ${claims.gateway}`);
  const [issuedAtMs, validUntilMs] = [Date.parse(claims.issuedAt), Date.parse(claims.validUntil)];
  if (!(validUntilMs > issuedAtMs && validUntilMs - issuedAtMs <= LIFE_MS_MAX))
    throw new Error('a snapshot without an end');
  if (issuedAtMs > now + SKEW_MS_MAX)
    throw new Error(`a snapshot of ${claims.issuedAt}: one of the two clocks is wrong`);
  let at = 4 + jwsLength;
  const take = (/** @type {any} */ { count, recordBytes, sha256 }, /** @type {number} */ size) => {
    if (recordBytes !== size || !Number.isSafeInteger(count))
      throw new Error('a snapshot with records of another kind');
    const block = bytes.subarray(at, at + count * size);
    at += count * size;
    if (createHash('sha256').update(block).digest('hex') !== sha256) throw new Error('a block is not what was signed');
    return block;
  };
  const units = take(claims.units, UNIT_BYTES);
  const prefixes = take(claims.prefixes, PREFIX_BYTES);
  if (at !== bytes.length) throw new Error('a snapshot with more than was signed');
  return {
    bytes,
    nonce: String(claims.nonce),
    position: positionOf(String(claims.position)),
    issuedAtMs,
    validUntilMs,
    unit: (fqdn) => unitOf(units, key16(fqdn)),
    line: (address) => lineOf(prefixes, address),
  };
}

/**
 * @param {Snapshot} snapshot
 * @param {{ fqdn: string, issuer: string, serialHex: string, address: string }} unit  issuer: its key identifier, hex
 * @returns {string[]}  why it may not come in; empty = it may
 */
export function reasonsAgainst(snapshot, { fqdn, issuer, serialHex, address }) {
  const unit = snapshot.unit(fqdn);
  if (unit === null) return ['DENIED'];
  const serial = Buffer.from(serialHex, 'hex');
  const shown = key16(Buffer.from(issuer, 'hex'), serial);
  const isKnown = unit.heads.some((head) => head.equals(shown));
  const reasons = [];
  if (!isKnown && !isYounger(serial, snapshot)) reasons.push('CERT_SUPERSEDED');
  const line = snapshot.line(address);
  // The network policy is not in here: only the unit's own line says enough about an address.
  if (line === null) reasons.push('NET_UNKNOWN');
  else if (line !== unit.line) reasons.push('LINE_MISMATCH');
  return reasons;
}

/** A serial says in which hour it was drawn: what is younger than the snapshot may be the unit's next. @param {Buffer} serial @param {Snapshot} snapshot */
function isYounger(serial, { issuedAtMs }) {
  return serial.length === 16 && serial[0] === 1 && (serial.readUInt32BE(1) + 1) * HOUR_MS > issuedAtMs;
}

/** @param {Snapshot} older @param {{ position: import('./position.mjs').Position, issuedAtMs: number }} seen */
export function isOlder(older, seen) {
  return isBefore(older.position, seen.position) || older.issuedAtMs < seen.issuedAtMs;
}

/** @param {...(string | Buffer)} parts */
function key16(...parts) {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest().subarray(0, 16);
}

/** @param {Buffer} units @param {Buffer} name */
function unitOf(units, name) {
  let [low, high] = [0, units.length / UNIT_BYTES];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const at = middle * UNIT_BYTES;
    const order = name.compare(units, at, at + 16);
    if (order === 0) {
      const heads = [units.subarray(at + 20, at + 36), units.subarray(at + 36, at + 52)];
      return { line: units.readUInt32BE(at + 16), heads: heads.filter((head) => !head.equals(NONE)) };
    }
    if (order < 0) high = middle;
    else low = middle + 1;
  }
  return null;
}

/** @param {Buffer} prefixes @param {string} text */
function lineOf(prefixes, text) {
  const address = octetsOf(text);
  if (address === null) return null;
  const family = address.length === 4 ? 4 : 6;
  for (let at = 0; at < prefixes.length; at += PREFIX_BYTES) {
    if (prefixes[at] !== family || !isInside(address, prefixes, at + 4, prefixes[at + 1] ?? 0)) continue;
    return prefixes[at + 2] === 1 ? prefixes.readUInt32BE(at + 20) : null;
  }
  return null;
}

/** @param {Buffer} address @param {Buffer} prefixes @param {number} at @param {number} bits */
function isInside(address, prefixes, at, bits) {
  const whole = bits >> 3;
  if (address.compare(prefixes, at, at + whole, 0, whole) !== 0) return false;
  const mask = (0xff00 >> (bits & 7)) & 0xff;
  return mask === 0 || ((address[whole] ?? 0) & mask) === ((prefixes[at + whole] ?? 0) & mask);
}

/** 4 or 16 octets; an IPv4 address in an IPv6 spelling is the IPv4 address. @param {string} text @returns {Buffer | null} */
function octetsOf(text) {
  if (isIPv4(text)) return Buffer.from(text.split('.').map(Number));
  if (!isIPv6(text) || text.includes('%')) return null;
  // Whatever stands at the end in dots, a URL says in groups.
  const [head = '', tail] = new URL(`http://[${text}]`).hostname.slice(1, -1).split('::');
  const groups = (/** @type {string} */ part) =>
    part === '' ? [] : part.split(':').map((group) => parseInt(group, 16));
  const [before, after] = [groups(head), groups(tail ?? '')];
  const octets = Buffer.alloc(16);
  for (const [index, group] of before.entries()) octets.writeUInt16BE(group, index * 2);
  for (const [index, group] of after.entries()) octets.writeUInt16BE(group, 16 - (after.length - index) * 2);
  const isMapped = octets.readBigUInt64BE(0) === 0n && octets.readUInt32BE(8) === 0xffff;
  return isMapped ? octets.subarray(12) : octets;
}
