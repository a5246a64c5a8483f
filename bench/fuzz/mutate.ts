/** A DER tree as offsets into its bytes, so that a mutation can keep every length right and still reach deep. */
interface Leaf {
  readonly start: number;
  readonly length: number;
}

export type Random = (below: number) => number;

/** Contents of primitive elements, found by walking constructed ones. */
function leavesOf(der: Buffer): Leaf[] {
  const leaves: Leaf[] = [];
  const walk = (from: number, to: number): void => {
    for (let at = from; at + 2 <= to; ) {
      const tag = der[at] ?? 0;
      const short = der[at + 1] ?? 0;
      const octets = short < 0x80 ? 0 : short & 0x7f;
      const length = octets === 0 ? short : der.readUIntBE(at + 2, octets);
      const content = at + 2 + octets;
      if ((tag & 0x20) !== 0) walk(content, content + length);
      else if (length > 0) leaves.push({ start: content, length });
      at = content + length;
    }
  };
  walk(0, der.length);
  return leaves;
}

/** One mutation of a valid message: most keep the tree whole, some break it. */
export function mutate(der: Buffer, random: Random): Buffer {
  const out = Buffer.from(der);
  const leaves = leavesOf(der);
  const leaf = leaves[random(leaves.length)] ?? { start: 0, length: 1 };
  const at = leaf.start + random(leaf.length);
  switch (random(10)) {
    case 0: // truncated
      return out.subarray(0, random(out.length));
    case 1: // bytes after the end
      return Buffer.concat([out, Buffer.from([random(256)])]);
    case 2: // any byte, lengths and tags included
      out[random(out.length)] = random(256);
      return out;
    case 3: // another message's leaf of the same length
      for (let n = 0; n < leaf.length; n++) out[leaf.start + n] = random(256);
      return out;
    default: // one byte of a leaf: the tree stays whole
      out[at] = (out[at] ?? 0) ^ (1 << random(8));
      return out;
  }
}

/** Small and repeatable: a run is known by its seed (mulberry32). */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}
