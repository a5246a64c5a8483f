import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { checkManifestRows, FAULTS_SHOWN_MAX } from '../../../../src/lifecycle/factory/check-manifest-rows.js';
import { makerHint, readPayload } from '../../../../src/lifecycle/factory/read-manifest.js';
import { FemtoError } from '../../../../src/platform/errors.js';
import type { JsonValue } from '../../../../src/platform/strict-json.js';

const PREFIXES = ['0211'];
const row = (n: number, change: Record<string, JsonValue> = {}): JsonValue => ({
  serialNumber: `SHB-${n}-AA`,
  eui: `0211${n.toString(16).padStart(8, '0')}`,
  hardwareId: `HW:${n}`,
  ...change,
});

describe('rows of a manifest', () => {
  test('a serial number is taken if and only if it is 4 to 32 of A-Z, 0-9 and -', () => {
    const near = fc.oneof(
      fc.stringMatching(/^[A-Z0-9-]{1,34}$/),
      fc.stringMatching(/^[A-Za-z0-9 _-]{1,34}$/),
      fc.string({ unit: 'grapheme', maxLength: 40 }),
      fc.constantFrom('ＳＨＢ-1', 'SHB‐1', 'SHВ-1', 'SHB-1\n', 'SHB-1 ', '\u202eSHB-1', 'shb-1'),
    );
    fc.assert(
      fc.property(near, (serialNumber) => {
        const { units, faultCount } = checkManifestRows([row(1, { serialNumber })], PREFIXES);
        const isSubscriber = /(?<![0-9A-Z])[0-9](?:-?[0-9]){14}(?![0-9A-Z])/.test(serialNumber);
        const canonical = [...serialNumber].every((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-'.includes(c));
        const good = canonical && serialNumber.length >= 4 && serialNumber.length <= 32 && !isSubscriber;
        expect(faultCount === 0).toBe(good);
        expect(units.map((unit) => unit.serialNumber)).toEqual(good ? [serialNumber] : []);
      }),
      { numRuns: 2_000 },
    );
  });

  test('whatever a row is, the check ends with a unit or a fault and never throws', () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue({ maxDepth: 3 }), { maxLength: 20 }), (rows) => {
        const { units, faultCount } = checkManifestRows(rows as JsonValue[], PREFIXES);
        expect(units.length + faultCount).toBeGreaterThanOrEqual(rows.length);
      }),
      { numRuns: 1_000 },
    );
  });

  test('no accepted text begins like a formula or holds a tag, a quote or a control character', () => {
    const hostile = fc.constantFrom(
      '=1+1',
      '+1',
      '-1',
      '@x',
      '\t=1',
      '<b>',
      '"',
      "'",
      '&',
      '\u0000',
      '\r\n',
      'javascript:x<',
    );
    const member = fc.constantFrom('serialNumber', 'eui', 'hardwareId', 'productClass', 'vendorSpkiSha256');
    fc.assert(
      fc.property(member, hostile, fc.string({ maxLength: 5 }), (name, start, rest) => {
        const { units } = checkManifestRows([row(1, { [name]: start + rest })], PREFIXES);
        for (const unit of units) {
          expect(`${unit.hardwareId}${unit.productClass}`).toMatch(/^[A-Za-z0-9._:-]*$/);
          expect(unit.hardwareId).toMatch(/^[A-Za-z0-9]/);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  test('many faults are counted and the first hundred named', () => {
    const { faults, faultCount } = checkManifestRows(
      Array.from({ length: 50_000 }, () => null),
      PREFIXES,
    );
    expect(faultCount).toBe(50_000);
    expect(faults).toHaveLength(FAULTS_SHOWN_MAX);
    expect(faults[99]).toBe('row 100: is not an object');
  });

  test('hexadecimal identifiers that happen to hold 15 digits in a row are no subscriber numbers', () => {
    const { faultCount } = checkManifestRows([row(1, { hardwareId: 'ab123456789012345cd' })], PREFIXES);
    expect(faultCount).toBe(0);
  });
});

describe('payloads', () => {
  const good = Buffer.from(
    JSON.stringify({
      maker: 'Garam Celltech',
      batch: 'B-1',
      model: 'FC-200',
      firmwareSha256: 'ab'.repeat(32),
      createdAt: '2026-11-24T10:00:00Z',
      nonce: 'n'.repeat(16),
      units: [row(1), row(2, { productClass: 'FC200', vendorSpkiSha256: 'cd'.repeat(32) })],
    }),
  );
  const maker = { name: 'Garam Celltech', euiPrefixes: PREFIXES };

  test('the payload is read, and its maker is found before the signature is', () => {
    expect(readPayload(good, maker)).toMatchObject({ rowCount: 2, faultCount: 0 });
    expect(makerHint(`e30.${good.toString('base64url')}.AA`)).toBe('Garam Celltech');
    for (const text of ['', '.', '..', 'a.b', `e30.${Buffer.from('{}').toString('base64url')}.x`])
      expect(makerHint(text)).toBeNull();
  });

  test('a payload with any byte changed is read, named by row, or refused: never anything else', () => {
    let refused = 0;
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), (at, by) => {
        const mutated = Buffer.from(good);
        mutated.writeUInt8(mutated.readUInt8(at) ^ by, at);
        try {
          readPayload(mutated, maker);
        } catch (error) {
          expect(error).toBeInstanceOf(FemtoError);
          expect(error).toMatchObject({ code: 'BAD_REQUEST' });
          refused += 1;
        }
      }),
      { numRuns: 3_000 },
    );
    expect(refused).toBeGreaterThan(300);
  });

  test.each([
    ['another maker', { maker: 'Other' }],
    ['an unknown member', { more: 1 }],
    ['a batch that is a formula', { batch: '=1' }],
    ['a batch that is a subscriber number', { batch: '450081234567890' }],
    ['a model that holds one', { model: 'FC 450081234567890' }],
    ['a model with a tag', { model: '<i>' }],
    ['a firmware hash in capitals', { firmwareSha256: 'AB'.repeat(32) }],
    ['a short nonce', { nonce: 'n' }],
    ['a date that is none', { createdAt: '2026-13-45T10:00:00Z' }],
    ['a local time', { createdAt: '2026-11-24T10:00:00+09:00' }],
    ['no rows', { units: [] }],
    ['rows that are no list', { units: { 0: row(1) } }],
  ])('%s is refused', (_, change) => {
    const changed = Buffer.from(JSON.stringify({ ...JSON.parse(good.toString()), ...change }));
    expect(() => readPayload(changed, maker)).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }));
  });
});
