/** A finished answer, ready to be written to a socket. Octets are latin1 text: node sends it with the headers in one write. */
export interface OcspReply {
  readonly body: string;
  /** Flat list name, value, name, value: what `writeHead` takes fastest. */
  readonly headers: readonly string[];
  /** Undefined where nobody may keep it. */
  readonly etag: string | undefined;
}

/** What an answer for everybody is made of. */
export interface SharedAnswer {
  /** The response up to its certificates. */
  readonly head: string;
  /** The certificates: one text for all answers of a signer. */
  readonly tail: string;
  readonly etag: string;
  readonly lastModified: string;
  readonly isRevoked: boolean;
  /** From here on it is made anew in the background; milliseconds since 1970. */
  readonly refreshAtMs: number;
  /** From here on it must not be given out. */
  readonly endsAtMs: number;
}

const CONTENT_TYPE = 'application/ocsp-response';
/** Objects, map slots and the short texts beside head and key; measured, see docs/decisions/status-index.md. */
const OVERHEAD_BYTES = 360;
const BYTES_MAX = 64 * 1024 * 1024;

/**
 * Answers by the exact DER of their CertID, which is a slice of the plain request: the common question costs one look-up
 * and no parsing. A certificate has four spellings (two hashes, NULL or not); only these are kept, so that a withdrawal
 * knows all it has to remove. Evicts as SIEVE does: what was asked for twice outlives a flood of things asked for once.
 *
 * @see Zhang et al., "SIEVE is Simpler than LRU", NSDI 2024
 */
export class ReplyCache {
  private readonly entries = new Map<string, Entry>();
  private newest: Entry | undefined;
  private oldest: Entry | undefined;
  private hand: Entry | undefined;
  private refreshed: Entry | undefined;
  private bytes = 0;
  private eraNow = 0;

  constructor(private readonly bytesMax = BYTES_MAX) {}

  /** Rises with every withdrawal: what was read from the database before one must not be stored after it. */
  get era(): number {
    return this.eraNow;
  }

  /** @param key  CertID, DER as latin1. Undefined when unknown, withdrawn or past its end */
  get(key: string, nowMs: number): CachedReply | undefined {
    const entry = this.entries.get(key);
    if (entry === undefined) return undefined;
    if (nowMs >= entry.endsAtMs) {
      this.remove(entry);
      return undefined;
    }
    entry.isAsked = true;
    return entry;
  }

  /** @param era  {@link era} before the status was read */
  store(key: string, answer: SharedAnswer, era: number): CachedReply {
    const entry = new Entry(key, answer);
    if (era !== this.eraNow) return entry;
    const previous = this.entries.get(key);
    if (previous !== undefined) this.remove(previous);
    this.entries.set(key, entry);
    this.bytes += sizeOf(entry);
    entry.older = this.newest;
    if (this.newest !== undefined) this.newest.newer = entry;
    this.newest = entry;
    this.oldest ??= entry;
    while (this.bytes > this.bytesMax) this.evict();
    return entry;
  }

  /** @param spellings  every CertID of the certificate, DER as latin1 */
  withdraw(spellings: readonly string[]): void {
    this.eraNow += 1;
    for (const key of spellings) {
      const entry = this.entries.get(key);
      if (entry !== undefined) this.remove(entry);
    }
  }

  withdrawAll(): void {
    this.eraNow += 1;
    this.entries.clear();
    this.newest = undefined;
    this.oldest = undefined;
    this.hand = undefined;
    this.refreshed = undefined;
    this.bytes = 0;
  }

  /**
   * CertIDs of answers past half their life that say `revoked` or were asked for since they were made. Looks at some
   * entries at each call, one after another, and at all of them in turn.
   */
  dueForRefresh(nowMs: number, looksMax: number, dueMax: number): string[] {
    const due: string[] = [];
    let entry = this.refreshed ?? this.oldest;
    for (let looks = 0; looks < looksMax && entry !== undefined && due.length < dueMax; looks += 1) {
      if (nowMs >= entry.refreshAtMs && nowMs < entry.endsAtMs && (entry.isRevoked || entry.isAsked))
        due.push(entry.key);
      entry = entry.newer;
    }
    this.refreshed = entry;
    return due;
  }

  get counts(): { answers: number; bytes: number } {
    return { answers: this.entries.size, bytes: this.bytes };
  }

  /** From old to new, the first that nobody asked for since the hand passed it. */
  private evict(): void {
    let entry = this.hand ?? this.oldest;
    while (entry?.isAsked) {
      entry.isAsked = false;
      entry = entry.newer ?? this.oldest;
    }
    if (entry === undefined) return;
    this.hand = entry;
    this.remove(entry);
  }

  private remove(entry: Entry): void {
    this.entries.delete(entry.key);
    this.bytes -= sizeOf(entry);
    if (this.hand === entry) this.hand = entry.newer;
    if (this.refreshed === entry) this.refreshed = entry.newer;
    if (entry.older !== undefined) entry.older.newer = entry.newer;
    else this.oldest = entry.newer;
    if (entry.newer !== undefined) entry.newer.older = entry.older;
    else this.newest = entry.older;
  }
}

/** An answer that is or was in the cache. */
export type CachedReply = OcspReply & Pick<SharedAnswer, 'refreshAtMs' | 'endsAtMs'>;

class Entry implements CachedReply {
  readonly head: string;
  readonly tail: string;
  readonly etag: string;
  readonly lastModified: string;
  readonly isRevoked: boolean;
  readonly refreshAtMs: number;
  readonly endsAtMs: number;
  isAsked = false;
  newer: Entry | undefined = undefined;
  older: Entry | undefined = undefined;

  constructor(
    readonly key: string,
    answer: SharedAnswer,
  ) {
    this.head = answer.head;
    this.tail = answer.tail;
    this.etag = answer.etag;
    this.lastModified = answer.lastModified;
    this.isRevoked = answer.isRevoked;
    this.refreshAtMs = answer.refreshAtMs;
    this.endsAtMs = answer.endsAtMs;
  }

  get body(): string {
    return this.head + this.tail;
  }

  /**
   * max-age 5 s whatever nextUpdate says, and no Expires: an HTTP/1.0 cache would keep a `good` for its whole hour, and a
   * revocation must be seen within seconds (rules 6.3). The ETag makes the question again cheap.
   */
  get headers(): readonly string[] {
    return [
      'Content-Type',
      CONTENT_TYPE,
      'Content-Length',
      String(this.head.length + this.tail.length),
      'Cache-Control',
      'max-age=5, public, no-transform, must-revalidate',
      'ETag',
      this.etag,
      'Last-Modified',
      this.lastModified,
    ];
  }
}

/** An answer for one asker, or an error. */
export function uncachedReply(body: Buffer): OcspReply {
  const headers = ['Content-Type', CONTENT_TYPE, 'Content-Length', String(body.length), 'Cache-Control', 'no-store'];
  return { body: body.toString('latin1'), headers, etag: undefined };
}

function sizeOf(entry: Entry): number {
  return entry.key.length + entry.head.length + OVERHEAD_BYTES;
}
