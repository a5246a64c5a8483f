import type { Transactor } from '../../platform/db/transaction.js';
import type { LedgerPosition } from '../../platform/ledger/cursors.js';
import { CrlEntryCursor, compareEntries } from '../../x509/crl.js';
import { CrlBook } from './crl-book.js';
import type { CrlStore, ListedPart } from './crl-store.js';
import { sortedPages } from './sorted-pages.js';
import type { ChangedCertificate, StatusChangeKind, StatusChangeReader } from './status-changes.js';

export interface CrlBooksDeps {
  readonly store: Pick<CrlStore, 'listedPage' | 'listedParts'>;
  readonly changes: StatusChangeReader;
  readonly transactor: Transactor;
}

/**
 * The lists of all CAs as the publisher keeps them: read from the database once, all in one pass over the table or one page by
 * page, and moved on by what the ledger says has changed. A list never lacks what was committed before {@link catchUp} was called.
 *
 * Why pages need no common snapshot: each is read after the dirty mark that it is to answer for, so whatever that mark
 * stands for is in it; what commits later leaves a mark of its own.
 */
export class CrlBooks {
  readonly #books = new Map<number, CrlBook>();
  /** Every change up to here is in every book. */
  #position: LedgerPosition | undefined;
  /** Of the last {@link catchUp}, by {@link key}. */
  #changed: ReadonlySet<string> = new Set();
  #reading: Promise<void> | undefined;

  constructor(private readonly deps: CrlBooksDeps) {}

  /** Another publisher is at work: nothing is followed, nothing is kept. */
  clear(): void {
    this.#books.clear();
    this.#position = undefined;
  }

  /** This CA's list is read anew when it is asked for next. */
  forget(issuerId: number): void {
    this.#books.delete(issuerId);
  }

  /** Is this CA's list here? */
  has(issuerId: number): boolean {
    return this.#books.has(issuerId);
  }

  /** Takes in what was committed before the call. One short statement where nothing was. */
  async catchUp(): Promise<void> {
    const { changes, transactor } = this.deps;
    const changed = new Set<string>();
    this.#changed = changed;
    for (let call = 0; this.#position !== undefined && call < CATCH_UP_CALLS_MAX; call += 1) {
      const found = await changes.changesAfter(transactor.read, { after: this.#position, kinds: KINDS });
      if (found.kind === 'resync') break;
      for (const certificate of found.certificates) {
        changed.add(key(certificate));
        this.#apply(certificate);
      }
      this.#position = found.position;
      if (found.isWhole) return;
    }
    // A new start, another epoch, or so much at once that reading it anew is the shorter way, and is complete by itself.
    this.#books.clear();
    this.#position = (await changes.snapshot(transactor.read)).end;
  }

  /**
   * @param endedBefore  seconds; certificates that ended then or before are left out
   * @returns the list itself: it changes with the next {@link catchUp}
   */
  async of(issuerId: number, endedBefore: number): Promise<CrlBook> {
    if (this.#books.size === 0) {
      this.#reading ??= this.#readAll(endedBefore).finally(() => {
        this.#reading = undefined;
      });
    }
    await this.#reading;
    const kept = this.#books.get(issuerId);
    // A clock that ran ahead left out what has not ended: only the rows know it now.
    const isAhead = kept !== undefined && kept.endedBefore - endedBefore > CLOCK_BACK_SECONDS;
    const book = isAhead || !kept ? await this.#read(issuerId, endedBefore) : kept;
    book.dropEnded(endedBefore);
    this.#books.set(issuerId, book);
    return book;
  }

  /**
   * Compares a page of a list that is here with the rows, which no ledger entry explains when they differ: somebody wrote
   * the table by hand, or we have a fault.
   *
   * @param after  empty to begin
   * @returns `differs`: serials, lower-case hex; `next`: where to go on, null at the end
   */
  async comparePage(
    issuerId: number,
    after: Buffer,
    limit: number = PAGE_ENTRIES,
  ): Promise<{ readonly differs: readonly string[]; readonly next: Buffer | null }> {
    const book = this.#books.get(issuerId);
    if (book === undefined) return { differs: [], next: null };
    const { store, transactor } = this.deps;
    const expiringAfter = new Date(book.endedBefore * 1_000);
    const page = await store.listedPage(transactor.read, { issuerId, after, expiringAfter, limit });
    const last = lastSerial(page.entriesDer);
    // What was committed between the last look and the page is in the page and comes to the book now; what came now may
    // also have been committed after the page. Neither is a difference.
    await this.catchUp();
    const current = this.#books.get(issuerId);
    if (current !== book) return { differs: [], next: null };
    const differs = differences(page.entriesDer, book.slice(after, limit * 2), page.isFull ? last : undefined)
      .filter((serialHex) => !this.#changed.has(`${issuerId}:${serialHex}`))
      .slice(0, DIFFERENCES_TOLD_MAX);
    return { differs, next: page.isFull && last !== undefined ? last : null };
  }

  #apply(certificate: ChangedCertificate): void {
    const { issuerId, serial, row } = certificate;
    const book = this.#books.get(issuerId);
    if (book === undefined) return;
    if (row === null || row.state === 'released') book.remove(serial);
    else book.put(serial, row.entryDer, Math.ceil(row.notAfter.getTime() / 1_000));
  }

  /** Every CA's list in one pass over the table: where nothing is here, all of them will be asked for. */
  async #readAll(endedBefore: number): Promise<void> {
    const { store, transactor } = this.deps;
    const parts = await transactor.readSnapshot(async (snapshot) => {
      const found = new Map<number, ListedPart[]>();
      await store.listedParts(snapshot, new Date(endedBefore * 1_000), (part) => {
        const known = found.get(part.issuerId);
        if (known) known.push(part);
        else found.set(part.issuerId, [part]);
      });
      return found;
    });
    for (const [issuerId, mine] of parts) {
      const book = new CrlBook();
      book.dropEnded(endedBefore);
      for (const { entriesDer, notAfters } of sortedPages(mine)) book.append(entriesDer, notAfters);
      this.#books.set(issuerId, book);
      // One list is never in memory twice for longer than it takes to sort it.
      parts.delete(issuerId);
    }
  }

  async #read(issuerId: number, endedBefore: number): Promise<CrlBook> {
    const { store, transactor } = this.deps;
    const book = new CrlBook();
    book.dropEnded(endedBefore);
    const expiringAfter = new Date(endedBefore * 1_000);
    for (let after: Buffer | undefined = EMPTY; after !== undefined; ) {
      const page = await store.listedPage(transactor.read, { issuerId, after, expiringAfter, limit: PAGE_ENTRIES });
      book.append(page.entriesDer, page.notAfters);
      after = page.isFull ? lastSerial(page.entriesDer) : undefined;
    }
    return book;
  }
}

/** Serials that stand in one list only, or with another entry; up to `last` where the page ends in the middle of the list. */
function differences(page: Buffer, slice: { readonly entriesDer: Buffer }, last: Buffer | undefined): string[] {
  const found: string[] = [];
  const isBeyond = (entry: CrlEntryCursor): boolean => last !== undefined && entry.serial.compare(last) > 0;
  compareEntries(page, slice.entriesDer, {
    onlyInPrevious: (entry) => found.push(entry.serial.toString('hex')),
    onlyInNext: (entry) => {
      if (!isBeyond(entry)) found.push(entry.serial.toString('hex'));
    },
    inBoth: (a, b) => {
      if (a.bytes.compare(b.bytes, b.start, b.end, a.start, a.end) !== 0) found.push(a.serial.toString('hex'));
    },
  });
  return found;
}

function lastSerial(entriesDer: Buffer): Buffer | undefined {
  const cursor = new CrlEntryCursor(entriesDer);
  while (cursor.next()) if (cursor.end === entriesDer.length) return Buffer.from(cursor.serial);
  return undefined;
}

function key({ issuerId, serial }: { issuerId: number; serial: Buffer }): string {
  return `${issuerId}:${serial.toString('hex')}`;
}

const KINDS: readonly StatusChangeKind[] = ['certificate.revoked', 'certificate.held', 'certificate.released'];
const EMPTY = Buffer.alloc(0);
/** Small steps are harmless: an entry goes only a CRL's life after its certificate has ended. */
const CLOCK_BACK_SECONDS = 60;
/** Half a megabyte: some ten milliseconds of the database, and far below the limit of a statement. */
const PAGE_ENTRIES = 10_000;
/** A hundred thousand changes one by one cost about what reading a million anew costs. */
const CATCH_UP_CALLS_MAX = 12;
const DIFFERENCES_TOLD_MAX = 20;
