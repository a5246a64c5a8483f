import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { sortedPages } from '../../../../src/lifecycle/status/sorted-pages.js';
import { crlEntry } from '../../../../src/x509/crl.js';

const AT = new Date(1_780_000_000_000);

interface Row {
  readonly serial: Buffer;
  readonly end: number;
}

const entryOf = ({ serial, end }: Row): Buffer =>
  crlEntry({ serial, revokedAt: AT, reason: end % 11, ...(end % 3 === 0 && { invalidSince: AT }) });

function partOf(rows: readonly Row[]): { entriesDer: Buffer; notAfters: Buffer } {
  const notAfters = Buffer.alloc(rows.length * 4);
  for (const [at, { end }] of rows.entries()) notAfters.writeUInt32BE(end, at * 4);
  return { entriesDer: Buffer.concat(rows.map(entryOf)), notAfters };
}

function sorted(parts: readonly (readonly Row[])[]): { entriesDer: string; notAfters: string } {
  const pages = [...sortedPages(parts.map(partOf))];
  const hex = (buffers: readonly Buffer[]): string => Buffer.concat(buffers).toString('hex');
  return { entriesDer: hex(pages.map((page) => page.entriesDer)), notAfters: hex(pages.map((page) => page.notAfters)) };
}

function expected(rows: readonly Row[]): { entriesDer: string; notAfters: string } {
  const { entriesDer, notAfters } = partOf([...rows].sort((a, b) => a.serial.compare(b.serial)));
  return { entriesDer: entriesDer.toString('hex'), notAfters: notAfters.toString('hex') };
}

/** Serials that begin alike for a while, then differ late, in length, or in their sign octet. */
const serial = fc
  .tuple(fc.constantFrom('01', '01000790', '0100079012345678'), fc.uint8Array({ maxLength: 9 }))
  .map(([start, rest]) => Buffer.concat([Buffer.from(start, 'hex'), rest]));
const row = fc.record({ serial, end: fc.integer({ min: 0, max: 0xffffffff }) });
const rows = (minLength = 0) =>
  fc.uniqueArray(row, { selector: ({ serial: one }) => one.toString('hex'), minLength, maxLength: 60 });

describe('entries as they lie in the table', () => {
  test('come in order of serial, each with its time, however they were divided', () => {
    fc.assert(
      fc.property(rows(), fc.nat(60), (all, at) => {
        expect(sorted([all.slice(0, at), all.slice(at)])).toEqual(expected(all));
      }),
      { numRuns: 500 },
    );
  });

  test('come in pages that follow one another', () => {
    const all = Array.from({ length: 10_000 }, (_, at) => {
      const one = Buffer.alloc(16, 1);
      one.writeUInt32BE((at * 2_654_435_761) >>> 0, 12);
      return { serial: one, end: at };
    });
    expect([...sortedPages([partOf(all)])].length).toBeGreaterThan(1);
    expect(sorted([all])).toEqual(expected(all));
  });

  test('are refused where they are no entries, or not as many as their times', () => {
    const all = Array.from({ length: 5 }, (_, at) => ({ serial: Buffer.from([1, at]), end: at }));
    const { entriesDer, notAfters } = partOf(all);
    const refused = (part: { entriesDer: Buffer; notAfters: Buffer }): void =>
      expect(() => [...sortedPages([part])]).toThrow(RangeError);
    refused({ entriesDer, notAfters: notAfters.subarray(4) });
    refused({ entriesDer, notAfters: Buffer.concat([notAfters, notAfters.subarray(4)]) });
    refused({ entriesDer: entriesDer.subarray(1), notAfters });
    refused({ entriesDer: entriesDer.subarray(0, -1), notAfters });
    refused({ entriesDer: Buffer.from('0582', 'hex'), notAfters: notAfters.subarray(16) });
  });
});
