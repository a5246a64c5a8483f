import { LRUCache } from 'lru-cache';
import type { Tier } from './urgency.js';

interface SourceBookings {
  /** When its next one may come, milliseconds. */
  nextMs: number;
  count: number;
  window: number;
}

export interface Booking {
  readonly tier: Tier;
  /** Outer address, or the site: whoever shares it shares its part of the rate. */
  readonly source: string;
  readonly nowMs: number;
  /** Admissions a second that there is room for, by now. */
  readonly perSecond: number;
  /** Part of the rate that one source may use. */
  readonly sourceShare: number;
  /** 0 to 1. */
  readonly random: number;
}

/**
 * When those come again who were not admitted. Each gets a moment that nobody else was given: a calendar of counters, no
 * unit is remembered. Early moments are kept for the urgent, and one source is spread over time by its own share, so
 * that its many units do not fill everybody's calendar. A unit that does not keep its moment costs nothing: at the gate it is
 * urgency that counts.
 */
export class Appointments {
  private readonly booked = new Uint32Array(BUCKETS);
  private firstBucket = 0;
  /** Forgetting a source is a little unfair and nothing else. */
  private readonly sources = new LRUCache<string, SourceBookings>({ max: SOURCES_MAX });
  private bookedLately = 0;
  private window = 0;

  /** @returns seconds from now, at least 1, drawn within its moment */
  book({ tier, source, nowMs, perSecond, sourceShare, random }: Booking): number {
    this.turnTo(Math.floor(nowMs / BUCKET_MS));
    const own = this.bookingsOf(source);
    own.count += 1;
    this.bookedLately += 1;
    // Its share, and what the others leave: alone, it has all of the rate.
    const othersPerSecond = ((this.bookedLately - own.count) * 1_000) / DECAY_MS;
    const ownPerSecond = Math.max(perSecond * sourceShare, perSecond - othersPerSecond, RATE_MIN);
    const ownMs = Math.max(nowMs, own.nextMs);
    // Never beyond the calendar: a source that asks for more than that gets its end.
    own.nextMs = Math.min(ownMs + 1_000 / ownPerSecond, nowMs + BUCKETS * BUCKET_MS);
    const bucket = this.freeBucket(Math.floor(ownMs / BUCKET_MS) + 1, tier, perSecond);
    const atMs = (bucket + random) * BUCKET_MS;
    return Math.max(1, Math.ceil((atMs - nowMs) / 1_000));
  }

  private bookingsOf(source: string): SourceBookings {
    const known = this.sources.get(source) ?? { nextMs: 0, count: 0, window: this.window };
    known.count = Math.floor(known.count / 2 ** Math.min(this.window - known.window, 30));
    known.window = this.window;
    this.sources.set(source, known);
    return known;
  }

  private freeBucket(from: number, tier: Tier, perSecond: number): number {
    const room = Math.max(1, Math.floor((perSecond * BUCKET_MS * PART_OF_TIER[tier]) / 1_000));
    const end = this.firstBucket + BUCKETS;
    for (let bucket = Math.min(from, end - 1); bucket < end; bucket++) {
      const at = bucket % BUCKETS;
      const taken = this.booked[at] ?? 0;
      if (taken >= room) continue;
      this.booked[at] = taken + 1;
      return bucket;
    }
    // Everything is taken: anywhere in the later half, by the place of the last one who heard this.
    this.overflow = (this.overflow + 1) % (BUCKETS / 2);
    return this.firstBucket + BUCKETS / 2 + this.overflow;
  }

  private overflow = 0;

  /** What is past is free again, for a moment one calendar later. */
  private turnTo(bucket: number): void {
    if (bucket - this.firstBucket >= BUCKETS || bucket < this.firstBucket) this.booked.fill(0);
    else for (let past = this.firstBucket; past < bucket; past++) this.booked[past % BUCKETS] = 0;
    // Who asked lately counts half with each moment that passes.
    const passed = Math.max(0, Math.min(bucket - this.firstBucket, 30));
    this.bookedLately = Math.floor(this.bookedLately / 2 ** passed);
    this.window += passed;
    this.firstBucket = bucket;
  }
}

const BUCKET_MS = 10_000;
/** Two hours: a storm that needs longer tells some of its units to come and hear again. */
const BUCKETS = 720;
/** What a halved count of so long moments stands for. */
const DECAY_MS = 1.5 * BUCKET_MS;
const SOURCES_MAX = 16_384;
/** A rate that came to a stop still gives moments, far ones. */
const RATE_MIN = 0.05;
/** What of a moment's room a tier may fill: whoever is more urgent always finds some left. */
const PART_OF_TIER: Readonly<Record<Tier, number>> = { 0: 1, 1: 0.9, 2: 0.7, 3: 0.4 };
