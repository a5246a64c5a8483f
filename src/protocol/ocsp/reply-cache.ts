import type { OcspSigner } from '../../lifecycle/status/index.js';
import { derToRaw, rawToDer } from '../../x509/ecdsa.js';
import { buildResponseData, type OcspStatus } from '../../x509/ocsp.js';
import { certIdBySpelling, spellingOf } from './cert-id-spellings.js';
import { type CachedReply, dataOf, refreshAtMs, replyOf, type SharedAnswer, secondOf } from './ocsp-reply.js';
import { type PackedAnswer, PackedAnswers, SERIAL_OCTETS, SIGNATURE_OCTETS } from './packed-answers.js';
import { isSignedBy } from './sign-answer.js';

export interface ReplyCacheOptions {
  /** Default 64 MiB. */
  readonly bytesMax?: number;
  /** An answer that was kept is not the delegate's: it was dropped, and is made anew. */
  readonly onBadSignature?: () => void;
}

interface ReadyReply {
  readonly slot: number;
  readonly reply: CachedReply;
  readonly endsAtMs: number;
}

/** One part in so many of the bound is for answers written out, each with its headers and objects. */
const READY_PART = 12;
const READY_BYTES = 1_400;
const BYTES_MAX = 64 * 1024 * 1024;
const SPELLINGS_MAX = 65_536;
const SIGNERS_MAX = 256;

/**
 * Answers by their CertID, which is a slice of the plain request. Of each only the signature and what it varies in is kept,
 * and the response is written anew, octet for octet as it was signed: seven times as many as whole responses fit. Its
 * signature is checked when it is given out for the first time: not to who had it made, but to everybody after. A
 * certificate has four spellings (two hashes, NULL or not); only these are kept, so that a withdrawal knows all it has
 * to remove.
 */
export class ReplyCache {
  private readonly packed: PackedAnswers;
  private readonly spellings = new Map<string, number>();
  private readonly spellingTexts: string[] = [];
  private readonly signers: OcspSigner[] = [];
  /** Written out, by their slot: what is asked for most costs a look. The table is the truth; this follows it. */
  private readonly ready: (ReadyReply | undefined)[];
  private refreshed = 0;
  private eraNow = 0;

  constructor(private readonly options: ReplyCacheOptions = {}) {
    const { bytesMax = BYTES_MAX } = options;
    const readyBytes = bytesMax / READY_PART;
    this.ready = new Array<ReadyReply | undefined>(Math.ceil(readyBytes / READY_BYTES)).fill(undefined);
    this.packed = new PackedAnswers(bytesMax - readyBytes);
  }

  /** Rises with every withdrawal: what was read from the database before one must not be stored after it. */
  get era(): number {
    return this.eraNow;
  }

  /** @returns undefined when unknown, withdrawn or past its end */
  get(certIdDer: Buffer, nowMs: number): CachedReply | undefined {
    const slot = this.slotOf(certIdDer);
    if (slot === undefined) return undefined;
    const ready = this.ready[slot % this.ready.length];
    if (ready?.slot === slot && nowMs < ready.endsAtMs) {
      this.packed.warm(slot);
      return ready.reply;
    }
    const packed = this.packed.answerIn(slot);
    if (packed === undefined) return undefined;
    if (nowMs >= packed.nextUpdate * 1_000) {
      this.remove(slot);
      return undefined;
    }
    const shared = this.sharedIn(slot, packed, certIdDer);
    if (!this.packed.isChecked(slot)) {
      // Here and not when it is stored: most answers are never asked for again.
      if (
        !isSignedBy(shared.responder, { responseData: buildResponseData(dataOf(shared)), signature: shared.signature })
      ) {
        this.remove(slot);
        this.options.onBadSignature?.();
        return undefined;
      }
      this.packed.markChecked(slot);
    }
    const reply = replyOf(shared);
    if (this.packed.warm(slot)) {
      this.ready[slot % this.ready.length] = { slot, reply, endsAtMs: packed.nextUpdate * 1_000 };
    }
    return reply;
  }

  /** @param era  {@link era} before the status was read */
  store(shared: SharedAnswer, era: number): CachedReply {
    const reply = replyOf(shared);
    const { certIdDer } = shared.answer;
    const spelling = spellingOf(certIdDer);
    if (era !== this.eraNow || spelling === undefined) return reply;
    // Of CAs and signers that came and went over the years.
    if (this.spellingTexts.length === SPELLINGS_MAX || this.signers.length === SIGNERS_MAX) this.withdrawAll();
    const packed = packedOf(shared, this.numberOfSpelling(spelling), this.numberOfSigner(shared.responder));
    if (packed !== undefined) {
      const signature = derToRaw(shared.signature, SIGNATURE_OCTETS / 2);
      const slot = this.packed.put(packed, certIdDer, certIdDer.length - SERIAL_OCTETS, signature);
      this.forgetReady(slot);
    }
    return reply;
  }

  /** @param spellings  every one of the certificate's CA */
  withdraw(spellings: readonly string[], serial: Buffer): void {
    this.eraNow += 1;
    if (serial.length !== SERIAL_OCTETS) return;
    for (const spelling of spellings) {
      const number = this.spellings.get(spelling);
      const slot = number === undefined ? -1 : this.packed.find(number, serial, 0);
      if (slot >= 0) this.remove(slot);
    }
  }

  withdrawAll(): void {
    this.eraNow += 1;
    this.packed.clear();
    this.ready.fill(undefined);
    this.spellings.clear();
    this.spellingTexts.length = 0;
    this.signers.length = 0;
  }

  /**
   * CertIDs of answers past half their life that say `revoked` or were asked for since they were made. Looks at some
   * entries at each call, one after another, and at all of them in turn.
   */
  dueForRefresh(nowMs: number, looksMax: number, dueMax: number): Buffer[] {
    const due: Buffer[] = [];
    const { packed } = this;
    let looks = 0;
    // Passing a free slot is no look: it costs a nanosecond.
    for (let step = 0; step < packed.slots && looks < looksMax && due.length < dueMax; step += 1) {
      const slot = this.refreshed;
      this.refreshed = slot + 1 < packed.slots ? slot + 1 : 0;
      const answer = packed.answerIn(slot);
      if (answer === undefined) continue;
      looks += 1;
      if (nowMs < refreshAtMs(answer) || nowMs >= answer.nextUpdate * 1_000) continue;
      if (answer.revoked === undefined && !packed.wasAsked(slot)) continue;
      due.push(certIdBySpelling(this.spellingTexts[answer.spelling] as string, packed.serialIn(slot)));
    }
    return due;
  }

  get counts(): { answers: number; bytes: number } {
    const ready = this.ready.reduce((count, one) => count + (one === undefined ? 0 : 1), 0);
    return { answers: this.packed.count, bytes: this.packed.usedBytes + ready * READY_BYTES };
  }

  private sharedIn(slot: number, packed: PackedAnswer, certIdDer: Buffer): SharedAnswer {
    const { revoked } = packed;
    const status: OcspStatus =
      revoked === undefined
        ? { kind: 'good' }
        : { kind: 'revoked', at: new Date(revoked.at * 1_000), reason: revoked.reason };
    const thisUpdate = new Date(packed.thisUpdate * 1_000);
    const nextUpdate = new Date(packed.nextUpdate * 1_000);
    return {
      responder: this.signers[packed.signer] as OcspSigner,
      answer: { certIdDer, status, thisUpdate, nextUpdate },
      producedAt: new Date(packed.producedAt * 1_000),
      signature: rawToDer(this.packed.signatureIn(slot)),
    };
  }

  private remove(slot: number): void {
    this.packed.remove(slot);
    this.forgetReady(slot);
  }

  private forgetReady(slot: number): void {
    const place = slot % this.ready.length;
    if (this.ready[place]?.slot === slot) this.ready[place] = undefined;
  }

  private slotOf(certIdDer: Buffer): number | undefined {
    const spelling = spellingOf(certIdDer);
    const number = spelling === undefined ? undefined : this.spellings.get(spelling);
    if (number === undefined) return undefined;
    const slot = this.packed.find(number, certIdDer, certIdDer.length - SERIAL_OCTETS);
    return slot < 0 ? undefined : slot;
  }

  private numberOfSpelling(spelling: string): number {
    const known = this.spellings.get(spelling);
    if (known !== undefined) return known;
    this.spellings.set(spelling, this.spellingTexts.length);
    return this.spellingTexts.push(spelling) - 1;
  }

  /** The directory reads its signers again and again: the same certificate is the same signer. */
  private numberOfSigner(signer: OcspSigner): number {
    const known = this.signers.findIndex(
      (other) => other === signer || other.certificateDer.equals(signer.certificateDer),
    );
    if (known >= 0) {
      this.signers[known] = signer;
      return known;
    }
    return this.signers.push(signer) - 1;
  }
}

/** Undefined where it would not come out of the table as it went in. */
function packedOf(shared: SharedAnswer, spelling: number, signer: number): PackedAnswer | undefined {
  const { status, thisUpdate, nextUpdate } = shared.answer;
  if (shared.responder.algorithm !== 'ecdsa-with-SHA256' || status.kind === 'unknown') return undefined;
  const [producedAt, from, to] = [shared.producedAt, thisUpdate, nextUpdate].map(secondOf) as [number, number, number];
  const times = { spelling, signer, producedAt, thisUpdate: from, nextUpdate: to };
  if (status.kind === 'good') return { ...times, revoked: undefined };
  const { at, reason = 0 } = status;
  if (typeof reason !== 'number' || at.getTime() < 0) return undefined;
  return { ...times, revoked: { at: secondOf(at), reason } };
}
