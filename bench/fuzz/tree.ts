import { tlv } from '../../src/x509/der.js';
import type { Random } from './mutate.js';

/** One DER element; `children` where it is constructed and its content could be taken apart. */
export interface Node {
  tag: number;
  content: Buffer;
  children?: Node[];
}

/** Elements that stand side by side. Knows one-octet tags and definite lengths, and nothing of the product. */
export function split(bytes: Buffer): { tag: number; der: Buffer; content: Buffer }[] {
  const elements: { tag: number; der: Buffer; content: Buffer }[] = [];
  for (let at = 0; at < bytes.length; ) {
    const short = bytes[at + 1] ?? 0;
    const octets = short < 0x80 ? 0 : short & 0x7f;
    const start = at + 2 + octets;
    const length = octets === 0 ? short : bytes.readUIntBE(at + 2, octets);
    if (start + length > bytes.length) throw new Error('an element ends beyond its parent');
    elements.push({
      tag: bytes[at] ?? 0,
      der: bytes.subarray(at, start + length),
      content: bytes.subarray(start, start + length),
    });
    at = start + length;
  }
  return elements;
}

export function parseTree(bytes: Buffer): Node {
  const [root, ...more] = nodesOf(bytes);
  if (root === undefined || more.length > 0) throw new Error('not one element');
  return root;
}

function nodesOf(bytes: Buffer): Node[] {
  return split(bytes).map(({ tag, content }) =>
    (tag & CONSTRUCTED) === 0 ? { tag, content } : { tag, content, children: nodesOf(content) },
  );
}

export function encodeTree({ tag, content, children }: Node): Buffer {
  return tlv(tag, ...(children === undefined ? [content] : children.map(encodeTree)));
}

/**
 * One field of a valid message bent, every length around it kept right: dropped, doubled, swapped with its neighbour, taken
 * from another message, retagged, emptied, grown, an extreme number.
 */
export function bendField(der: Buffer, donor: Buffer, random: Random): Buffer {
  const root = parseTree(der);
  const parents = constructed(root).filter(({ children }) => children.length > 0);
  const parent = parents[random(parents.length)];
  if (parent === undefined) return der;
  const { children } = parent;
  const at = random(children.length);
  const one = children[at];
  if (one === undefined) return der;
  switch (random(9)) {
    case 0:
      children.splice(at, 1);
      break;
    case 1:
      children.splice(at, 0, one);
      break;
    case 2:
      children.splice(at, 1);
      children.splice(random(children.length + 1), 0, one);
      break;
    case 3:
      children[at] = donated(donor, one.tag, random) ?? one;
      break;
    case 4:
      children[at] = { ...one, tag: (one.tag & 0xe0) | random(31) };
      break;
    case 5:
      children[at] = { tag: one.tag, content: Buffer.alloc(0) };
      break;
    case 6:
      children[at] = { tag: one.tag, content: grown(one.content, random) };
      break;
    case 7:
      children[at] = { tag: one.tag, content: EXTREMES[random(EXTREMES.length)] ?? one.content };
      break;
    default:
      children.splice(at, 0, { tag: TAGS[random(TAGS.length)] ?? 5, content: Buffer.alloc(0) });
  }
  return encodeTree(root);
}

const CONSTRUCTED = 0x20;
const TAGS = [0x02, 0x03, 0x04, 0x05, 0x06, 0x0c, 0x30, 0x80, 0xa0, 0xa1, 0xa8];
const EXTREMES = [
  '00',
  'ff',
  '7fffffff',
  '80000000',
  '00ffffffffffffffff',
  '0080',
  'ffffffffffffffffffffffffffffffffff',
].map((hex) => Buffer.from(hex, 'hex'));

type Parent = Node & { children: Node[] };

function constructed(node: Node): Parent[] {
  const { children } = node;
  if (children === undefined) return [];
  return [node as Parent, ...children.flatMap(constructed)];
}

/** Another message's element with this tag. */
function donated(donor: Buffer, tag: number, random: Random): Node | undefined {
  const found = constructed(parseTree(donor)).flatMap(({ children }) => children.filter((one) => one.tag === tag));
  return found.length === 0 ? undefined : found[random(found.length)];
}

function grown(content: Buffer, random: Random): Buffer {
  const more = Buffer.from(Array.from({ length: 1 + random(200) }, () => random(256)));
  return random(2) === 0 ? Buffer.concat([content, more]) : Buffer.concat([more, content]);
}
