/**
 * A fleet in virtual time: hours of it in seconds. What a unit does is decided by the agent's own functions, its window by
 * issuance, when it asks again by renewal, whether it still may come back by lineage; only wires, keys and disks are missing.
 */
import { momentWithin, stretched, unreachableWaitSeconds } from '../../src/agent/waits.js';
import { renewalWindow } from '../../src/lifecycle/issuance/renewal-window.js';
import { comebackTier } from '../../src/lifecycle/lineage/comeback.js';
import { askAgainIn } from '../../src/lifecycle/renewal/advise.js';

export type Random = (length: number) => Buffer;

export interface VirtualUnit {
  readonly id: number;
  readonly region: string;
  readonly sources: readonly string[];
  notBefore: Date;
  notAfter: Date;
  renewFrom: Date;
  renewUntil: Date;
  renewAtMs: number;
  /** Tries in a row that found nobody, or were turned away. */
  tries: number;
  renewedAtMs: number | null;
}

export const LIFE_MS = 7 * 86_400_000;
const BACKDATE_MS = 3_600_000;

/** Half of them in two of seventeen regions; a tenth behind a few addresses of carriers. */
export function virtualFleet(count: number, endMs: number, random: Random): VirtualUnit[] {
  const carriers = Math.max(1, Math.ceil(count / 15_000));
  return Array.from({ length: count }, (_none, id) => {
    const isShared = id % 10 === 0;
    const address = isShared ? `carrier-${(id / 10) % carriers}` : `home-${id}`;
    const region = id % 2 === 0 ? `region-${(id / 2) % 2}` : `region-${2 + (id % 15)}`;
    const unit = { id, region, sources: [address], tries: 0, renewedAtMs: null };
    // When it last renewed: anywhere in its own period before the outage began, as in a fleet that runs for long.
    const probe = certificateFrom(new Date(0), random);
    const issuedAt = new Date(endMs - part(random) * probe.renewAtMs);
    return { ...unit, ...certificateFrom(issuedAt, random, probe.renewAtMs) };
  });
}

/** What issuance writes for a certificate of seven days, and the moment that the agent draws in it. */
export function certificateFrom(at: Date, random: Random, renewAfterMs?: number) {
  const notBefore = new Date(at.getTime() - BACKDATE_MS);
  const notAfter = new Date(notBefore.getTime() + LIFE_MS);
  const window = renewalWindow(at, notAfter, part(random));
  const drawn = momentWithin(window.renewFrom.toISOString(), window.renewUntil.toISOString(), random);
  const renewAtMs = renewAfterMs === undefined ? Date.parse(drawn) : at.getTime() + renewAfterMs;
  return { notBefore, notAfter, ...window, renewAtMs };
}

export function mayStillRenew({ notAfter }: VirtualUnit, nowMs: number): boolean {
  const tier = comebackTier({ notAfter, now: new Date(nowMs), line: 'unknown' });
  return tier === 'valid' || tier === 'automatic';
}

/** Milliseconds until a unit that asked for advice asks again, or renews. */
export function afterAdviceMs({ id, renewFrom, renewAtMs }: VirtualUnit, nowMs: number): number {
  const againSeconds = askAgainIn(renewFrom.getTime() - nowMs, id);
  return Math.min(Math.max(1_000, renewAtMs - nowMs), againSeconds * 1_000);
}

export function afterRefusalMs(retryAfterSeconds: number, random: Random): number {
  return stretched(retryAfterSeconds, random) * 1_000;
}

/** Where in its long last pause a unit is when the outage ends. */
export function untilNextTryMs(random: Random): number {
  return part(random) * unreachableWaitSeconds(TRIES_OF_A_LONG_OUTAGE, random) * 1_000;
}

const TRIES_OF_A_LONG_OUTAGE = 100;

export function part(random: Random): number {
  return random(4).readUInt32BE(0) / 2 ** 32;
}

/** The same numbers each time: a drill that fails can be looked at. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const word = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  return (length) => {
    const bytes = Buffer.alloc(length + 4);
    for (let at = 0; at < length; at += 4) bytes.writeUInt32BE(word(), at);
    return bytes.subarray(0, length);
  };
}
