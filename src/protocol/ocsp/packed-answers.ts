/** What is kept of one answer beside its serial and its signature; the rest is the same for all of its CA and signer. */
export interface PackedAnswer {
  /** 0…65535: of the CertIDs of one CA and one hash, as the holder numbers them. */
  readonly spelling: number;
  /** 0…255: whose signature it is, as the holder numbers them. */
  readonly signer: number;
  /** Seconds since 1970, as all times here. */
  readonly producedAt: number;
  readonly thisUpdate: number;
  readonly nextUpdate: number;
  /** Undefined: good. `reason` is the CRL's code, 0 to 10. */
  readonly revoked: { readonly at: number; readonly reason: number } | undefined;
}

export const SERIAL_OCTETS = 16;
/** r ‖ s on P-256: the curve of every online key. */
export const SIGNATURE_OCTETS = 64;

/** Slots in which one serial may lie; their tags share one line of the processor's cache. */
const WAYS = 16;
const SERIAL = SIGNATURE_OCTETS / 4;
const PRODUCED_AT = SERIAL + SERIAL_OCTETS / 4;
const THIS_UPDATE = PRODUCED_AT + 1;
const NEXT_UPDATE = PRODUCED_AT + 2;
const REVOKED_AT = PRODUCED_AT + 3;
const WORDS = PRODUCED_AT + 4;
/** Words, tag, spelling, signer, reason and heat. */
const SLOT_BYTES = WORDS * 4 + 4 + 2 + 1 + 1 + 1;
const HEAT_MAX = 7;
const ASKED = 0x80;
const CHECKED = 0x40;
const HEAT = 0x3f;
const NOWHERE = -1;

/**
 * So many answers and no more, in typed arrays: 105 octets each, and nothing for the garbage collector to look at. A serial
 * has sixteen places; where all are taken, one that was asked for least goes.
 */
export class PackedAnswers {
  /** Signature, serial, and four times. */
  private readonly words: Uint32Array;
  private readonly octets: Buffer;
  /** 32 bits of the hash; 0 = free. */
  private readonly tags: Uint32Array;
  private readonly spellings: Uint16Array;
  private readonly signers: Uint8Array;
  /** 0 = good, else the reason and one. */
  private readonly reasons: Uint8Array;
  /** How often it was asked for of late; {@link ASKED}: since it was made; {@link CHECKED}: its signature was. */
  private readonly heats: Uint8Array;
  private readonly sets: number;
  /** Against serials chosen to share a place. */
  private readonly seed = Math.floor(Math.random() * 2 ** 32);
  private turn = 0;
  private held = 0;

  constructor(bytesMax: number) {
    this.sets = Math.max(1, Math.floor(bytesMax / (SLOT_BYTES * WAYS)));
    const slots = this.sets * WAYS;
    this.words = new Uint32Array(slots * WORDS);
    this.octets = Buffer.from(this.words.buffer);
    this.tags = new Uint32Array(slots);
    this.spellings = new Uint16Array(slots);
    this.signers = new Uint8Array(slots);
    this.reasons = new Uint8Array(slots);
    this.heats = new Uint8Array(slots);
  }

  get count(): number {
    return this.held;
  }

  get usedBytes(): number {
    return this.held * SLOT_BYTES;
  }

  get slots(): number {
    return this.tags.length;
  }

  /**
   * @param at  where the serial's 16 octets begin in `der`
   * @returns its slot, or −1
   */
  find(spelling: number, der: Buffer, at: number): number {
    const { tags, words, spellings } = this;
    const a = der.readUInt32LE(at);
    const b = der.readUInt32LE(at + 4);
    const c = der.readUInt32LE(at + 8);
    const d = der.readUInt32LE(at + 12);
    const hash = this.hash(spelling, b, c, d);
    const tag = tagOf(hash, d);
    const first = (hash % this.sets) * WAYS;
    for (let slot = first; slot < first + WAYS; slot += 1) {
      if (tags[slot] !== tag || spellings[slot] !== spelling) continue;
      const word = slot * WORDS + SERIAL;
      if (words[word] === a && words[word + 1] === b && words[word + 2] === c && words[word + 3] === d) return slot;
    }
    return NOWHERE;
  }

  /** Counts that it was asked for; true for what is as hot as it can be. */
  warm(slot: number): boolean {
    const heat = this.heats[slot] as number;
    const isHot = (heat & HEAT) >= HEAT_MAX;
    this.heats[slot] = isHot ? heat | ASKED : (heat | ASKED) + 1;
    return isHot;
  }

  /** Puts it in the place of the one with its serial and spelling; else into a free place; else where the coldest is. */
  put(answer: PackedAnswer, der: Buffer, at: number, signature: Buffer): number {
    const { spelling, signer, producedAt, thisUpdate, nextUpdate, revoked } = answer;
    let slot = this.find(spelling, der, at);
    if (slot === NOWHERE) {
      const hash = this.hash(spelling, der.readUInt32LE(at + 4), der.readUInt32LE(at + 8), der.readUInt32LE(at + 12));
      slot = this.place((hash % this.sets) * WAYS);
      if (this.tags[slot] === 0) this.held += 1;
      this.tags[slot] = tagOf(hash, der.readUInt32LE(at + 12));
      this.heats[slot] = 0;
    }
    this.octets.set(signature, slot * WORDS * 4);
    der.copy(this.octets, (slot * WORDS + SERIAL) * 4, at, at + SERIAL_OCTETS);
    const word = slot * WORDS;
    this.words[word + PRODUCED_AT] = producedAt;
    this.words[word + THIS_UPDATE] = thisUpdate;
    this.words[word + NEXT_UPDATE] = nextUpdate;
    this.words[word + REVOKED_AT] = revoked?.at ?? 0;
    this.spellings[slot] = spelling;
    this.signers[slot] = signer;
    this.reasons[slot] = revoked === undefined ? 0 : revoked.reason + 1;
    this.heats[slot] = (this.heats[slot] as number) & HEAT;
    return slot;
  }

  /** Undefined for a free slot. */
  answerIn(slot: number): PackedAnswer | undefined {
    if (this.tags[slot] === 0) return undefined;
    const word = slot * WORDS;
    const reason = (this.reasons[slot] as number) - 1;
    return {
      spelling: this.spellings[slot] as number,
      signer: this.signers[slot] as number,
      producedAt: this.words[word + PRODUCED_AT] as number,
      thisUpdate: this.words[word + THIS_UPDATE] as number,
      nextUpdate: this.words[word + NEXT_UPDATE] as number,
      revoked: reason < 0 ? undefined : { at: this.words[word + REVOKED_AT] as number, reason },
    };
  }

  /** r ‖ s, in the table itself: to be used before anything else is stored. */
  signatureIn(slot: number): Buffer {
    return this.octets.subarray(slot * WORDS * 4, slot * WORDS * 4 + SIGNATURE_OCTETS);
  }

  /** A copy. */
  serialIn(slot: number): Buffer {
    const start = (slot * WORDS + SERIAL) * 4;
    return Buffer.from(this.octets.subarray(start, start + SERIAL_OCTETS));
  }

  wasAsked(slot: number): boolean {
    return ((this.heats[slot] as number) & ASKED) !== 0;
  }

  isChecked(slot: number): boolean {
    return ((this.heats[slot] as number) & CHECKED) !== 0;
  }

  markChecked(slot: number): void {
    this.heats[slot] = (this.heats[slot] as number) | CHECKED;
  }

  remove(slot: number): void {
    if (this.tags[slot] === 0) return;
    this.tags[slot] = 0;
    this.held -= 1;
  }

  clear(): void {
    this.tags.fill(0);
    this.held = 0;
  }

  /** A free slot of a set, or the coldest, from another first one each time; what is left cools down by as much. */
  private place(first: number): number {
    const { tags, heats } = this;
    this.turn = (this.turn + 1) % WAYS;
    let coldest = first;
    let least = HEAT;
    for (let step = 0; step < WAYS; step += 1) {
      const slot = first + ((this.turn + step) % WAYS);
      if (tags[slot] === 0) return slot;
      const heat = (heats[slot] as number) & HEAT;
      if (heat < least) {
        least = heat;
        coldest = slot;
      }
    }
    if (least > 0) for (let slot = first; slot < first + WAYS; slot += 1) heats[slot] = (heats[slot] as number) - least;
    return coldest;
  }

  private hash(spelling: number, b: number, c: number, d: number): number {
    let hash = Math.imul(b ^ this.seed, 0x9e3779b1) ^ Math.imul(spelling + 1, 0x85ebca6b);
    hash = Math.imul((hash ^ (hash >>> 15)) + c, 0x2c1b3c6d);
    hash = Math.imul((hash ^ (hash >>> 13)) + d, 0x297a2d39);
    return (hash ^ (hash >>> 16)) >>> 0;
  }
}

function tagOf(hash: number, word: number): number {
  const tag = Math.imul(hash ^ word, 0x846ca68b) >>> 0;
  return tag === 0 ? 1 : tag;
}
