/**
 * The message format of strongSwan's vici protocol (libcharon/plugins/vici/README.md): sections, keys with a value, lists.
 * A value is octets; texts are read as such only where the reader says so, because a certificate is a value too.
 *
 * @typedef {Buffer | Buffer[] | ViciSection} ViciNode
 * @typedef {Map<string, ViciNode>} ViciSection
 * @typedef {{ [name: string]: string | Buffer | readonly string[] | ViciFields }} ViciFields  to be written
 */

const SECTION_START = 1;
const SECTION_END = 2;
const KEY_VALUE = 3;
const LIST_START = 4;
const LIST_ITEM = 5;
const LIST_END = 6;

/** A value's length is 16 bits: what is longer cannot be said over vici. */
const VALUE_BYTES_MAX = 0xffff;
const DEPTH_MAX = 16;

/**
 * @param {ViciFields} fields
 * @returns {Buffer}
 */
export function encodeMessage(fields) {
  const parts = [];
  for (const [name, value] of Object.entries(fields)) {
    if (typeof value === 'string' || Buffer.isBuffer(value)) {
      parts.push(named(KEY_VALUE, name), lengthAnd(Buffer.from(value)));
    } else if (Array.isArray(value)) {
      parts.push(named(LIST_START, name));
      for (const item of value) parts.push(Buffer.from([LIST_ITEM]), lengthAnd(Buffer.from(item)));
      parts.push(Buffer.from([LIST_END]));
    } else {
      parts.push(
        named(SECTION_START, name),
        encodeMessage(/** @type {ViciFields} */ (value)),
        Buffer.from([SECTION_END]),
      );
    }
  }
  return Buffer.concat(parts);
}

/**
 * @param {Buffer} bytes
 * @returns {ViciSection}
 * @throws Error for anything that is not one whole, balanced message
 */
export function decodeMessage(bytes) {
  const root = new Map();
  /** @type {ViciSection[]} */
  const open = [root];
  /** @type {Buffer[] | null} */
  let list = null;
  let at = 0;
  const take = (/** @type {number} */ length) => {
    if (at + length > bytes.length) throw new Error('a vici message ends in the middle of an element');
    at += length;
    return bytes.subarray(at - length, at);
  };
  const name = () => take(take(1).readUInt8()).toString('latin1');
  const value = () => Buffer.from(take(take(2).readUInt16BE()));
  /** @param {string} key @param {ViciNode} node */
  const add = (key, node) => {
    if (list !== null) throw new Error('a vici list holds something that is no item');
    const section = /** @type {ViciSection} */ (open.at(-1));
    if (section.has(key)) throw new Error(`a vici section has "${key}" twice`);
    section.set(key, node);
  };
  while (at < bytes.length) {
    const type = take(1)[0];
    if (type === SECTION_START) {
      const section = new Map();
      add(name(), section);
      if (open.push(section) > DEPTH_MAX) throw new Error(`a vici message is more than ${DEPTH_MAX} sections deep`);
    } else if (type === SECTION_END) {
      if (list !== null || open.length === 1) throw new Error('a vici section ends that did not begin');
      open.pop();
    } else if (type === KEY_VALUE) {
      add(name(), value());
    } else if (type === LIST_START) {
      const items = /** @type {Buffer[]} */ ([]);
      add(name(), items);
      list = items;
    } else if (type === LIST_ITEM) {
      if (list === null) throw new Error('a vici item stands outside a list');
      list.push(value());
    } else if (type === LIST_END) {
      if (list === null) throw new Error('a vici list ends that did not begin');
      list = null;
    } else {
      throw new Error(`a vici message has an element of type ${type}`);
    }
  }
  if (open.length !== 1 || list !== null) throw new Error('a vici message ends before its sections do');
  return root;
}

/**
 * @param {ViciSection | undefined} section
 * @param {string} key
 * @returns {string} empty where it is absent
 */
export function textOf(section, key) {
  const value = section?.get(key);
  return Buffer.isBuffer(value) ? value.toString('utf8') : '';
}

/**
 * @param {ViciSection | undefined} section
 * @param {string} key
 * @returns {string[]}
 */
export function textsOf(section, key) {
  const items = section?.get(key);
  return Array.isArray(items) ? items.map((item) => item.toString('utf8')) : [];
}

/**
 * @param {ViciSection} section
 * @returns {[string, ViciSection][]}
 */
export function sectionsOf(section) {
  return /** @type {[string, ViciSection][]} */ ([...section].filter(([, node]) => node instanceof Map));
}

/** @param {Buffer} bytes */
function lengthAnd(bytes) {
  if (bytes.length > VALUE_BYTES_MAX) throw new RangeError(`vici carries values of at most ${VALUE_BYTES_MAX} octets`);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** @param {number} type @param {string} name */
function named(type, name) {
  return Buffer.concat([Buffer.from([type, name.length]), Buffer.from(name, 'latin1')]);
}
