import { statusKey } from '../../lifecycle/status/index.js';
import type { Transactor } from '../../platform/db/transaction.js';
import type { LedgerCursors, LedgerPosition } from '../../platform/ledger/cursors.js';
import type { ReplyCache } from './reply-cache.js';

export interface StatusWatchDeps {
  readonly cache: Pick<ReplyCache, 'withdraw' | 'withdrawAll'>;
  readonly cursors: Pick<LedgerCursors, 'readAfter' | 'end'>;
  readonly transactor: Pick<Transactor, 'read'>;
  readonly onTrouble: (error: unknown) => void;
  /** Default 500 ms. */
  readonly everyMs?: number;
}

export interface StatusWatch {
  /** A NOTIFY on `femtopki_status`: a hint that may get lost and is believed at once. */
  notice(payload: string): void;
  /** Reads the ledger on; the cursor alone makes it certain (rules 7.2). */
  step(): Promise<void>;
  /** Milliseconds since the ledger was last read to its end; undefined before the first time. */
  lagMs(nowMs: number): number | undefined;
  close(): void;
}

const PAGE_ENTRIES = 1_000;
const WITHDRAWING: ReadonlySet<string> = new Set(['certificate.revoked', 'certificate.held', 'certificate.released']);

/** Withdraws cached answers when what they say may have changed. Start it before anything is answered. */
export function startStatusWatch(deps: StatusWatchDeps, nowMs: () => number): StatusWatch {
  let position: LedgerPosition | undefined;
  let caughtUpAtMs: number | undefined;
  let isClosed = false;

  const step = async (): Promise<void> => {
    position ??= await deps.cursors.end(deps.transactor.read);
    for (;;) {
      const page = await deps.cursors.readAfter(deps.transactor.read, position, PAGE_ENTRIES);
      if (page.kind === 'resync') {
        // An epoch we do not know, or rows gone: nothing that was cached can be vouched for.
        deps.cache.withdrawAll();
        position = page.to;
        continue;
      }
      for (const { kind, body } of page.entries) if (WITHDRAWING.has(kind)) withdraw(deps.cache, body);
      position = page.position;
      if (page.entries.length < PAGE_ENTRIES) break;
    }
    caughtUpAtMs = nowMs();
  };
  const loop = (): void => {
    if (isClosed) return;
    step()
      .catch(deps.onTrouble)
      .finally(() => setTimeout(loop, deps.everyMs ?? 500).unref());
  };
  loop();

  return {
    notice: (payload) => {
      if (payload === '*') deps.cache.withdrawAll();
      else for (const key of payload.split(' ')) deps.cache.withdraw(key);
    },
    step,
    lagMs: (at) => (caughtUpAtMs === undefined ? undefined : at - caughtUpAtMs),
    close: () => {
      isClosed = true;
    },
  };
}

function withdraw(cache: StatusWatchDeps['cache'], body: string): void {
  const { issuerId, serial } = JSON.parse(body) as { issuerId?: unknown; serial?: unknown };
  // An entry that names no certificate could mean any of them.
  if (typeof issuerId !== 'number' || typeof serial !== 'string') cache.withdrawAll();
  else cache.withdraw(statusKey({ issuerId, serial: Buffer.from(serial, 'hex') }));
}
