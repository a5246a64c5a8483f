/** Small MaxMind DB files, written by the format's own specification (version 2.0), for addresses of documentation. */
import ipaddr from 'ipaddr.js';

type Value = string | number | { readonly [key: string]: Value } | readonly string[];

/** Hanbit's own network, its rival and a foreign hoster, as requirements section 9 names them. */
export const ASNS = {
  '198.51.100.0/25': { autonomous_system_number: 64_496, autonomous_system_organization: 'Hanbit Mobile' },
  '203.0.113.0/25': { autonomous_system_number: 64_500, autonomous_system_organization: 'Rival' },
  '203.0.113.128/25': { autonomous_system_number: 64_509, autonomous_system_organization: 'Foreign hosting' },
  '2001:db8:10::/44': { autonomous_system_number: 64_496, autonomous_system_organization: 'Hanbit Mobile' },
} as const;

export const COUNTRIES = {
  '198.51.100.0/24': { country: { iso_code: 'KR' } },
  '203.0.113.0/25': { country: { iso_code: 'KR' } },
  '203.0.113.128/25': { country: { iso_code: 'ZZ' } },
  '2001:db8:10::/44': { country: { iso_code: 'KR' } },
} as const;

/** @param entries  network → record; no two overlap */
export function mmdb(
  entries: Readonly<Record<string, Value>>,
  { type, builtAt }: { type: string; builtAt: Date },
): Buffer {
  const nodes: [Branch, Branch][] = [[null, null]];
  const data: Buffer[] = [];
  let dataLength = 0;
  for (const [network, value] of Object.entries(entries)) {
    const encoded = encode(value);
    place(nodes, bitsOf(network), { dataOffset: dataLength });
    data.push(encoded);
    dataLength += encoded.length;
  }
  const tree = Buffer.alloc(nodes.length * 8);
  for (const [index, branches] of nodes.entries()) {
    for (const side of [0, 1] as const)
      tree.writeUInt32BE(recordOf(branches[side], nodes.length), index * 8 + side * 4);
  }
  const metadata = encode({
    binary_format_major_version: u16(2),
    binary_format_minor_version: u16(0),
    build_epoch: Math.floor(builtAt.getTime() / 1_000),
    database_type: type,
    description: { en: 'made by a test' },
    ip_version: u16(6),
    languages: ['en'],
    node_count: nodes.length,
    record_size: u16(32),
  });
  return Buffer.concat([tree, Buffer.alloc(16), ...data, Buffer.from('abcdef4d61784d696e642e636f6d', 'hex'), metadata]);
}

/** Index of a node, the place of a record, or nothing. */
type Branch = number | { readonly dataOffset: number } | null;

function place(nodes: [Branch, Branch][], bits: readonly (0 | 1)[], leaf: { dataOffset: number }): void {
  let node = 0;
  for (const [depth, bit] of bits.entries()) {
    const branches = nodes[node];
    if (branches === undefined) throw new Error('a node is missing');
    if (depth === bits.length - 1) {
      branches[bit] = leaf;
      return;
    }
    const next = branches[bit];
    if (typeof next === 'number') node = next;
    else {
      nodes.push([null, null]);
      branches[bit] = nodes.length - 1;
      node = nodes.length - 1;
    }
  }
}

/** IPv4 lives under ::/96. */
function bitsOf(network: string): (0 | 1)[] {
  const [address, length] = ipaddr.parseCIDR(network);
  const octets = address.toByteArray();
  const whole = octets.length === 4 ? [...new Array<number>(12).fill(0), ...octets] : octets;
  const bits = whole.flatMap((octet) => [7, 6, 5, 4, 3, 2, 1, 0].map((shift) => ((octet >> shift) & 1) as 0 | 1));
  return bits.slice(0, octets.length === 4 ? 96 + length : length);
}

function recordOf(branch: Branch, nodeCount: number): number {
  if (branch === null) return nodeCount;
  return typeof branch === 'number' ? branch : nodeCount + 16 + branch.dataOffset;
}

class Uint16 {
  constructor(readonly value: number) {}
}
const u16 = (value: number): Value => new Uint16(value) as unknown as Value;

function encode(value: Value): Buffer {
  if (value instanceof Uint16)
    return Buffer.concat([control(5, 2), Buffer.from([value.value >> 8, value.value & 0xff])]);
  if (typeof value === 'number') {
    const four = Buffer.alloc(4);
    four.writeUInt32BE(value);
    return Buffer.concat([control(6, 4), four]);
  }
  if (typeof value === 'string') {
    const text = Buffer.from(value);
    return Buffer.concat([control(2, text.length), text]);
  }
  if (Array.isArray(value)) return Buffer.concat([control(11, value.length), ...value.map(encode)]);
  const pairs = Object.entries(value);
  return Buffer.concat([control(7, pairs.length), ...pairs.flatMap(([key, inner]) => [encode(key), encode(inner)])]);
}

/** Types above 7 are written in a second octet. */
function control(type: number, size: number): Buffer {
  const short = Math.min(size, 29);
  const head = type > 7 ? [short, type - 7] : [(type << 5) | short];
  return Buffer.from(short < 29 ? head : [...head, size - 29]);
}
