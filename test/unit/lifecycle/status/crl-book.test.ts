import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { CrlBook } from '../../../../src/lifecycle/status/crl-book.js';
import { crlEntry } from '../../../../src/x509/crl.js';

const AT = new Date(1_780_000_000_000);

/** Serials of one to four octets, so that some begin as others do. */
function serialOf(seed: number): Buffer {
  const octets = Buffer.alloc(4);
  octets.writeUInt32BE((seed * 2_654_435_761) >>> 0);
  const serial = octets.subarray(0, 1 + (seed % 4));
  return serial[0] === 0 ? Buffer.from([1]) : serial;
}

const entryOf = (serial: Buffer, reason = 1): Buffer => crlEntry({ serial, revokedAt: AT, reason });
const whole = (book: CrlBook): string => Buffer.concat(book.pieces()).toString('hex');

/** What a book must say: a map, sorted when asked. */
class Model {
  readonly entries = new Map<string, { der: Buffer; end: number }>();
  text(): string {
    const sorted = [...this.entries].sort(([a], [b]) => Buffer.from(a, 'hex').compare(Buffer.from(b, 'hex')));
    return sorted.map(([, { der }]) => der.toString('hex')).join('');
  }
  dropEnded(seconds: number): void {
    for (const [serial, { end }] of this.entries) if (end <= seconds) this.entries.delete(serial);
  }
}

const change = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      put: fc.nat(9_999),
      reason: fc.constantFrom(0, 1, 4),
      end: fc.integer({ min: 100, max: 200 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ remove: fc.nat(9_999) }) },
  { weight: 1, arbitrary: fc.record({ ended: fc.integer({ min: 90, max: 130 }) }) },
);

function pageOf(count: number, from = 0): { entriesDer: Buffer; notAfters: Buffer; serials: Buffer[] } {
  const serials = Array.from({ length: count }, (_, at) => {
    const serial = Buffer.alloc(16, 1);
    serial.writeUInt32BE(from + at, 8);
    return serial;
  });
  const notAfters = Buffer.alloc(count * 4);
  for (let at = 0; at < count; at += 1) notAfters.writeUInt32BE(1_000 + at, at * 4);
  return { entriesDer: Buffer.concat(serials.map((serial) => entryOf(serial))), notAfters, serials };
}

describe('the list of one CA in memory', () => {
  test('says what a sorted map says, whatever is put, taken out and ended', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 400 }), (changes) => {
        const [book, model] = [new CrlBook(), new Model()];
        for (const one of changes) {
          if ('put' in one) {
            const serial = serialOf(one.put);
            const der = entryOf(serial, one.reason);
            book.put(serial, der, one.end);
            model.entries.delete(serial.toString('hex'));
            if (one.end > book.endedBefore) model.entries.set(serial.toString('hex'), { der, end: one.end });
          } else if ('remove' in one) {
            const serial = serialOf(one.remove);
            expect(book.remove(serial)).toBe(model.entries.delete(serial.toString('hex')));
          } else {
            book.dropEnded(one.ended);
            model.dropEnded(book.endedBefore);
          }
        }
        expect(whole(book)).toBe(model.text());
        expect(book.count).toBe(model.entries.size);
        expect(book.bytes * 2).toBe(model.text().length);
      }),
      { numRuns: 150 },
    );
  });

  test('pages are taken in one behind another, and chunks that fill up are divided', () => {
    const book = new CrlBook();
    const [first, second] = [pageOf(2_000), pageOf(500, 2_000)];
    book.append(first.entriesDer, first.notAfters);
    book.append(second.entriesDer, second.notAfters);
    expect(whole(book)).toBe(Buffer.concat([first.entriesDer, second.entriesDer]).toString('hex'));
    const more = pageOf(3_000);
    for (const serial of more.serials) {
      const between = Buffer.concat([serial.subarray(0, 15), Buffer.from([9])]);
      book.put(between, entryOf(between), 5_000);
    }
    expect(book.count).toBe(5_500);
    for (const serial of more.serials.slice(0, 2_500)) expect(book.remove(serial)).toBe(true);
    expect(book.count).toBe(3_000);
  });

  test('a page that is not in order, overlaps, or has other times than entries is refused', () => {
    const { entriesDer, notAfters, serials } = pageOf(3);
    const book = new CrlBook();
    const turned = Buffer.concat(serials.toReversed().map((serial) => entryOf(serial)));
    expect(() => book.append(turned, notAfters)).toThrow(RangeError);
    expect(() => book.append(entriesDer, notAfters.subarray(4))).toThrow(RangeError);
    book.append(entriesDer, notAfters);
    expect(() => book.append(entriesDer, notAfters)).toThrow(RangeError);
    expect(book.count).toBe(3);
  });

  test('a slice begins behind a serial, whether that is here or not', () => {
    const book = new CrlBook();
    const { entriesDer, notAfters, serials } = pageOf(1_500);
    book.append(entriesDer, notAfters);
    const [known, last] = [serials[799] ?? Buffer.alloc(0), serials[1_499] ?? Buffer.alloc(0)];
    const size = entriesDer.length / 1_500;
    expect(book.slice(Buffer.alloc(0), 700)).toEqual({ entriesDer: entriesDer.subarray(0, 700 * size), count: 700 });
    expect(book.slice(known, 50)).toEqual({ entriesDer: entriesDer.subarray(800 * size, 850 * size), count: 50 });
    book.remove(known);
    expect(book.slice(known, 50).entriesDer.equals(entriesDer.subarray(800 * size, 850 * size))).toBe(true);
    expect(book.slice(last, 50).count).toBe(0);
  });
});
