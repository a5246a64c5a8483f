import type { LedgerPosition } from '../../platform/ledger/cursors.js';

export interface FeedWatchDeps {
  /** Position of the newest entry of the feed. */
  readonly newest: () => Promise<LedgerPosition>;
  readonly onTrouble: (error: unknown) => void;
  /** How long an entry may go unseen when no notice comes; default 500 ms. */
  readonly everyMs?: number;
}

export interface FeedWatch {
  /** A NOTIFY from the sequencer: look now. It may get lost; the next look finds what it told of. */
  notice(): void;
  /** True when there is an entry beyond the position, or another epoch; false after `ms`, on abort, and at close. */
  beyond(position: LedgerPosition, ms: number, signal: AbortSignal): Promise<boolean>;
  close(): void;
}

/** One look at the database for all readers that wait, and none while nobody does. */
export function startFeedWatch({ newest, onTrouble, everyMs = 500 }: FeedWatchDeps): FeedWatch {
  const waiting = new Set<{ readonly position: LedgerPosition; readonly wake: (isMore: boolean) => void }>();
  let timer: NodeJS.Timeout | undefined;
  let isLooking = false;
  let isToLookAgain = false;
  let isClosed = false;

  const look = (): void => {
    if (isLooking) {
      isToLookAgain = true;
      return;
    }
    clearTimeout(timer);
    isLooking = true;
    newest()
      .then(({ epoch, seq }) => {
        for (const { position, wake } of waiting) if (epoch !== position.epoch || seq > position.seq) wake(true);
      })
      .catch(onTrouble)
      .finally(() => {
        isLooking = false;
        if (waiting.size === 0) return;
        timer = setTimeout(look, isToLookAgain ? 0 : everyMs).unref();
        isToLookAgain = false;
      });
  };

  return {
    notice: () => {
      if (waiting.size > 0) look();
    },
    beyond: (position, ms, signal) =>
      new Promise((resolve) => {
        if (isClosed || signal.aborted) return resolve(false);
        const wake = (isMore: boolean): void => {
          clearTimeout(limit);
          signal.removeEventListener('abort', giveUp);
          waiting.delete(waiter);
          resolve(isMore);
        };
        const giveUp = (): void => wake(false);
        const waiter = { position, wake };
        const limit = setTimeout(giveUp, ms);
        signal.addEventListener('abort', giveUp);
        waiting.add(waiter);
        // Whatever came between the reader's page and this line is found here.
        look();
      }),
    close: () => {
      isClosed = true;
      clearTimeout(timer);
      for (const { wake } of waiting) wake(false);
    },
  };
}
