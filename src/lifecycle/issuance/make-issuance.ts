import { setTimeout as sleep } from 'node:timers/promises';
import { FemtoError } from '../../platform/errors.js';
import type { ApprovedRequest, CertificateReader, Issuance, IssuanceOutcome } from './issuance.js';
import { type IssueBatchDeps, makeIssueBatch } from './issue-batch.js';

export interface IssuanceDeps extends IssueBatchDeps {
  readonly certificates: Pick<CertificateReader, 'byAttempt'>;
  readonly options?: IssuanceOptions;
}

export interface IssuanceOptions {
  /** Rows in one flush; default 256. */
  readonly flushRows?: number;
  /** How long the first row of a flush waits for others, milliseconds; default 3. */
  readonly flushDelayMs?: number;
  /** How long it waits while another flush is under way and its own is not full, milliseconds; default 100. */
  readonly flushPatienceMs?: number;
  /** Flushes under way at once: one signs while another writes; default 3. */
  readonly flushesAtOnce?: number;
  /** Rows waiting at most; beyond them RETRY_LATER. Default 8,192. */
  readonly queueRows?: number;
}

interface Waiting {
  readonly request: ApprovedRequest;
  readonly settle: (outcome: IssuanceOutcome) => void;
}

/** Concurrent calls share flushes: full ones leave at once, others after a few milliseconds, or when the one before them ends. */
export function makeIssuance(deps: IssuanceDeps): Issuance {
  const { flushRows = 256, flushDelayMs = 3, flushPatienceMs = 100 } = deps.options ?? {};
  const { flushesAtOnce = 3, queueRows = 8_192 } = deps.options ?? {};
  const { issueBatch, gate } = makeIssueBatch(deps);
  const queue: Waiting[] = [];
  const running = new Set<Promise<void>>();
  const keysUnderWay = new Set<string>();
  let timer: NodeJS.Timeout | null = null;
  let isTimerSoon = false;
  let closed = false;

  const flush = (): void => {
    if (timer !== null) clearTimeout(timer);
    timer = null;
    while (queue.length > 0 && running.size < Math.min(flushesAtOnce, gate.rowsMax())) {
      const rows = queue.splice(0, Math.min(flushRows, gate.rowsMax()));
      for (const { request } of rows) keysUnderWay.add(keyOf(request));
      const run = issueBatch(rows.map(({ request }) => request))
        .then((outcomes) => {
          for (const [index, row] of rows.entries()) row.settle(outcomes[index] ?? noOutcome());
        })
        .finally(() => {
          running.delete(run);
          for (const { request } of rows) keysUnderWay.delete(keyOf(request));
          if (queue.length > 0) flush();
        });
      running.add(run);
    }
  };
  /**
   * What comes while a flush is under way leaves with the next: three small ones cost three times the statements of one. But a
   * twin of what is under way is told so beside it; after it, its key would look like one that was used before.
   */
  const schedule = (isSoon: boolean): void => {
    if (timer !== null && (isTimerSoon || !isSoon)) return;
    if (timer !== null) clearTimeout(timer);
    isTimerSoon = isSoon;
    timer = setTimeout(flush, isSoon ? flushDelayMs : flushPatienceMs);
  };
  const enqueue = (request: ApprovedRequest): Promise<IssuanceOutcome> =>
    new Promise((settle) => {
      if (closed) return settle(refused('This server is shutting down; ask again.'));
      if (queue.length >= queueRows) return settle(refused('Too many certificates are waiting; ask again shortly.'));
      queue.push({ request, settle });
      if (queue.length >= flushRows) flush();
      else schedule(running.size === 0 || keysUnderWay.has(keyOf(request)));
    });

  return {
    async issue(request) {
      const outcome = await enqueue(request);
      if (!outcome.ok) throw outcome.error;
      return outcome.certificate;
    },
    async issueMany(requests) {
      const outcomes: Promise<IssuanceOutcome>[] = [];
      for (let from = 0; from < requests.length; from += flushRows) {
        // Bulk work waits for room instead of being refused, and leaves half of it to single callers.
        while (queue.length > queueRows / 2) await sleep(flushDelayMs);
        outcomes.push(...requests.slice(from, from + flushRows).map(enqueue));
      }
      return Promise.all(outcomes);
    },
    byAttempt: (attemptId) => deps.certificates.byAttempt(deps.transactor.read, attemptId),
    async close() {
      closed = true;
      if (timer !== null) clearTimeout(timer);
      flush();
      while (running.size > 0 || queue.length > 0) {
        await Promise.all(running);
        flush();
      }
    },
  };
}

function keyOf({ spki }: ApprovedRequest): string {
  return spki.spkiHash.toString('latin1');
}

function refused(message: string): IssuanceOutcome {
  return { ok: false, error: new FemtoError('RETRY_LATER', message, { retryAfterSeconds: 2 }) };
}

function noOutcome(): IssuanceOutcome {
  return { ok: false, error: new FemtoError('INTERNAL', 'The certificate’s fate was lost; ask again.') };
}
