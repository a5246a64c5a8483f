/**
 * Where each chunk of a list begins, or began: a serial at or above this bound and below the next one's belongs there. In
 * one piece of memory: asking the chunks themselves, of a list of a million, is forty reads from all over the memory.
 */
export class ChunkBounds {
  #words = new Uint32Array(WORDS * 64);
  #count = 0;
  readonly #wanted = new Uint32Array(WORDS);

  /** @param serial  at most 20 octets. @throws RangeError for a longer one */
  insert(at: number, serial: Buffer): void {
    const end = this.#count * WORDS;
    if (end + WORDS > this.#words.length) {
      const larger = new Uint32Array(this.#words.length * 2);
      larger.set(this.#words);
      this.#words = larger;
    }
    this.#words.copyWithin((at + 1) * WORDS, at * WORDS, end);
    writeWords(this.#words, at * WORDS, serial);
    this.#count += 1;
  }

  remove(at: number): void {
    this.#words.copyWithin(at * WORDS, (at + 1) * WORDS, this.#count * WORDS);
    this.#count -= 1;
  }

  /** The last chunk that does not begin after the serial; the first one where all do. */
  find(serial: Buffer): number {
    writeWords(this.#wanted, 0, serial);
    let [low, high] = [0, this.#count - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#isAtMostWanted(middle)) low = middle;
      else high = middle - 1;
    }
    return Math.max(0, low);
  }

  #isAtMostWanted(at: number): boolean {
    const [words, wanted] = [this.#words, this.#wanted];
    for (let word = 0, from = at * WORDS; word < WORDS; word += 1, from += 1) {
      const [mine, other] = [words[from] as number, wanted[word] as number];
      if (mine !== other) return mine < other;
    }
    return true;
  }
}

/** Left-aligned, so that words are in order as octets are, and the length, for one that begins as a longer one does. */
function writeWords(words: Uint32Array, at: number, serial: Buffer): void {
  const { length } = serial;
  if (length > SERIAL_OCTETS_MAX) throw new RangeError(`a serial of ${length} octets is longer than any`);
  for (let word = 0; word < WORDS - 1; word += 1) {
    let value = 0;
    for (let octet = word * 4; octet < word * 4 + 4; octet += 1) value = (value << 8) | (serial[octet] ?? 0);
    words[at + word] = value;
  }
  words[at + WORDS - 1] = length;
}

/** RFC 5280 section 4.1.2.2. */
const SERIAL_OCTETS_MAX = 20;
const WORDS = SERIAL_OCTETS_MAX / 4 + 1;
