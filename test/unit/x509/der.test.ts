import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { crlEntry } from '../../../src/x509/crl.js';
import {
  boolean,
  decodeOid,
  explicitTag,
  generalizedTime,
  implicitTag,
  integer,
  namedBits,
  nullValue,
  oid,
  sequence,
  TAG,
  tlv,
  x509Time,
} from '../../../src/x509/der.js';
import { DerReader, integerValue, namedBitNumbers, readDer, timeValue } from '../../../src/x509/der-reader.js';
import { extension } from '../../../src/x509/extension.js';
import { OID } from '../../../src/x509/oids.js';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe('extensions as other encoders write them', () => {
  const eku = sequence(oid(OID.clientAuth), oid(OID.ipsecIke));
  test.each([
    ['noRevAvail', extension('2.5.29.56', false, nullValue()), '30090603551d3804020500'],
    ['ocsp-nocheck', extension(OID.ocspNoCheck, false, nullValue()), '300f06092b060105050730010504020500'],
    ['extended-revoke', extension(OID.ocspExtendedRevoke, false, nullValue()), '300f06092b060105050730010904020500'],
    ['KU digitalSignature', extension(OID.keyUsage, true, namedBits([0])), '300e0603551d0f0101ff040403020780'],
    ['KU keyCertSign cRLSign', extension(OID.keyUsage, true, namedBits([5, 6])), '300e0603551d0f0101ff040403020106'],
    ['BC CA FALSE', extension(OID.basicConstraints, true, sequence()), '300c0603551d130101ff04023000'],
    [
      'BC CA pathLen 0',
      extension(OID.basicConstraints, true, sequence(boolean(true), integer(0))),
      '30120603551d130101ff040830060101ff020100',
    ],
    [
      'EKU clientAuth ipsecIKE',
      extension(OID.extendedKeyUsage, false, eku),
      '301d0603551d250416301406082b0601050507030206082b06010505070311',
    ],
    ['NULL-DN as GeneralName', explicitTag(4, sequence()), 'a4023000'],
  ])('%s', (_name, encoded, wanted) => {
    expect(hex(encoded)).toBe(wanted.replaceAll(' ', ''));
  });

  test('a CRL entry carries its reason as ENUMERATED, and none for unspecified', () => {
    const entry = { serial: Buffer.from([1]), revokedAt: new Date('2026-11-24T00:00:00Z') };
    expect(hex(crlEntry({ ...entry, reason: 'keyCompromise' }))).toContain('300a0603551d1504030a0101');
    expect(crlEntry({ ...entry, reason: 'unspecified' })).toEqual(crlEntry(entry));
    expect(crlEntry({ ...entry, reason: 1 })).toEqual(crlEntry({ ...entry, reason: 'keyCompromise' }));
  });
});

describe('integers, X.690 section 8.3', () => {
  test.each([
    [0, '020100'],
    [127, '02017f'],
    [128, '02020080'],
    [256, '02020100'],
    [-1, '0201ff'],
    [-128, '020180'],
    [-129, '0202ff7f'],
  ])('%d', (value, wanted) => {
    expect(hex(integer(value))).toBe(wanted);
  });

  test('a Buffer is unsigned: its leading zeros go, and a sign octet comes where it must', () => {
    expect(hex(integer(Buffer.from('000080', 'hex')))).toBe('02020080');
    expect(hex(integer(Buffer.from('0001', 'hex')))).toBe('020101');
    expect(hex(integer(Buffer.alloc(0)))).toBe('020100');
  });

  test('every number survives the way out and back', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(1n << 300n), max: 1n << 300n }), (value) => {
        expect(integerValue(new DerReader(integer(value), 'n').expect(TAG.INTEGER).content, 'n')).toBe(value);
      }),
    );
  });
});

describe('object identifiers, X.690 section 8.19', () => {
  test('known ones', () => {
    expect(hex(oid('1.2.840.10045.4.3.2'))).toBe('06082a8648ce3d040302');
    expect(hex(oid('2.999.3'))).toBe('0603883703');
  });

  test('every identifier survives the way out and back', () => {
    const arc = fc.bigInt({ min: 0n, max: 1n << 70n });
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 }),
        fc.integer({ min: 0, max: 39 }),
        fc.array(arc),
        (first, second, rest) => {
          const dotted = [first, second, ...rest].join('.');
          expect(decodeOid(oid(dotted).subarray(oid(dotted).length < 130 ? 2 : 3))).toBe(dotted);
        },
      ),
    );
  });
});

test('lengths take the shortest form at every border', () => {
  for (const size of [0, 127, 128, 255, 256, 65_535, 65_536, 16_777_216]) {
    const encoded = tlv(TAG.OCTET_STRING, Buffer.alloc(size));
    const reader = new DerReader(encoded, 'octets');
    expect(reader.next().content.length).toBe(size);
    expect(reader.atEnd).toBe(true);
  }
});

test('named bits drop trailing zeros and say how many bits are unused', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.integer({ min: 0, max: 40 })), (bits) => {
      const sorted = [...bits].sort((a, b) => a - b);
      const { content } = new DerReader(namedBits(bits), 'bits').expect(TAG.BIT_STRING);
      expect(namedBitNumbers(content, 'bits')).toEqual(sorted);
    }),
  );
  expect(() => namedBitNumbers(Buffer.from([0, 0x80]), 'bits')).toThrow(/trailing zero bits/);
});

describe('times, RFC 5280 section 4.1.2.5', () => {
  test.each([
    ['2026-11-24T23:58:00.999Z', '170d3236313132343233353830305a'],
    ['2049-12-31T23:59:59.000Z', '170d3439313233313233353935395a'],
    ['2050-01-01T00:00:00.000Z', '180f32303530303130313030303030305a'],
    ['9999-12-31T23:59:59.000Z', '180f39393939313233313233353935395a'],
    ['2028-02-29T00:00:00.000Z', '170d3238303232393030303030305a'],
    ['1950-01-01T00:00:00.000Z', '170d3530303130313030303030305a'],
    ['1949-12-31T23:59:59.000Z', '180f31393439313233313233353935395a'],
  ])('%s', (iso, wanted) => {
    expect(hex(x509Time(new Date(iso)))).toBe(wanted);
  });

  test('GeneralizedTime never has a fraction', () => {
    expect(generalizedTime(new Date('2026-01-02T03:04:05.678Z')).toString('latin1')).toContain('20260102030405Z');
  });

  test('every whole second from 1950 on survives the way out and back', () => {
    fc.assert(
      fc.property(fc.integer({ min: -631_152_000, max: 253_402_300_799 }), (second) => {
        const at = new Date(second * 1_000);
        expect(timeValue(new DerReader(x509Time(at), 'time').next(), 'time')).toEqual(at);
        expect(timeValue(new DerReader(generalizedTime(at), 'time').next(), 'time')).toEqual(at);
      }),
    );
  });

  test.each([
    '261124235800Z'.replace('2358', '2460'),
    '260231000000Z',
    '2611242358Z',
    '261124235800+0000',
    '261124235860Z',
    '260229000000Z',
  ])('a UTCTime of %s is refused', (text) => {
    const encoded = tlv(TAG.UTC_TIME, Buffer.from(text));
    expect(() => timeValue(new DerReader(encoded, 'time').next(), 'time')).toThrow(/time/);
  });
});

describe('the reader refuses what DER forbids at its level', () => {
  test.each([
    ['indefinite length', '3080020101 0000', /indefinite/],
    ['padded length', '308103020101', /padded length/],
    ['padded long length', `30820080${'00'.repeat(128)}`, /padded length/],
    ['length beyond the end', '3004020101', /shorter/],
    ['a length of five octets', '30850000000001', /oversized/],
    ['a truncated length', '3082', /middle of a length/],
    ['a lone tag', '30', /middle of an element/],
    ['bytes after the element', '300302010100', /after its last field/],
  ])('%s', (_name, encoded, message) => {
    const bytes = Buffer.from(encoded.replaceAll(' ', ''), 'hex');
    expect(() => readDer(bytes, TAG.SEQUENCE, 'message')).toThrow(message);
  });

  test.each(['1f8101020101', '0000'])('a tag X.509 does not use, %s', (encoded) => {
    expect(() => new DerReader(Buffer.from(encoded, 'hex'), 'message').next()).toThrow(/tag that X.509 does not use/);
  });

  test('implicit tags hold bare content', () => {
    expect(hex(implicitTag(2, Buffer.from('ab')))).toBe('82026162');
  });
});
