/**
 * Units that renew, by CMP or by REST, so many at once, each once a round. Orders come over IPC, one at a time:
 * `{units}` takes over what `renewal-ports` made; `{arm}` makes keys and messages for the next round, off the clock, and
 * says how many units are ready; `{kind, seconds, lanes, atLeast}` → RenewalRound, longer where fewer than that many were renewed
 * (`bare`: the connections and requests of `rest` at a server that knows nothing, and nobody is renewed); `sample` → the bytes of one CMP renewal, before any other.
 * argv[2]: JSON LoadSettings.
 */
import { readFileSync } from 'node:fs';
import { readCertificate } from '../../src/x509/certificate.js';
import type { UnitSeed } from '../servers/renewal-ports.js';
import type { HttpLine, LineAnswer } from './http-line.js';
import { dialPlain, type PreparedKur, prepareKur, renewByCmp } from './renew-by-cmp.js';
import { askAsRest, identityOf, renewByRest } from './renew-by-rest.js';
import { type LoadUnit, nextUnit, unitOf } from './unit.js';

export interface LoadSettings {
  readonly cmpPort: number;
  readonly restPort: number;
  readonly raCertificate: string;
  readonly servicesRootPem: string;
}

export type LoadKind = 'cmp' | 'rest' | 'bare';
export type RenewalLoadOrder =
  | { units: string }
  | { arm: number }
  /** `lanes`: renewals under way at once. `barePort`: of the server that knows nothing, for `bare`. */
  | { kind: LoadKind; seconds: number; lanes: number; atLeast: number; barePort?: number }
  | 'sample';

type RoundOrder = Extract<RenewalLoadOrder, { kind: LoadKind }>;

export interface RenewalRound {
  /** Ended before the time was over. */
  readonly inTime: number;
  /** With those that were under way then. */
  readonly all: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly failures: number;
  readonly firstFailure: string;
  /** Units that were armed and not used. */
  readonly left: number;
}

/** Both messages of one renewal: whole HTTP request, and the answer as its head and body. Base64. */
export interface RenewalSample {
  readonly exchanges: readonly { readonly request: string; readonly head: string; readonly body: string }[];
}

interface Armed {
  readonly unit: LoadUnit;
  readonly kur: PreparedKur;
  readonly identity: ReturnType<typeof identityOf>;
}

const settings = JSON.parse(process.argv[2] ?? '') as LoadSettings;
const raSpki = readCertificate(Buffer.from(settings.raCertificate, 'base64')).spki;
const rest = { port: settings.restPort, servicesRootPem: settings.servicesRootPem };
const resting: LoadUnit[] = [];
const ready: Armed[] = [];

function armed(unit: LoadUnit): Armed {
  return { unit, kur: prepareKur(unit), identity: identityOf(rest, unit) };
}

function arm(wanted: number): number {
  for (const unit of resting.splice(0, Math.max(wanted - ready.length, 0))) ready.push(armed(unit));
  return ready.length;
}

function restUnit({ fqdn, key, certificateDer }: LoadUnit): void {
  resting.push(nextUnit(fqdn, key, certificateDer));
}

async function round({ kind, seconds, lanes, atLeast, barePort = 0 }: RoundOrder): Promise<RenewalRound> {
  const done: LoadUnit[] = [];
  const renew: Readonly<Record<LoadKind, (next: Armed, line: HttpLine) => Promise<LoadUnit>>> = {
    cmp: ({ unit, kur }, line) => renewByCmp(line, unit, kur, raSpki),
    rest: byRest,
    bare: async (next) => {
      await askAsRest({ ...rest, port: barePort }, next.identity);
      ready.push(next);
      return next.unit;
    },
  };
  let failures = 0;
  let firstFailure = '';
  const cpuBefore = process.cpuUsage();
  const startMs = performance.now();
  let end: Pick<RenewalRound, 'inTime' | 'seconds' | 'cpuSeconds'> | undefined;
  const endOfTime = () => {
    const { user, system } = process.cpuUsage(cpuBefore);
    return { inTime: done.length, seconds: (performance.now() - startMs) / 1_000, cpuSeconds: (user + system) / 1e6 };
  };
  const lane = async (): Promise<void> => {
    const line = dialPlain(settings.cmpPort);
    for (let next = ready.shift(); next !== undefined; next = end === undefined ? ready.shift() : undefined) {
      try {
        done.push(await renew[kind](next, line));
      } catch (error) {
        failures += 1;
        firstFailure ||= String(error);
        line.end();
      }
      // A cold server may need longer than a short round for its first ones.
      if (performance.now() - startMs >= seconds * 1_000 && done.length >= atLeast) end ??= endOfTime();
    }
    line.end();
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  if (kind !== 'bare') for (const unit of done) restUnit(unit);
  return { ...(end ?? endOfTime()), all: done.length, failures, firstFailure, left: ready.length };
}

function byRest({ unit, identity }: Armed): Promise<LoadUnit> {
  return renewByRest(rest, unit, identity);
}

async function sample(): Promise<RenewalSample> {
  arm(1);
  const next = ready.shift();
  if (next === undefined) throw new Error('there is no unit to take a sample from');
  const exchanges: { request: string; head: string; body: string }[] = [];
  const witness = (request: Buffer, { head, body }: LineAnswer): void => {
    exchanges.push({ request: request.toString('base64'), head, body: body.toString('base64') });
  };
  const line: HttpLine = dialPlain(settings.cmpPort);
  restUnit(await renewByCmp(line, next.unit, next.kur, raSpki, witness));
  line.end();
  return { exchanges };
}

function take(file: string): number {
  const seeds = JSON.parse(readFileSync(file, 'utf8')) as UnitSeed[];
  for (const seed of seeds) resting.push(unitOf(seed));
  return seeds.length;
}

async function obey(order: RenewalLoadOrder): Promise<unknown> {
  if (order === 'sample') return sample();
  if ('units' in order) return take(order.units);
  if ('arm' in order) return arm(order.arm);
  return round(order);
}

process.on('message', (order: RenewalLoadOrder) => void obey(order).then((result) => process.send?.(result)));
process.on('disconnect', () => process.exit(0));
process.send?.('ready');
