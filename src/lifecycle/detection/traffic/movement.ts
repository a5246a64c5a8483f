import { DAY_MS, type Finding, HOUR_MS, namesOf, RAW_EVENTS_MAX, type RawEvent } from './finding.js';

/** A unit on one line within one hour, as the operator's own table resolved its addresses. */
export interface LineSighting {
  readonly line: string;
  /** Empty: the line has none. */
  readonly region: string;
  /** The line was the unit's own then: by its binding, or by a relocation order. */
  readonly isHome: boolean;
  /** A gateway verified the certificate's key there. */
  readonly keyProved: boolean;
  readonly firstAt: Date;
  readonly lastAt: Date;
  readonly address: string;
  readonly gateways: readonly string[];
  readonly raw: readonly RawEvent[];
}

export interface MovedUnit {
  readonly unitId: number;
  readonly serialNumber: string;
  /** In order of time, at most a day. */
  readonly sightings: readonly LineSighting[];
}

/** Where a database of addresses puts one; null where it does not say. */
export type PlaceOf = (address: string) => Place | null;
export interface Place {
  readonly latitude: number;
  readonly longitude: number;
  readonly accuracyKm: number;
}

const LINES_MIN = 3;
const REGIONS_MIN = 2;

/**
 * DET-2: three lines or two provinces within 24 hours, without an order. All lines that were the unit's own count as one
 * place: who moved by order has not moved. Addresses on no line of the table count nowhere (rules 5.5), so that a carrier's
 * shared addresses are no journey; nor does geography, which only says how fast.
 */
export function judgeMovement(unit: MovedUnit, placeOf: PlaceOf): Finding | null {
  const end = Math.max(...unit.sightings.map(({ lastAt }) => lastAt.getTime()));
  const sightings = unit.sightings.filter(({ lastAt }) => end - lastAt.getTime() <= DAY_MS);
  const proved = journeyOf(sightings.filter(({ isHome, keyProved }) => isHome || keyProved));
  const journey = isTravel(proved) ? proved : journeyOf(sightings);
  const [first] = journey.sightings;
  if (!isTravel(journey) || first === undefined) return null;
  const { lines, regions } = journey;
  const speedKmh = topSpeed(journey.sightings, placeOf);
  return {
    rule: 'MOBILE_USE',
    subject: `unit:${unit.serialNumber}`,
    unitId: unit.unitId,
    grade: journey === proved ? 'strong' : 'soft',
    firstAt: first.firstAt,
    lastAt: new Date(end),
    words: [
      `Seen on ${lines.length} lines within 24 hours without a relocation order: ${lines.join(', ')}`,
      ...(regions.length >= REGIONS_MIN ? [`in ${regions.join(' and ')}`] : []),
      ...(speedKmh === null ? [] : [`at ${speedKmh} km/h or more between two of them`]),
    ].join('; '),
    facts: {
      lines,
      regions,
      speedKmh,
      keyProved: journey === proved,
      // With one foreign line it is what LINE_MISMATCH says already: one sighting is not two kinds of evidence.
      ...(journey.foreign === 1 && { restsOn: 'LINE_MISMATCH' }),
    },
    gateways: namesOf(journey.sightings.flatMap(({ gateways }) => gateways)),
    raw: journey.sightings.flatMap(({ raw }) => raw).slice(0, RAW_EVENTS_MAX),
  };
}

interface Journey {
  readonly sightings: readonly LineSighting[];
  readonly lines: readonly string[];
  readonly regions: readonly string[];
  readonly foreign: number;
  readonly places: number;
  readonly provinces: number;
}

function journeyOf(sightings: readonly LineSighting[]): Journey {
  const home = sightings.filter(({ isHome }) => isHome);
  const away = sightings.filter(({ isHome }) => !isHome);
  const homeRegions = new Set(home.map(({ region }) => region));
  const awayRegions = new Set(away.map(({ region }) => region).filter((name) => name !== '' && !homeRegions.has(name)));
  const foreign = new Set(away.map(({ line }) => line)).size;
  return {
    sightings,
    lines: [...new Set(sightings.map(({ line }) => line))],
    regions: [...new Set(sightings.map(({ region }) => region))].filter((name) => name !== ''),
    foreign,
    places: foreign + (home.length > 0 ? 1 : 0),
    provinces: awayRegions.size + (home.some(({ region }) => region !== '') ? 1 : 0),
  };
}

function isTravel({ foreign, places, provinces }: Journey): boolean {
  return foreign > 0 && (places >= LINES_MIN || provinces >= REGIONS_MIN);
}

/** Two sightings within a minute say no more than that: a smaller gap would make any distance a rocket. */
const GAP_MS_MIN = 60_000;

/** The least speed that explains the fastest leg, whole km/h: what the databases leave open counts as not travelled. */
function topSpeed(sightings: readonly LineSighting[], placeOf: PlaceOf): number | null {
  let top: number | null = null;
  let before: (LineSighting & { place: Place }) | null = null;
  for (const sighting of sightings) {
    const place = placeOf(sighting.address);
    if (place === null) continue;
    if (before !== null && before.line !== sighting.line) {
      const gapMs = Math.max(GAP_MS_MIN, sighting.firstAt.getTime() - before.lastAt.getTime());
      const km = Math.max(0, distanceKm(before.place, place) - before.place.accuracyKm - place.accuracyKm);
      top = Math.max(top ?? 0, Math.round((km * HOUR_MS) / gapMs));
    }
    before = { ...sighting, place };
  }
  return top;
}

const EARTH_RADIUS_KM = 6_371;

/** Great circle (haversine). */
function distanceKm(a: Place, b: Place): number {
  const radians = (degrees: number): number => (degrees * Math.PI) / 180;
  const latitudes = Math.sin(radians(b.latitude - a.latitude) / 2) ** 2;
  const longitudes = Math.sin(radians(b.longitude - a.longitude) / 2) ** 2;
  const h = latitudes + Math.cos(radians(a.latitude)) * Math.cos(radians(b.latitude)) * longitudes;
  return 2 * EARTH_RADIUS_KM * Math.asin(Math.min(1, Math.sqrt(h)));
}
