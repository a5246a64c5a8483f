/**
 * The bytes that an entry's hash covers, and the chain they form. Also what an auditor's own verifier must implement:
 *
 *   "femtopki-ledger-v1\n" │ prev_hash 32 │ epoch u32 │ seq u64 │ at i64, microseconds since 1970 UTC
 *   │ u32+kind │ u32+subject │ u32+body       integers big-endian, texts UTF-8
 *
 *   hash(n)   = SHA-256 of those bytes; prev_hash(1) = SHA-256("femtopki-ledger-v1 epoch <n>\n"), prev_hash(n) = hash(n−1)
 *   leaf(n)   = SHA-256(00 │ hash(n)), the (n−1)-th leaf of the epoch's RFC 6962 tree
 */
import { createHash, hash } from 'node:crypto';
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
const HEAD_BYTES = DOMAIN.length + HASH_BYTES + 20;

export function genesisHash(epoch: number): Buffer {
  return createHash('sha256').update(`femtopki-ledger-v1 epoch ${epoch}\n`).digest();
}

export function entryHash(entry: EntryContent & { epoch: number; seq: number; prevHash: Buffer }): Buffer {
  const texts = [entry.kind, entry.subject, entry.body];
  const size = texts.reduce((sum, text) => sum + 4 + Buffer.byteLength(text), HEAD_BYTES);
  // One call over one buffer: the sequencer does this for every entry there is.
  const bytes = Buffer.allocUnsafe(size);
  let at = DOMAIN.copy(bytes, 0);
  at += entry.prevHash.copy(bytes, at);
  at = bytes.writeUInt32BE(entry.epoch, at);
  at = bytes.writeBigUInt64BE(BigInt(entry.seq), at);
  at = bytes.writeBigInt64BE(BigInt(entry.atMicros), at);
  for (const text of texts) {
    const length = bytes.write(text, at + 4);
    at = bytes.writeUInt32BE(length, at) + length;
  }
  return hash('sha256', bytes, 'buffer');
}

/** The Merkle leaf of an entry: it covers the entry's hash, and so everything before it. */
export function entryLeaf(own: Buffer): Buffer {
  return leafHash(own);
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
    const own = entryHash(placed);
    entries.push({ ...placed, hash: own });
    tree.append(entryLeaf(own));
    prevHash = own;
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
