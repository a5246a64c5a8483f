import type { Urgency } from './urgency.js';

/** One request that wants to be admitted. */
export interface Waiter {
  readonly unitId: number;
  readonly urgency: Urgency;
  /** Coarse region of the unit's line; empty where there is none. */
  readonly region: string;
  /** Outer address and site: both have a share that neither exceeds while somebody else waits. */
  readonly sources: readonly string[];
  readonly arrivedAtMs: number;
}

/**
 * Who waits, at most so many, and who is next: the lowest tier; in it the region that was served least; in that the nearest
 * end. A source that has had its share is passed over while anybody else waits. Scans its few hundred places: that is
 * cheaper than one signature.
 */
export class FairQueue<W extends Waiter> {
  private readonly waiting = new Map<number, W>();
  private readonly servedOfRegion = new Map<string, number>();
  private readonly servedOfSource = new Map<string, number>();
  private served = 0;
  private windowEndsAtMs = 0;

  constructor(
    private readonly placesMax: number,
    private readonly sourceShare: number,
  ) {}

  get size(): number {
    return this.waiting.size;
  }

  has(unitId: number): boolean {
    return this.waiting.has(unitId);
  }

  /** @returns whoever lost its place for this one, or this one itself where it is the least urgent; null where there was room */
  add(waiter: W): W | null {
    this.waiting.set(waiter.unitId, waiter);
    if (this.waiting.size <= this.placesMax) return null;
    const last = this.leastFavoured();
    this.waiting.delete(last.unitId);
    return last;
  }

  remove(unitId: number): boolean {
    return this.waiting.delete(unitId);
  }

  /** Takes out who is next, and counts it. */
  next(nowMs: number): W | null {
    let best: W | null = null;
    let bestIsOver = false;
    for (const waiter of this.waiting.values()) {
      const isOver = this.isOverShare(waiter, nowMs);
      if (best === null || this.goesBefore(waiter, isOver, best, bestIsOver)) {
        best = waiter;
        bestIsOver = isOver;
      }
    }
    if (best === null) return null;
    this.waiting.delete(best.unitId);
    this.count(best, nowMs);
    return best;
  }

  /** One that found no queue counts like those that did. */
  count({ region, sources }: Pick<Waiter, 'region' | 'sources'>, nowMs: number): void {
    if (nowMs >= this.windowEndsAtMs) {
      // Halved rather than forgotten: what was just used still counts.
      for (const served of [this.servedOfRegion, this.servedOfSource]) halve(served);
      this.served = Math.floor(this.served / 2);
      this.windowEndsAtMs = nowMs + WINDOW_MS;
    }
    this.served += 1;
    add(this.servedOfRegion, region);
    for (const source of sources) add(this.servedOfSource, source);
  }

  /** Those that came before this moment; they are taken out. */
  takeOlderThan(arrivedAtMs: number): W[] {
    const old: W[] = [];
    // In the order in which they came: the first that is too young ends it.
    for (const waiter of this.waiting.values()) {
      if (waiter.arrivedAtMs > arrivedAtMs) break;
      this.waiting.delete(waiter.unitId);
      old.push(waiter);
    }
    return old;
  }

  private goesBefore(one: W, isOver: boolean, other: W, otherIsOver: boolean): boolean {
    if (isOver !== otherIsOver) return otherIsOver;
    if (one.urgency.tier !== other.urgency.tier) return one.urgency.tier < other.urgency.tier;
    const byRegion = (this.servedOfRegion.get(one.region) ?? 0) - (this.servedOfRegion.get(other.region) ?? 0);
    if (byRegion !== 0) return byRegion < 0;
    if (one.urgency.endsAtMs !== other.urgency.endsAtMs) return one.urgency.endsAtMs < other.urgency.endsAtMs;
    return one.arrivedAtMs < other.arrivedAtMs;
  }

  private isOverShare({ sources }: W, nowMs: number): boolean {
    if (nowMs >= this.windowEndsAtMs) return false;
    // Two at least: a share of a handful is nobody's misuse.
    const most = Math.max(SOURCE_SERVED_MIN, this.served * this.sourceShare);
    return sources.some((source) => (this.servedOfSource.get(source) ?? 0) >= most);
  }

  /** Of a source that holds more places than its share the least urgent; else the least urgent of all. */
  private leastFavoured(): W {
    const places = new Map<string, number>();
    for (const { sources } of this.waiting.values()) for (const source of sources) add(places, source);
    const most = Math.max(SOURCE_SERVED_MIN, this.placesMax * this.sourceShare);
    let last: W | null = null;
    let lastIsOver = false;
    for (const waiter of this.waiting.values()) {
      const isOver = waiter.sources.some((source) => (places.get(source) ?? 0) > most);
      if (last === null || (isOver !== lastIsOver ? isOver : isLessUrgent(waiter, last))) {
        last = waiter;
        lastIsOver = isOver;
      }
    }
    if (last === null) throw new Error('nobody waits in a full queue');
    return last;
  }
}

function isLessUrgent({ urgency, arrivedAtMs }: Waiter, than: Waiter): boolean {
  if (urgency.tier !== than.urgency.tier) return urgency.tier > than.urgency.tier;
  if (urgency.endsAtMs !== than.urgency.endsAtMs) return urgency.endsAtMs > than.urgency.endsAtMs;
  return arrivedAtMs > than.arrivedAtMs;
}

function add(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

function halve(counts: Map<string, number>): void {
  for (const [name, count] of counts) {
    if (count < 2) counts.delete(name);
    else counts.set(name, Math.floor(count / 2));
  }
}

/** Also bounds the counters: no more names than were served in two windows. */
const WINDOW_MS = 10_000;
const SOURCE_SERVED_MIN = 2;
