import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  CRL_REASONS,
  CrlEntryCursor,
  compareEntries,
  crlEntries,
  crlEntry,
  inSerialOrder,
} from '../../../src/x509/crl.js';

const serialOf = fc.uint8Array({ minLength: 1, maxLength: 20 }).map((octets) => {
  const serial = Buffer.from(octets);
  return serial[0] === 0 ? Buffer.concat([Buffer.from([1]), serial.subarray(1)]) : serial;
});
const reasonOf = fc.constantFrom(0, 1, 4, 6, 8, 9, 10, undefined);
const dateOf = fc.date({ min: new Date('1951-01-01'), max: new Date('2060-01-01'), noInvalidDate: true });
const entryOf = fc
  .record({
    serial: serialOf,
    revokedAt: dateOf,
    reason: reasonOf,
    invalidSince: fc.option(dateOf, { nil: undefined }),
  })
  .map(({ serial, revokedAt, reason, invalidSince }) =>
    crlEntry({ serial, revokedAt, ...(reason !== undefined && { reason }), ...(invalidSince && { invalidSince }) }),
  );

/** Serials and reasons, or that the list was refused. */
function walked(list: Buffer): string[] {
  const found: string[] = [];
  const cursor = new CrlEntryCursor(list);
  try {
    while (cursor.next()) found.push(`${cursor.serial.toString('hex')} ${cursor.reasonCode} ${cursor.end}`);
  } catch {
    found.push('refused');
  }
  return found;
}

function read(list: Buffer): string[] {
  const found: string[] = [];
  let end = 0;
  try {
    for (const { der, serial, reason } of crlEntries({ entriesDer: list })) {
      end += der.length;
      found.push(`${serial.toString('hex')} ${CRL_REASONS[reason]} ${end}`);
    }
  } catch {
    found.push('refused');
  }
  return found;
}

const short = (octet: number, reason = 1): Buffer =>
  crlEntry({ serial: Buffer.from([octet]), revokedAt: new Date(1_780_000_000_000), reason });
const list = (...octets: number[]): Buffer => Buffer.concat(octets.map((octet) => short(octet)));

describe('entries of a CRL, RFC 5280 section 5.3', () => {
  test('the walk by offsets and the reader of objects say the same of whatever we write', () => {
    fc.assert(
      fc.property(fc.array(entryOf, { maxLength: 8 }), (entries) => {
        const der = Buffer.concat(entries);
        expect(walked(der)).toEqual(read(der));
      }),
      { numRuns: 500 },
    );
  });

  test('and of a list in which any octet is another, or which ends anywhere', () => {
    fc.assert(
      fc.property(
        fc.array(entryOf, { minLength: 1, maxLength: 3 }),
        fc.nat(),
        fc.nat(255),
        fc.nat(),
        (entries, at, octet, cut) => {
          const whole = Buffer.concat(entries);
          const bent = Buffer.from(whole);
          bent[at % bent.length] = octet;
          expect(walked(bent)).toEqual(read(bent));
          const ended = whole.subarray(0, cut % whole.length);
          expect(walked(ended)).toEqual(read(ended));
        },
      ),
      { numRuns: 3_000 },
    );
  });

  test('two lists in order are compared: what left, what came, what stayed', () => {
    const seen = { left: [] as number[], came: [] as number[], stayed: [] as number[] };
    compareEntries(list(1, 2, 3, 7), list(2, 3, 4, 9), {
      onlyInPrevious: ({ serial }) => seen.left.push(serial.readUInt8()),
      onlyInNext: ({ serial }) => seen.came.push(serial.readUInt8()),
      inBoth: ({ serial }) => seen.stayed.push(serial.readUInt8()),
    });
    expect(seen).toEqual({ left: [1, 7], came: [4, 9], stayed: [2, 3] });
  });

  test('a list in order is left as it is, any other is sorted', () => {
    const ordered = list(1, 2, 3);
    expect(inSerialOrder(ordered)).toBe(ordered);
    expect(inSerialOrder(list(2, 3, 1))).toEqual(ordered);
    expect(inSerialOrder(Buffer.alloc(0))).toHaveLength(0);
  });
});
