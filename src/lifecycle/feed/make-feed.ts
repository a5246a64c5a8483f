import type { Clock } from '../../platform/clock.js';
import type { Transactor } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { LedgerCursors, LedgerPosition } from '../../platform/ledger/cursors.js';
import { type Acknowledgement, acknowledge } from './acknowledge.js';
import type { FeedPage } from './feed.js';
import type { FeedStore, GatewayCursor } from './feed-store.js';
import { readFeed, readRows } from './read-feed.js';
import { type FeedStatus, type GatewayStanding, standingOf, statusOf } from './standing.js';

export interface FeedDeps {
  readonly transactor: Transactor;
  readonly cursors: Pick<LedgerCursors, 'end'>;
  readonly store: FeedStore;
  readonly clock: Clock;
}

export interface Feed {
  /** The next page; see readFeed. `limit` 1 to PAGE_ENTRIES_MAX; the page may end earlier by its size. */
  read(from: LedgerPosition, limit: number): Promise<FeedPage>;
  /** Position of the newest entry in the current epoch; seq 0 when it has none. */
  newest(): Promise<LedgerPosition>;
  /** @throws FemtoError as acknowledge */
  acknowledge(acknowledgement: Acknowledgement): Promise<GatewayCursor>;
  /** Every approved gateway, by name. */
  standings(): Promise<GatewayStanding[]>;
  /**
   * Who has the newest entry, or the newest about one serial number (hex).
   *
   * @throws FemtoError NOT_FOUND when the feed holds nothing about it
   */
  status(serialHex?: string): Promise<FeedStatus>;
}

export function makeFeed({ transactor, cursors, store, clock }: FeedDeps): Feed {
  const { read } = transactor;
  return {
    read: (from, limit) => readFeed({ store, end: cursors.end }, read, from, limit),
    newest: async () => {
      const { epoch } = await cursors.end(read);
      return { epoch, seq: (await store.newest(read, epoch))?.seq ?? 0 };
    },
    acknowledge: (acknowledgement) =>
      transactor.run(async (tx) =>
        acknowledge(store, tx, acknowledgement, { end: await cursors.end(tx), at: clock.now() }),
      ),
    standings: async () => {
      const { epoch } = await cursors.end(read);
      const gateways = await store.gateways(read, epoch);
      return gateways.map((gateway) => standingOf(gateway, clock.now()));
    },
    status: async (serialHex) => {
      const { epoch } = await cursors.end(read);
      const row = await (serialHex === undefined ? store.newest(read, epoch) : store.newestOf(read, serialHex));
      if (row === null && serialHex === undefined)
        return { summary: 'nothing has been revoked yet', entry: null, gateways: [] };
      const [entry] = row === null ? [] : ((await readRows(store, read, [row])) ?? []);
      if (row === null || entry === undefined) {
        throw new FemtoError(
          'NOT_FOUND',
          'The feed holds nothing about this serial number; a revocation is in it within a second.',
        );
      }
      return statusOf(entry, row.at, await store.receipts(read, row));
    },
  };
}
