import { LRUCache } from 'lru-cache';

/** A finished answer, ready to be written to a socket. Shared by everybody who asked the same. */
export interface OcspReply {
  readonly body: Buffer;
  /** Flat list name, value, name, value: what `writeHead` takes fastest. */
  readonly headers: readonly string[];
  readonly etag: string | undefined;
  /** From here on it is made anew in the background; milliseconds since 1970. */
  readonly refreshAtMs: number;
  /** From here on it must not be given out. 0: never cached. */
  readonly endsAtMs: number;
  /** Set when what it says may have changed: nobody may give it out any more. */
  isDead: boolean;
}

/** 64 MiB of answers, their requests included. */
const BYTES_MAX = 64 * 1024 * 1024;
/** Objects, map slots and headers beside the bytes themselves. */
const OVERHEAD_BYTES = 600;

/**
 * Two layers: exact request bytes → answer, so that a repeated question costs one look-up; and certificate → its answers,
 * so that a revocation finds them all, and so that a thousand spellings of one question are signed once.
 */
export class ReplyCache {
  private readonly byRequest = new LRUCache<string, OcspReply>({
    maxSize: BYTES_MAX / 2,
    sizeCalculation: (_reply, key) => key.length + OVERHEAD_BYTES,
  });
  private readonly byCertificate = new LRUCache<string, Map<string, OcspReply>>({
    maxSize: BYTES_MAX / 2,
    sizeCalculation: (replies) =>
      [...replies.values()].reduce((sum, { body }) => sum + body.length + OVERHEAD_BYTES, 0),
    // An answer that can no longer be found by its certificate could not be withdrawn either.
    dispose: (replies, _key, reason) => {
      if (reason === 'evict' || reason === 'delete') for (const reply of replies.values()) reply.isDead = true;
    },
  });
  private eraNow = 0;

  /** Rises with every withdrawal: what was read from the database before one must not be stored after it. */
  get era(): number {
    return this.eraNow;
  }

  /** Undefined when unknown, withdrawn or past its end. */
  forRequest(requestKey: string, nowMs: number): OcspReply | undefined {
    const reply = this.byRequest.get(requestKey);
    if (reply === undefined) return undefined;
    if (!reply.isDead && nowMs < reply.endsAtMs) return reply;
    this.byRequest.delete(requestKey);
    return undefined;
  }

  forCertificate(certificateKey: string, certIdKey: string, nowMs: number): OcspReply | undefined {
    const reply = this.byCertificate.get(certificateKey)?.get(certIdKey);
    return reply !== undefined && !reply.isDead && nowMs < reply.endsAtMs ? reply : undefined;
  }

  /** @param era  {@link era} before the status was read */
  store(certificateKey: string, certIdKey: string, reply: OcspReply, era: number): void {
    if (era !== this.eraNow) return;
    const replies = this.byCertificate.get(certificateKey) ?? new Map<string, OcspReply>();
    const previous = replies.get(certIdKey);
    if (previous) previous.isDead = true;
    // The two hashes, with and without NULL: a certificate has no more than these spellings.
    if (replies.size > CERT_ID_FORMS_MAX) {
      for (const each of replies.values()) each.isDead = true;
      replies.clear();
    }
    replies.set(certIdKey, reply);
    this.byCertificate.set(certificateKey, replies);
    if (!this.byCertificate.has(certificateKey)) reply.isDead = true;
  }

  remember(requestKey: string, reply: OcspReply): void {
    if (!reply.isDead && reply.endsAtMs > 0) this.byRequest.set(requestKey, reply);
  }

  /** @param certificateKey  `<issuerId>:<serial hex>` */
  withdraw(certificateKey: string): void {
    this.eraNow += 1;
    this.byCertificate.delete(certificateKey);
  }

  withdrawAll(): void {
    this.eraNow += 1;
    this.byCertificate.clear();
    this.byRequest.clear();
  }

  get counts(): { requests: number; certificates: number } {
    return { requests: this.byRequest.size, certificates: this.byCertificate.size };
  }
}

const CERT_ID_FORMS_MAX = 8;
