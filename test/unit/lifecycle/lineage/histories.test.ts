/**
 * Random histories of one unit, its server and, in some, a thief with a copy of its flash: the server is this file's
 * model of T1, T2 and the reconciler, the verdicts are the product's.
 */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { headOf, isStanding, judgeRenewal, type Verdict } from '../../../../src/lifecycle/lineage/index.js';
import type { LineageSlot } from '../../../../src/lifecycle/model/index.js';
import { HOUR_MS, keyHash, NOW, situation, slot } from './slots.js';

class Server {
  slots: LineageSlot[] = [];
  state: 'open' | 'quarantined' = 'open';
  lastSoftAt: Date | null = null;
  nowMs = NOW.getTime();
  /** Slots whose T2 has not come yet. */
  readonly kinds: string[] = [];

  get now(): Date {
    return new Date(this.nowMs);
  }

  /** One request with the key of a slot; the proof is made now unless `provedMs` says otherwise. */
  renew(presented: LineageSlot | 'bootstrap', newKey: string, provedMs: number | null = this.nowMs): Verdict {
    this.nowMs += 1;
    const verdict = judgeRenewal({
      ...situation(this.slots, presented === 'bootstrap' ? 'bootstrap' : presented.id, { newKey }),
      now: this.now,
      lineageState: this.state,
      lastSoftAt: this.lastSoftAt,
      provedAt: provedMs === null ? null : new Date(provedMs),
    });
    this.kinds.push(verdict.kind);
    if (verdict.kind === 'hard') this.state = 'quarantined';
    if (verdict.kind === 'soft-displace' || verdict.kind === 'reissue-same-key') this.displace(verdict.displacesSlotId);
    if (verdict.kind === 'soft-displace') this.lastSoftAt = this.now;
    if (verdict.kind === 'issue' || verdict.kind === 'soft-displace' || verdict.kind === 'reissue-same-key') {
      this.update((one) => one.generation === verdict.generation - 1 && one.state === 'pending', {
        state: 'confirmed',
        confirmedAt: this.now,
      });
      const id = this.slots.length + 1;
      const notAfter = new Date(this.nowMs + 7 * 24 * HOUR_MS);
      this.slots.push(slot(id, verdict.generation, 'signing', { key: newKey, createdAt: this.now, notAfter }));
    }
    return verdict;
  }

  /** T2 (true) or the reconciler (false). */
  settle(recorded: boolean): LineageSlot | undefined {
    const signing = this.slots.find(({ state }) => state === 'signing');
    if (signing === undefined) return undefined;
    this.update(({ id }) => id === signing.id, { state: recorded ? 'pending' : 'abandoned' });
    return recorded ? this.slots.find(({ id }) => id === signing.id) : undefined;
  }

  confirm(id: number): void {
    this.nowMs += 1;
    this.update((one) => one.id === id && one.state === 'pending', { state: 'confirmed', confirmedAt: this.now });
  }

  byKey(key: string): LineageSlot | undefined {
    const of = this.slots.filter((one) => one.spkiHash.equals(keyHash(key)));
    return of.find(isStanding) ?? of.at(-1);
  }

  private displace(id: number): void {
    this.update((one) => one.id === id, { state: 'displaced', displacedAt: this.now });
  }

  private update(which: (one: LineageSlot) => boolean, change: Partial<LineageSlot>): void {
    this.slots = this.slots.map((one) => (which(one) ? { ...one, ...change } : one));
  }
}

/** A party that renews as the reference agent does: one new key at a time, the old one kept until the new one serves. */
class Party {
  current: string;
  next: string | null = null;
  private count = 0;
  constructor(
    readonly name: string,
    readonly server: Server,
    current: string,
  ) {
    this.current = current;
  }

  request(): Verdict {
    this.next ??= `${this.name}-${++this.count}`;
    return this.server.renew(this.presented(), this.next);
  }

  /** The answer arrives: the party has the certificate of its next key and confirms it. */
  receive(confirms: boolean): void {
    const slot = this.next === null ? undefined : this.server.byKey(this.next);
    if (this.next === null || slot === undefined || !isStanding(slot)) return;
    this.current = this.next;
    this.next = null;
    if (confirms) this.server.confirm(slot.id);
  }

  /** Power cut before the new key was on flash: a new key will be made. */
  forget(): void {
    this.next = null;
  }

  private presented(): LineageSlot | 'bootstrap' {
    return this.current === 'factory' ? 'bootstrap' : (this.server.byKey(this.current) ?? 'bootstrap');
  }
}

type Event =
  | 'request'
  | 'request-again'
  | 'record'
  | 'crash'
  | 'receive'
  | 'receive-and-confirm'
  | 'power-cut'
  | 'hours'
  | 'days';
const event = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Event>('request') },
  { weight: 2, arbitrary: fc.constant<Event>('request-again') },
  { weight: 5, arbitrary: fc.constant<Event>('record') },
  { weight: 1, arbitrary: fc.constant<Event>('crash') },
  { weight: 2, arbitrary: fc.constant<Event>('receive') },
  { weight: 2, arbitrary: fc.constant<Event>('receive-and-confirm') },
  { weight: 1, arbitrary: fc.constant<Event>('power-cut') },
  { weight: 2, arbitrary: fc.constant<Event>('hours') },
  { weight: 1, arbitrary: fc.constant<Event>('days') },
);
const history = fc.array(event, { minLength: 30, maxLength: 80 });

function play(party: Party, what: Event): void {
  const { server } = party;
  if (what === 'request') party.request();
  if (what === 'request-again' && party.next !== null) party.request();
  if (what === 'record') server.settle(true);
  if (what === 'crash') server.settle(false);
  if (what === 'receive' || what === 'receive-and-confirm') party.receive(what === 'receive-and-confirm');
  if (what === 'power-cut') party.forget();
  if (what === 'hours') server.nowMs += 2 * HOUR_MS;
  if (what === 'days') server.nowMs += 3 * 24 * HOUR_MS;
}

function checkSlots(slots: readonly LineageSlot[]): void {
  const standing = slots.filter(isStanding);
  const taken = slots.filter((one) => isStanding(one) || one.state === 'signing').map(({ generation }) => generation);
  expect(new Set(taken).size).toBe(taken.length); // one holder a generation
  const generations = standing.map(({ generation }) => generation).sort((a, b) => a - b);
  expect(generations).toEqual(generations.map((_, index) => index + 1)); // gapless
  expect(standing.filter(({ state }) => state === 'pending').length).toBeLessThanOrEqual(1);
  const head = headOf(slots);
  expect(standing.every((one) => one.state === 'confirmed' || one.id === head?.id)).toBe(true);
}

describe('random histories', () => {
  test('an honest unit is never quarantined, whatever crashes, and its slots stay in order', () => {
    const seen = new Map<string, number>();
    fc.assert(
      fc.property(history, (events) => {
        const server = new Server();
        const unit = new Party('unit', server, 'factory');
        for (const what of events) {
          play(unit, what);
          checkSlots(server.slots);
        }
        for (const kind of server.kinds) seen.set(kind, (seen.get(kind) ?? 0) + 1);
        expect(server.state).toBe('open');
      }),
      { numRuns: 400 },
    );
    const total = [...seen.values()].reduce((sum, n) => sum + n, 0);
    for (const kind of ['issue', 'same-certificate', 'soft-displace', 'retry-later']) {
      expect((seen.get(kind) ?? 0) / total).toBeGreaterThan(0.01); // histories that never get there prove nothing
    }
  });

  test('two holders of one key: both renewing and confirming ends in quarantine, whoever is first', () => {
    fc.assert(
      fc.property(fc.boolean(), fc.array(event, { maxLength: 12 }), (thiefFirst, noise) => {
        const server = new Server();
        const unit = new Party('unit', server, 'factory');
        unit.request();
        server.settle(true);
        unit.receive(true);
        const thief = new Party('thief', server, unit.current);
        const [first, second] = thiefFirst ? [thief, unit] : [unit, thief];
        for (const what of noise) play(first, what);
        // Each in turn renews until served and confirms; the other one comes within the tiers.
        for (let round = 0; round < 6 && server.state === 'open'; round++) {
          const party = round % 2 === 0 ? second : first;
          server.nowMs += 2 * HOUR_MS;
          server.settle(true);
          party.request();
          server.settle(true);
          party.receive(true);
        }
        expect(server.state).toBe('quarantined');
      }),
      { numRuns: 200 },
    );
  });

  test('without live proof nothing is displaced, quarantined or graded', () => {
    fc.assert(
      fc.property(history, fc.nat(), fc.boolean(), (events, pick, stale) => {
        const server = new Server();
        const unit = new Party('unit', server, 'factory');
        for (const what of events) play(unit, what);
        const presented = server.slots[pick % Math.max(1, server.slots.length)];
        if (presented === undefined) return;
        const before = { slots: server.slots, state: server.state };
        const verdict = server.renew(presented, 'another', stale ? presented.createdAt.getTime() : null);
        expect(['issue', 'refuse', 'retry-later']).toContain(verdict.kind);
        // By key: a slot re-issued for its own key stands for the displaced one.
        if (verdict.kind === 'issue') expect(presented.spkiHash).toEqual(headOf(before.slots)?.spkiHash);
        if (verdict.kind === 'refuse' || verdict.kind === 'retry-later') expect(verdict.grade).toBeNull();
        expect(server.state).toBe(before.state);
      }),
      { numRuns: 300 },
    );
  });

  test('signing and abandoned slots never make a fork', () => {
    fc.assert(
      fc.property(history, fc.nat(), (events, pick) => {
        const server = new Server();
        const unit = new Party('unit', server, 'factory');
        for (const what of events) play(unit, what);
        const delivered = server.slots.filter(({ state }) => state !== 'signing' && state !== 'abandoned');
        const presented = delivered[pick % Math.max(1, delivered.length)];
        if (presented === undefined) return;
        const judge = (slots: readonly LineageSlot[]) =>
          judgeRenewal(situation(slots, presented.id, { now: server.now, provedAt: server.now, newKey: 'another' }));
        const all = judge(server.slots);
        if (all.kind !== 'retry-later') expect(all).toEqual(judge(delivered));
      }),
      { numRuns: 300 },
    );
  });
});
