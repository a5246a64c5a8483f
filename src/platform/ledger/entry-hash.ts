/**
 * The bytes that an entry's hash covers, and the chain they form. Also what an auditor's own verifier must implement:
 *
 *   "femtopki-ledger-v1\n" │ prev_hash 32 │ epoch u32 │ seq u64 │ at i64, microseconds since 1970 UTC
 *   │ u32+kind │ u32+subject │ u32+body       integers big-endian, texts UTF-8
 *
 *   hash(n)   = SHA-256 of those bytes; prev_hash(1) = SHA-256("femtopki-ledger-v1 epoch <n>\n"), prev_hash(n) = hash(n−1)
 *   leaf(n)   = SHA-256(00 │ hash(n)), the (n−1)-th leaf of the epoch's RFC 6962 tree
 */
import { createHash } from 'node:crypto';
import { HASH_BYTES, leafHash, MerkleFrontier } from './merkle.js';

export interface EntryContent {
  readonly kind: string;
  readonly subject: string;
  /** Microseconds since 1970, as PostgreSQL keeps them: a change below a millisecond is a change too. */
  readonly atMicros: number;
  /** Canonical JSON. */
  readonly body: string;
}

/** A numbered entry as stored. `seq` counts from 1 in each epoch. */
export interface NumberedEntry extends EntryContent {
  readonly epoch: number;
  readonly seq: number;
  readonly prevHash: Buffer;
  readonly hash: Buffer;
}

const DOMAIN = Buffer.from('femtopki-ledger-v1\n', 'latin1');

export function genesisHash(epoch: number): Buffer {
  return createHash('sha256').update(`femtopki-ledger-v1 epoch ${epoch}\n`).digest();
}

export function entryHash(entry: EntryContent & { epoch: number; seq: number; prevHash: Buffer }): Buffer {
  const numbers = Buffer.alloc(20);
  numbers.writeUInt32BE(entry.epoch, 0);
  numbers.writeBigUInt64BE(BigInt(entry.seq), 4);
  numbers.writeBigInt64BE(BigInt(entry.atMicros), 12);
  const hash = createHash('sha256').update(DOMAIN).update(entry.prevHash).update(numbers);
  for (const text of [entry.kind, entry.subject, entry.body]) {
    const bytes = Buffer.from(text, 'utf8');
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length, 0);
    hash.update(length).update(bytes);
  }
  return hash.digest();
}

/** The Merkle leaf of an entry: it covers the entry's hash, and so everything before it. */
export function entryLeaf(hash: Buffer): Buffer {
  return leafHash(hash);
}

/** Where a chain stands: enough to append. */
export interface ChainState {
  readonly epoch: number;
  readonly size: number;
  readonly lastHash: Buffer;
  readonly frontier: readonly Buffer[];
}

export function emptyChain(epoch: number): ChainState {
  return { epoch, size: 0, lastHash: genesisHash(epoch), frontier: [] };
}

/** Numbers and chains entries in the order given. Pure. */
export function extendChain(
  state: ChainState,
  contents: readonly EntryContent[],
): { state: ChainState; entries: NumberedEntry[] } {
  const tree = new MerkleFrontier(state.size, state.frontier);
  const entries: NumberedEntry[] = [];
  let prevHash = state.lastHash;
  for (const content of contents) {
    const placed = { ...content, epoch: state.epoch, seq: tree.size + 1, prevHash };
    const hash = entryHash(placed);
    entries.push({ ...placed, hash });
    tree.append(entryLeaf(hash));
    prevHash = hash;
  }
  return { state: { epoch: state.epoch, size: tree.size, lastHash: prevHash, frontier: tree.subtrees }, entries };
}

/** A frontier as one column. */
export function packFrontier(subtrees: readonly Buffer[]): Buffer {
  return Buffer.concat(subtrees);
}

/** @throws RangeError for a length that is no whole number of hashes */
export function unpackFrontier(packed: Buffer): Buffer[] {
  if (packed.length % HASH_BYTES !== 0) throw new RangeError('a frontier has 32 bytes a hash');
  return Array.from({ length: packed.length / HASH_BYTES }, (_, n) =>
    packed.subarray(n * HASH_BYTES, (n + 1) * HASH_BYTES),
  );
}
