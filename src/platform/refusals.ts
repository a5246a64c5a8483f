import type { ErrorCode } from './errors.js';
import { sourcePrefix } from './net/ip-address.js';

/** One refusal whose sender proved nothing: counted, never written one by one (rules 7.5). */
export interface AnonymousRefusal {
  /** True peer address; counted under its /24 or /48. */
  readonly address: string;
  readonly code: ErrorCode;
  readonly at: Date;
  /** What it looked like, e.g. the path; escaped and cut. Never a body, never a secret. */
  readonly sample: string;
}

export interface RefusalRow {
  /** `192.0.2.0/24`, `2001:db8::/48`, `unknown`; `*` once the day's budget is spent. */
  readonly sourcePrefix: string;
  readonly code: ErrorCode;
  readonly minute: Date;
  readonly count: number;
  readonly sample: string;
}

export interface RefusalStore {
  /** Adds to what is there. New rows count against the day's byte budget; past it they fold into prefix `*`. */
  add(rows: readonly RefusalRow[]): Promise<void>;
}

export interface RefusalCounter {
  /** Cheap and synchronous; what does not fit in memory folds into prefix `*`. */
  count(refusal: AnonymousRefusal): void;
  /** Writes what is counted. Safe to call at any time; a failed write is kept for the next. */
  flush(): Promise<void>;
  /** Stops the timer and flushes. */
  close(): Promise<void>;
}

/** Distinct (prefix, code, minute) between two flushes; a flood from more prefixes than this is one flood. */
const ROWS_IN_MEMORY_MAX = 2_000;
const FLUSH_INTERVAL_MS = 1_000;
const SAMPLE_CHARACTERS_MAX = 120;
const MINUTE_MS = 60_000;

/**
 * Counts in memory and writes once a second: a flood costs one row a prefix, code and minute, not one a request.
 *
 * @param onError  told when a write fails; the counts stay for the next try
 */
export function makeRefusalCounter(store: RefusalStore, onError: (error: unknown) => void): RefusalCounter {
  let pending = new Map<string, RefusalRow>();
  let writing: Promise<void> = Promise.resolve();

  const add = (row: RefusalRow) => {
    const key = `${row.sourcePrefix} ${row.code} ${row.minute.getTime()}`;
    const held = pending.get(key);
    if (held === undefined && pending.size >= ROWS_IN_MEMORY_MAX && row.sourcePrefix !== '*') {
      return add({ ...row, sourcePrefix: '*', sample: '' });
    }
    pending.set(key, held === undefined ? row : { ...held, count: held.count + row.count });
  };

  const write = async () => {
    if (pending.size === 0) return;
    const rows = [...pending.values()];
    pending = new Map();
    try {
      await store.add(rows);
    } catch (error) {
      for (const row of rows) add(row);
      onError(error);
    }
  };
  // One writer at a time, so that two flushes cannot take each other's row locks in turn.
  const flush = () => {
    writing = writing.then(write);
    return writing;
  };
  const timer = setInterval(() => void flush(), FLUSH_INTERVAL_MS);
  timer.unref();

  return {
    count: ({ address, code, at, sample }) =>
      add({
        sourcePrefix: sourcePrefix(address),
        code,
        minute: new Date(Math.floor(at.getTime() / MINUTE_MS) * MINUTE_MS),
        count: 1,
        sample: printable(sample),
      }),
    flush,
    close: async () => {
      clearInterval(timer);
      await flush();
    },
  };
}

/** CR, LF and escape sequences from outside must not write lines of their own into a log or a terminal. */
function printable(text: string): string {
  return text
    .slice(0, SAMPLE_CHARACTERS_MAX)
    .replaceAll(/[^\x20-\x7e]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
