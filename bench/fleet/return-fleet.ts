import { setTimeout as sleep } from 'node:timers/promises';
import { unreachableWaitSeconds } from '../../src/agent/waits.js';
import type { ReturningUnit } from './returning-unit.js';
import { part, type Random } from './virtual-fleet.js';

export interface ReturnOptions {
  /** They all come within this time, as after an outage. */
  readonly arriveWithinMs: number;
  readonly random: Random;
  /** What may pass before it is said that somebody was lost. */
  readonly patienceMs: number;
  readonly onRenewed?: (done: number) => void;
}

export interface Returned {
  readonly renewed: number;
  readonly turnedAway: number;
  readonly triesMax: number;
  /** From the first arrival to the last certificate. */
  readonly tookMs: number;
  /** What was refused for good, and what broke off, in words, each with how often. */
  readonly troubles: Readonly<Record<string, number>>;
}

/** Conversations at once: more would wait for this one machine that plays a whole fleet, and not for the servers. */
const AT_ONCE = 40;

/** Real units come back: each tries, waits as it is told, and tries again until it has its certificate. */
export async function returnFleet(units: readonly ReturningUnit[], options: ReturnOptions): Promise<Returned> {
  const startMs = performance.now();
  const endMs = startMs + options.patienceMs;
  const count = { renewed: 0, turnedAway: 0, triesMax: 0 };
  const troubles: Record<string, number> = {};
  const enter = turnstile(AT_ONCE);
  const live = async (unit: ReturningUnit): Promise<void> => {
    await sleep(part(options.random) * options.arriveWithinMs);
    let broken = 0;
    for (let tries = 1; performance.now() < endMs; tries++) {
      count.triesMax = Math.max(count.triesMax, tries);
      const result = await enter(() => unit.tryOnce()).catch((error: unknown) => String(error).slice(0, 200));
      if (typeof result === 'string') {
        troubles[result] = (troubles[result] ?? 0) + 1;
        broken += 1;
        await sleep(unreachableWaitSeconds(broken, options.random) * 1_000);
        continue;
      }
      if (result.did === 'renewed') {
        count.renewed += 1;
        options.onRenewed?.(count.renewed);
        return;
      }
      if (result.did === 'refused') {
        troubles[result.code] = (troubles[result.code] ?? 0) + 1;
        return;
      }
      broken = 0;
      count.turnedAway += 1;
      await sleep(result.seconds * 1_000);
    }
  };
  await Promise.all(units.map(live));
  return { ...count, troubles, tookMs: performance.now() - startMs };
}

function turnstile(atOnce: number): <T>(work: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = [];
  let inside = 0;
  return async (work) => {
    if (inside >= atOnce) await new Promise<void>((go) => waiting.push(go));
    else inside += 1;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) inside -= 1;
      else next();
    }
  };
}
