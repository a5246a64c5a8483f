import { readFile, stat } from 'node:fs/promises';
import { Reader, type Response } from 'mmdb-lib';
import type { Clock } from '../clock.js';

/**
 * What the operator's databases say of an address. `unlisted`: a database that is there and fresh has no such entry.
 * `unavailable`: there is no database, or it is too old to be believed.
 */
export type GeoFact<Value> = { readonly known: Value } | 'unlisted' | 'unavailable';

export interface GeoLookup {
  /** @param address  canonical */
  asn(address: string): GeoFact<number>;
  /** ISO 3166-1 alpha-2, upper case. @param address  canonical */
  country(address: string): GeoFact<string>;
}

/** Where an address is, for people: no rule lets anybody in or keeps anybody out by it. */
export interface GeoPlaces {
  /** Where the country's database also has places, as a city edition does. @param address  canonical */
  place(address: string): GeoFact<GeoPlace>;
}

/** Degrees, and how far from there it may be. */
export interface GeoPlace {
  readonly latitude: number;
  readonly longitude: number;
  readonly accuracyKm: number;
}

/** For installations without databases. */
export const NO_GEO: GeoLookup = { asn: () => 'unavailable', country: () => 'unavailable' };

export interface GeoDatabases extends GeoLookup, GeoPlaces {
  /** Looks at the files once; a replaced one is read whole before it takes the old one's place. */
  reload(): Promise<void>;
  close(): void;
}

export interface GeoOptions {
  /** MaxMind DB files; one that is not named is `unavailable` without a word. */
  readonly asnFile?: string | undefined;
  readonly countryFile?: string | undefined;
  /** Counted from the build time inside the file: copying an old file does not make it new. */
  readonly ageMaxDays: number;
  readonly clock: Clock;
  /** Told once when a named database becomes unavailable (missing, unreadable, too old), and once when it is back. */
  readonly onChange: (change: { file: string; usable: boolean; why: string }) => void;
  /** Default 2,000 ms. */
  readonly lookMs?: number;
}

const DAY_MS = 86_400_000;
const LOOK_MS = 2_000;
/** The largest published ones are a tenth of this. */
const FILE_BYTES_MAX = 1_073_741_824;

/**
 * Reads the operator's MaxMind DB files into memory and again when they are replaced. Nothing here opens a connection:
 * who brings the files is the operator's business.
 */
export async function openGeoDatabases(options: GeoOptions): Promise<GeoDatabases> {
  const asn = options.asnFile === undefined ? null : databaseFile(options.asnFile, options);
  const country = options.countryFile === undefined ? null : databaseFile(options.countryFile, options);
  const reload = async (): Promise<void> => {
    await Promise.all([asn?.look(), country?.look()]);
  };
  await reload();
  const timer = setInterval(() => void reload(), options.lookMs ?? LOOK_MS);
  timer.unref();
  return {
    asn: (address) => factOf(asn?.find(address), ({ autonomous_system_number: value }) => asNumber(value)),
    country: (address) => factOf(country?.find(address), ({ country: value }) => asCountry(value)),
    place: (address) => factOf(country?.find(address), ({ location }) => asPlace(location)),
    reload,
    close: () => clearInterval(timer),
  };
}

type Entry = Readonly<Record<string, unknown>>;

/** @param entry  undefined: no usable database; null: the address is not in it */
function factOf<Value>(entry: Entry | null | undefined, read: (entry: Entry) => Value | null): GeoFact<Value> {
  if (entry === undefined) return 'unavailable';
  const value = entry === null ? null : read(entry);
  return value === null ? 'unlisted' : { known: value };
}

function asNumber(value: unknown): number | null {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : null;
}

function asCountry(value: unknown): string | null {
  const code = (value as { iso_code?: unknown } | undefined)?.iso_code;
  return typeof code === 'string' && /^[A-Z]{2}$/.test(code) ? code : null;
}

/** A place without its accuracy says nothing: nobody knows what it leaves open. */
function asPlace(value: unknown): GeoPlace | null {
  const { latitude, longitude, accuracy_radius: accuracyKm } = (value ?? {}) as Entry;
  if (typeof latitude !== 'number' || typeof longitude !== 'number' || typeof accuracyKm !== 'number') return null;
  return Math.abs(latitude) <= 90 && Math.abs(longitude) <= 180 && accuracyKm >= 0
    ? { latitude, longitude, accuracyKm }
    : null;
}

interface DatabaseFile {
  look(): Promise<void>;
  find(address: string): Entry | null | undefined;
}

function databaseFile(file: string, { ageMaxDays, clock, onChange }: GeoOptions): DatabaseFile {
  let reader: Reader<Response> | null = null;
  let seen = '';
  let told: boolean | null = null;
  const isFresh = (): boolean =>
    reader !== null && clock.now().getTime() - reader.metadata.buildEpoch.getTime() <= ageMaxDays * DAY_MS;
  const tell = (why: string): void => {
    const usable = isFresh();
    if (usable !== told && !(told === null && usable)) onChange({ file, usable, why });
    told = usable;
  };
  return {
    look: async () => {
      let why = `is older than ${ageMaxDays} days`;
      try {
        const { mtimeMs, size, ino } = await stat(file);
        const version = `${mtimeMs} ${size} ${ino}`;
        if (version !== seen) {
          if (size > FILE_BYTES_MAX) throw new Error(`is larger than ${FILE_BYTES_MAX} bytes`);
          // Read whole and tried before it takes the old one's place: a copy that is half-way is not believed.
          const next = new Reader<Response>(await readFile(file));
          next.get('192.0.2.1');
          reader = next;
          seen = version;
        }
      } catch (error) {
        // What is in memory goes on until it is too old.
        why = `cannot be read (${(error as Error).message})`;
      }
      tell(isFresh() ? 'is fresh' : why);
    },
    find: (address) => {
      if (reader === null || !isFresh()) return undefined;
      try {
        return (reader.get(address) as Entry | null) ?? null;
      } catch {
        return undefined; // a damaged branch of the tree says nothing about the address
      }
    },
  };
}
