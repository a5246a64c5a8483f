import {
  dayOf,
  type IndexStanding,
  keptFrom,
  type StatusChangeKind,
  type StatusChangeReader,
  type StatusChanges,
  type StatusIndex,
  type StatusIndexSource,
  type StatusSnapshot,
  statusKey,
} from '../../lifecycle/status/index.js';
import type { Clock } from '../../platform/clock.js';
import type { Transactor } from '../../platform/db/transaction.js';
import type { LedgerPosition } from '../../platform/ledger/cursors.js';
import type { OcspResponder } from './ocsp-responder.js';

export interface StatusWatchDeps {
  readonly cache: Pick<OcspResponder, 'withdraw' | 'withdrawAll'>;
  readonly changes: StatusChangeReader;
  readonly source: StatusIndexSource;
  readonly index: StatusIndex;
  /** The primary or a replica; nothing is written. */
  readonly transactor: Pick<Transactor, 'read'>;
  /** Where `transactor` reads a replica: how far that must come until it shows what the primary told of. */
  readonly replication?: Replication;
  readonly clock: Clock;
  readonly onTrouble: (error: unknown) => void;
  /** Default 250 ms. */
  readonly everyMs?: number;
}

export interface Replication {
  /** The primary's position now, at or past every commit that was told of. Rejects while the primary is away. */
  primaryPosition(): Promise<string>;
  /** True when the replica shows what the primary had committed there. */
  hasReplayed(position: string): Promise<boolean>;
}

export interface StatusWatch extends IndexStanding {
  /** A NOTIFY on `femtopki_status`: a hint that may get lost and is believed at once. */
  notice(payload: string): void;
  /** Reads the ledger on, or loads a page; the ledger alone makes it certain (rules 7.2). Not while another runs. */
  step(): Promise<void>;
  /** Milliseconds since everything that was committed had been taken in; undefined before the first time. */
  lagMs(nowMs: number): number | undefined;
  close(): void;
}

export function startStatusWatch(deps: StatusWatchDeps): StatusWatch {
  const watch = new Watch(deps);
  watch.run();
  return watch;
}

/**
 * Follows the ledger: withdraws cached answers when what they say may have changed, and keeps the index where a snapshot of
 * the database is. One loop, one statement under way: what a statement saw is taken in before the next one is sent, so rows
 * of the load and rows of the ledger never overtake each other, and both are simply the newest that was seen.
 */
class Watch implements StatusWatch {
  readonly index: StatusIndex;
  snapshot: StatusSnapshot | undefined;
  takenAt = new Date(0);
  unsettledFrom = new Date(0);
  private position: LedgerPosition | undefined;
  private load: Load | undefined;
  private caughtUpAtMs: number | undefined;
  private doubts = new Doubts();
  /** Doubts that the step under way may settle: it began after they were told. */
  private settling = new Doubts();
  /** Where the replica must be to settle them; undefined while the primary could not say. */
  private settledAt: string | undefined;
  private intentsReadAtMs = Number.NEGATIVE_INFINITY;
  private openIntentsFromMs = Number.POSITIVE_INFINITY;
  private timer: NodeJS.Timeout | undefined;
  private isStepping = false;
  private isHurried = false;
  private isClosed = false;

  constructor(private readonly deps: StatusWatchDeps) {
    this.index = deps.index;
  }

  isDoubted(issuerId: number, serial: Buffer): boolean {
    if (this.doubts.isEmpty && this.settling.isEmpty) return false;
    const key = statusKey({ issuerId, serial });
    return this.doubts.has(key) || this.settling.has(key);
  }

  notice(payload: string): void {
    if (payload === '*') {
      this.deps.cache.withdrawAll();
      this.doubts.addAll();
    } else {
      for (const key of payload.split(' ')) {
        const [issuerId, serialHex = ''] = key.split(':');
        this.deps.cache.withdraw({ issuerId: Number(issuerId), serial: Buffer.from(serialHex, 'hex') });
        this.doubts.add(key);
      }
    }
    if (this.isStepping) this.isHurried = true;
    else this.schedule(HURRY_MS);
  }

  lagMs(nowMs: number): number | undefined {
    return this.caughtUpAtMs === undefined ? undefined : nowMs - this.caughtUpAtMs;
  }

  close(): void {
    this.isClosed = true;
    clearTimeout(this.timer);
  }

  run(): void {
    this.isStepping = true;
    this.isHurried = false;
    void this.step()
      .then(
        () => (this.isHurried ? HURRY_MS : this.load === undefined ? (this.deps.everyMs ?? EVERY_MS) : 0),
        (error: unknown) => {
          this.deps.onTrouble(error);
          return this.deps.everyMs ?? EVERY_MS;
        },
      )
      .then((ms) => {
        this.isStepping = false;
        this.schedule(ms);
      });
  }

  async step(): Promise<void> {
    const { transactor, changes, clock } = this.deps;
    if (this.position === undefined) {
      this.position = (await changes.snapshot(transactor.read)).end;
      this.beginLoad();
    }
    const isFollowed = clock.now().getTime() - (this.caughtUpAtMs ?? 0) < (this.deps.everyMs ?? EVERY_MS);
    if (this.load !== undefined && isFollowed && !this.isHurried) await this.loadPage(this.load);
    else await this.follow();
  }

  private schedule(ms: number): void {
    if (this.isClosed) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.run(), ms);
    this.timer.unref();
  }

  private async follow(): Promise<void> {
    const { transactor, changes, clock, index } = this.deps;
    const now = clock.now();
    if (now.getTime() - this.intentsReadAtMs >= INTENTS_EVERY_MS || now.getTime() < this.intentsReadAtMs)
      await this.readIntents(now);
    for (let isWhole = false; !isWhole; ) {
      const takenAt = clock.now();
      const isSettled = await this.settle();
      const seen = await changes.changesAfter(transactor.read, {
        after: this.position as LedgerPosition,
        kinds: KINDS,
      });
      if (seen.kind === 'resync') return this.startOver(seen.to);
      this.takeIn(seen.certificates);
      const isProgress = seen.position.seq > (this.position as LedgerPosition).seq;
      this.position = seen.position;
      ({ isWhole } = seen);
      if (isWhole) {
        if (isSettled) this.settling = new Doubts();
        this.caughtUpAtMs = takenAt.getTime();
        if (this.load === undefined) this.standAt(seen.snapshot, takenAt, now);
      } else if (!isProgress) return; // an inbox too full to see whole: the sequencer makes it shorter
    }
    index.sweepSome(now);
  }

  /** True when the statement that follows shows all that was told of until now. */
  private async settle(): Promise<boolean> {
    const { replication } = this.deps;
    // On a replica one lot after the other: a steady stream of notices must not move the goal for ever.
    if (replication === undefined || this.settling.isEmpty) {
      this.settling.take(this.doubts);
      this.doubts = new Doubts();
      this.settledAt = undefined;
    }
    if (replication === undefined || this.settling.isEmpty) return true;
    try {
      this.settledAt ??= await replication.primaryPosition();
      return await replication.hasReplayed(this.settledAt);
    } catch (error) {
      // The primary told of it and is away: the doubt stays, the rest is followed on.
      this.deps.onTrouble(error);
      return false;
    }
  }

  private standAt(snapshot: StatusSnapshot, takenAt: Date, now: Date): void {
    this.snapshot = snapshot;
    this.takenAt = takenAt;
    this.unsettledFrom = new Date(Math.min(now.getTime() - UNSETTLED_MS, this.openIntentsFromMs));
  }

  private async readIntents(now: Date): Promise<void> {
    const oldest = await this.deps.source.oldestOpenIntent(this.deps.transactor.read);
    this.openIntentsFromMs = oldest === null ? Number.POSITIVE_INFINITY : oldest.getTime() - UNSETTLED_MS;
    this.intentsReadAtMs = now.getTime();
  }

  private takeIn(certificates: Extract<StatusChanges, { kind: 'changes' }>['certificates']): void {
    const { index, cache } = this.deps;
    for (const { issuerId, serial, notAfter, isIssued, row } of certificates) {
      if (isIssued) index.addIssued(issuerId, serial, notAfter);
      if (row === null) continue;
      const isNew = index.setRow(issuerId, serial, dayOf(notAfter), row);
      // What is in the inbox is seen again and again; an answer that says it already may stay. While the index is loaded,
      // a page of the load may have told it first, and withdrawn nothing.
      if (isNew || this.snapshot === undefined) cache.withdraw({ issuerId, serial });
    }
  }

  /** An epoch we do not know, or rows gone: nothing that was cached or indexed can be vouched for. */
  private startOver(to: LedgerPosition): void {
    this.deps.cache.withdrawAll();
    this.position = to;
    this.beginLoad();
  }

  private beginLoad(): void {
    this.snapshot = undefined;
    this.index.clear();
    this.load = { table: 'issued', after: [], keptFrom: keptFrom(this.deps.clock.now()) };
  }

  private async loadPage(load: Load): Promise<void> {
    const { source, transactor, index } = this.deps;
    if (load.table === 'issued') {
      const { groups, end } = await source.issued(transactor.read, load.keptFrom, load.after, LOAD_ROWS);
      for (const group of groups) index.addGroup(group);
      this.load = end === null ? { ...load, table: 'rows', after: [] } : { ...load, after: end };
      return;
    }
    const { groups, end } = await source.rows(transactor.read, load.keptFrom, load.after, LOAD_ROWS);
    for (const group of groups) index.setRows(group);
    this.load = end === null ? undefined : { ...load, after: end };
    if (this.load === undefined) this.isHurried = true;
  }
}

interface Load {
  readonly table: 'issued' | 'rows';
  readonly after: readonly unknown[];
  readonly keptFrom: Date;
}

/** Certificates that were told to have changed; a flood of them means all. */
class Doubts {
  private readonly keys = new Set<string>();
  private isAll = false;

  get isEmpty(): boolean {
    return !this.isAll && this.keys.size === 0;
  }

  has(key: string): boolean {
    return this.isAll || this.keys.has(key);
  }

  add(key: string): void {
    if (this.keys.size < DOUBTS_MAX) this.keys.add(key);
    else this.isAll = true;
  }

  addAll(): void {
    this.isAll = true;
  }

  take(others: Doubts): void {
    if (others.isAll) this.isAll = true;
    for (const key of others.keys) this.add(key);
  }
}

const KINDS: readonly StatusChangeKind[] = [
  'certificate.issued',
  'certificate.revoked',
  'certificate.held',
  'certificate.released',
];
const EVERY_MS = 250;
/** After a notice: a burst of revocations is read together. */
const HURRY_MS = 10;
/** Taken in within some milliseconds, so that answers go on meanwhile. */
const LOAD_ROWS = 5_000;
const DOUBTS_MAX = 10_000;
const INTENTS_EVERY_MS = 60_000;
/** From drawing a serial to its record is seconds; a clock that is an hour wrong has still said so by then. */
const UNSETTLED_MS = 2 * 3_600_000;
