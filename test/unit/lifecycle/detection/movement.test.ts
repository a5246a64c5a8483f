import { describe, expect, test } from '@jest/globals';
import {
  judgeMovement,
  type LineSighting,
  type PlaceOf,
} from '../../../../src/lifecycle/detection/traffic/movement.js';

const NOON = Date.parse('2026-11-25T12:00:00Z');
/** @param hours  after noon */
const seen = (line: string, hours: number, changes: Partial<LineSighting> = {}): LineSighting => ({
  line,
  region: 'Seoul',
  isHome: line === 'home',
  keyProved: true,
  firstAt: new Date(NOON + hours * 3_600_000),
  lastAt: new Date(NOON + hours * 3_600_000),
  address: line,
  gateways: [`segw-${line}`],
  raw: [{ id: hours, at: `${hours}` }],
  ...changes,
});
const nowhere: PlaceOf = () => null;
const judge = (sightings: LineSighting[], placeOf = nowhere) =>
  judgeMovement({ unitId: 7, serialNumber: 'SHB-24-00007', sightings }, placeOf);

describe('movement (DET-2)', () => {
  test('three lines within a day are a journey; two of one province are not', () => {
    expect(judge([seen('home', 0), seen('a', 1)])).toBeNull();
    expect(judge([seen('home', 0), seen('a', 1), seen('b', 2)])).toMatchObject({
      rule: 'MOBILE_USE',
      subject: 'unit:SHB-24-00007',
      grade: 'strong',
      lastAt: new Date(NOON + 2 * 3_600_000),
      words: 'Seen on 3 lines within 24 hours without a relocation order: home, a, b',
      facts: { lines: ['home', 'a', 'b'], speedKmh: null },
      gateways: ['segw-a', 'segw-b', 'segw-home'],
      raw: [
        { id: 0, at: '0' },
        { id: 1, at: '1' },
        { id: 2, at: '2' },
      ],
    });
    expect(judge([seen('a', 0), seen('b', 1), seen('c', 2)])).toMatchObject({ grade: 'strong' });
  });

  test('two provinces are one, and with one foreign line it is no second kind of evidence beside LINE_MISMATCH', () => {
    expect(judge([seen('home', 0), seen('a', 1, { region: 'Busan' })])).toMatchObject({
      grade: 'strong',
      facts: { regions: ['Seoul', 'Busan'], restsOn: 'LINE_MISMATCH' },
      words: expect.stringContaining('in Seoul and Busan'),
    });
    expect(judge([seen('a', 0), seen('b', 1, { region: 'Busan' })])?.facts).not.toHaveProperty('restsOn');
  });

  test('what is longer ago than a day is another day’s', () => {
    expect(judge([seen('home', -25), seen('a', -1), seen('b', 0)])).toBeNull();
    expect(judge([seen('home', -24), seen('a', -1), seen('b', 0)])).not.toBeNull();
  });

  test('who moved by order has not moved, whatever the provinces', () => {
    const old = seen('old', 0, { isHome: true });
    expect(judge([old, seen('home', 1, { region: 'Busan' })])).toBeNull();
    expect(judge([old, seen('home', 1), seen('a', 2)])).toBeNull();
  });

  test('without proof of the key it is soft; home needs none, for only who is let in is there', () => {
    expect(judge([seen('home', 0), seen('a', 1, { keyProved: false }), seen('b', 2)])).toMatchObject({ grade: 'soft' });
    expect(judge([seen('home', 0, { keyProved: false }), seen('a', 1), seen('b', 2)])).toMatchObject({
      grade: 'strong',
    });
  });

  test('a line without a province is in none', () => {
    expect(judge([seen('home', 0), seen('a', 1, { region: '' })])).toBeNull();
    expect(judge([seen('home', 0, { region: '' }), seen('a', 1, { region: 'Busan' })])).toBeNull();
  });

  test('the speed is the least that explains it: accuracy counts against it, and a place that nobody knows says nothing', () => {
    const places: Record<string, ReturnType<PlaceOf>> = {
      home: { latitude: 37.57, longitude: 126.98, accuracyKm: 20 },
      a: { latitude: 35.18, longitude: 129.08, accuracyKm: 20 },
      b: { latitude: 35.2, longitude: 129.1, accuracyKm: 50 },
    };
    const journey = [seen('home', 0), seen('a', 2), seen('b', 3)];
    // Seoul to Busan are 325 km: less 40, in two hours.
    expect(judge(journey, (address) => places[address] ?? null)).toMatchObject({ facts: { speedKmh: 143 } });
    expect(judge(journey, (address) => (address === 'a' ? null : (places[address] ?? null)))).toMatchObject({
      facts: { speedKmh: 85 },
    });
    expect(judge(journey)?.words).not.toContain('km/h');
  });
});
