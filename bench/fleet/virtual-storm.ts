import { urgencyOf } from '../../src/lifecycle/renewal/index.js';
import type { Waiter } from '../../src/lifecycle/renewal/storm/fair-queue.js';
import { StormGate } from '../../src/lifecycle/renewal/storm/storm-gate.js';
import {
  afterAdviceMs,
  afterRefusalMs,
  certificateFrom,
  mayStillRenew,
  part,
  seededRandom,
  untilNextTryMs,
  type VirtualUnit,
  virtualFleet,
} from './virtual-fleet.js';

export interface StormSettings {
  readonly units: number;
  readonly outageMs: number;
  /** Over all servers. */
  readonly perSecond: number;
  readonly servers: number;
  readonly sourceShare: number;
  /** How long is looked on after the outage, unless everybody who was due is renewed before. */
  readonly watchMs: number;
}

export interface StormOutcome {
  /** Whose moment had come when the outage ended. */
  readonly due: number;
  readonly expired: number;
  /** Seconds after the outage until the last of them was renewed; null where one was not. */
  readonly allExpiredAfterSeconds: number | null;
  readonly allDueAfterSeconds: number | null;
  /** Due by the end and not renewed, or out of every automatic tier. */
  readonly notRenewed: number;
  readonly lost: number;
  readonly renewals: number;
  /** In the busiest ten seconds, a second. */
  readonly admittedPerSecondMax: number;
  readonly turnedAway: number;
  readonly triesMax: number;
  readonly waitingMax: number;
  readonly advicePerSecondMax: number;
  readonly arrivalsPerSecondMax: number;
  /** Expired units: last one after, by region; the fairest is all equal. */
  readonly expiredAfterSecondsByRegion: readonly number[];
}

interface Visitor extends Waiter {
  readonly unit: VirtualUnit;
}

const TICK_MS = 50;
/** At the token and in the database. */
const SERVED_AFTER_MS = 150;

/** The end of an outage: everybody who was due meanwhile comes, and the gates of real servers let them in. */
export function virtualStorm(settings: StormSettings): StormOutcome {
  const random = seededRandom(6);
  const outageBeganMs = Date.parse('2026-11-01T00:00:00Z');
  const beganMs = outageBeganMs + settings.outageMs;
  const fleet = virtualFleet(settings.units, outageBeganMs, random);
  const due = fleet.filter(({ renewAtMs }) => renewAtMs <= beganMs);
  const expired = due.filter(({ notAfter }) => notAfter.getTime() < beganMs);
  const bucket = commonRate(settings.perSecond, beganMs);
  const gates = Array.from({ length: settings.servers }, () => new StormGate<Visitor>(settings, () => part(random)));
  const agenda = new Map<number, (() => void)[]>();
  const at = (ms: number, act: () => void): void => {
    const tick = Math.ceil((ms - beganMs) / TICK_MS);
    const acts = agenda.get(tick);
    if (acts === undefined) agenda.set(tick, [act]);
    else acts.push(act);
  };
  const counted = { turnedAway: 0, triesMax: 0, waitingMax: 0, renewals: 0 };
  const admitted = rateMeter();
  const advised = rateMeter();
  const arrived = rateMeter();
  let nowMs = beganMs;
  const waitedFor = new Set(due);

  const serve = (unit: VirtualUnit, end: (endedAtMs: number) => void): void => {
    admitted.count(nowMs);
    at(nowMs + SERVED_AFTER_MS, () => {
      end(nowMs);
      counted.renewals += 1;
      unit.renewedAtMs ??= nowMs;
      waitedFor.delete(unit);
      Object.assign(unit, certificateFrom(new Date(nowMs), random), { tries: 0 });
      at(nowMs + afterAdviceMs(unit, nowMs), () => visit(unit));
    });
  };
  const sendAway = (unit: VirtualUnit, retryAfterSeconds: number): void => {
    counted.turnedAway += 1;
    unit.tries += 1;
    counted.triesMax = Math.max(counted.triesMax, unit.tries);
    at(nowMs + afterRefusalMs(retryAfterSeconds, random), () => visit(unit));
  };
  const visit = (unit: VirtualUnit): void => {
    if (nowMs < unit.renewAtMs) {
      advised.count(nowMs);
      at(nowMs + afterAdviceMs(unit, nowMs), () => visit(unit));
      return;
    }
    if (!mayStillRenew(unit, nowMs)) return;
    arrived.count(nowMs);
    const gate = gates[Math.floor(part(random) * gates.length)] as StormGate<Visitor>;
    const { id: unitId, region, sources } = unit;
    const end = gate.enterAtOnce({ region, sources }, nowMs);
    if (end !== null) {
      serve(unit, end);
      return;
    }
    const visitor = { unit, unitId, region, sources, urgency: urgencyOf(unit, new Date(nowMs)), arrivedAtMs: nowMs };
    for (const { waiter, retryAfterSeconds } of gate.enter(visitor, nowMs)) sendAway(waiter.unit, retryAfterSeconds);
  };

  for (const unit of fleet) at(beganMs + untilNextTryMs(random), () => visit(unit));
  const endMs = beganMs + settings.watchMs;
  for (let tick = 0; nowMs <= endMs && waitedFor.size > 0; tick++) {
    nowMs = beganMs + tick * TICK_MS;
    for (const act of agenda.get(tick) ?? []) act();
    agenda.delete(tick);
    for (const gate of inTurn(gates, tick)) {
      const wanted = gate.waiting > 0 ? gate.wanted(nowMs) : 0;
      if (wanted > 0) gate.granted(bucket.take(wanted, nowMs), nowMs);
      for (const { waiter, end } of gate.admit(nowMs)) serve(waiter.unit, end);
      for (const { waiter, retryAfterSeconds } of gate.turnAwayLate(nowMs)) sendAway(waiter.unit, retryAfterSeconds);
      counted.waitingMax = Math.max(counted.waitingMax, gate.waiting);
    }
  }
  const after = (units: readonly VirtualUnit[]): number | null =>
    units.every(({ renewedAtMs }) => renewedAtMs !== null)
      ? Math.round((Math.max(beganMs, ...lastOf(units)) - beganMs) / 1_000)
      : null;
  const regions = [...new Set(fleet.map(({ region }) => region))].sort();
  return {
    ...counted,
    due: due.length,
    expired: expired.length,
    allExpiredAfterSeconds: after(expired),
    allDueAfterSeconds: after(due),
    notRenewed: due.filter(({ renewedAtMs }) => renewedAtMs === null).length,
    lost: fleet.filter((unit) => !mayStillRenew(unit, nowMs)).length,
    admittedPerSecondMax: admitted.max() / METER_SECONDS,
    advicePerSecondMax: advised.max() / METER_SECONDS,
    arrivalsPerSecondMax: arrived.max() / METER_SECONDS,
    expiredAfterSecondsByRegion: regions.map((name) => after(expired.filter(({ region }) => region === name)) ?? -1),
  };
}

function* lastOf(units: readonly VirtualUnit[]): Generator<number> {
  let last = 0;
  for (const { renewedAtMs } of units) last = Math.max(last, renewedAtMs ?? 0);
  yield last;
}

/** Whoever asks first in a tick takes turns, as servers do that know nothing of each other. */
function inTurn<T>(servers: readonly T[], tick: number): T[] {
  const first = tick % servers.length;
  return [...servers.slice(first), ...servers.slice(0, first)];
}

/** As the row that all servers share: a quarter of a second is kept. */
function commonRate(perSecond: number, fromMs: number): { take(count: number, nowMs: number): number } {
  let tokens = 0;
  let filledAtMs = fromMs;
  return {
    take: (count, nowMs) => {
      tokens = Math.min(Math.max(1, perSecond / 4), tokens + ((nowMs - filledAtMs) * perSecond) / 1_000);
      filledAtMs = nowMs;
      const taken = Math.min(count, Math.floor(tokens));
      tokens -= taken;
      return taken;
    },
  };
}

const METER_SECONDS = 10;

function rateMeter(): { count(nowMs: number): void; max(): number } {
  const windows = new Map<number, number>();
  return {
    count: (nowMs) => {
      const window = Math.floor(nowMs / (METER_SECONDS * 1_000));
      windows.set(window, (windows.get(window) ?? 0) + 1);
    },
    max: () => {
      let most = 0;
      for (const count of windows.values()) most = Math.max(most, count);
      return most;
    },
  };
}
