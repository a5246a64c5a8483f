import type { Clock } from '../../platform/clock.js';
import { asFemtoError, type FemtoError } from '../../platform/errors.js';
import { readCrlHead } from '../../x509/crl.js';
import { belongsUnder } from '../../x509/crl-part.js';
import type { CrlFiles } from './crl-store.js';

/** CRLs of this host, complete ones and parts. */
export interface CrlSource {
  /** Without `.crl`. */
  names(): Promise<readonly string[]>;
  readonly files: Pick<CrlFiles, 'stamp' | 'newest'>;
}

export interface CrlMirrorDeps {
  readonly sources: readonly CrlSource[];
  readonly store: CrlFiles;
  readonly clock: Clock;
}

export interface MirrorOutcome {
  readonly name: string;
  readonly outcome: 'copied' | 'failed';
  readonly number?: number;
  /** For `failed`: it is tried again, later each time; what lies in the store stays. */
  readonly error?: FemtoError;
}

export interface CrlMirror {
  /**
   * Copies what is newer here than in the store. Call it in a loop; calls never overlap. The disk comes first and waits for
   * nothing here: this host's servers show a CRL whatever the store does. Never throws but for a disk that cannot be read.
   */
  copyDue(): Promise<MirrorOutcome[]>;
  /** Since when the store lacks a list that lies here; 0: it has them all. */
  behindMs(): number;
}

/** An object that somebody removed or replaced is found within this time. */
const LOOK_EVERY_MS = 60_000;
const RETRY_MS_MIN = 1_000;
const RETRY_MS_MAX = 30_000;
/** Another host's list reaches this host's disk within ten seconds; later than this, nobody published it. */
const NEWER_ELSEWHERE_MS = 60_000;

interface Standing {
  /** What was copied, by its stamp here and there. */
  here: string | null;
  there: string | null;
  lookedAtMs: number;
  /** Since when the store lacks what lies here. */
  behindSinceMs: number | null;
  newerSinceMs: number | null;
}

/** Copies the lists of one host to a store that others read; any number of hosts may, and the newest list wins. */
export function makeCrlMirror(deps: CrlMirrorDeps): CrlMirror {
  const standings = new Map<string, Standing>();
  let tries = 0;
  let nextTryAtMs = 0;
  let running: Promise<MirrorOutcome[]> | undefined;

  const copyDue = async (): Promise<MirrorOutcome[]> => {
    const nowMs = deps.clock.now().getTime();
    const outcomes: MirrorOutcome[] = [];
    // A clock that was set back must not silence anything for hours.
    const mayAsk = nowMs >= nextTryAtMs || nextTryAtMs - nowMs > RETRY_MS_MAX;
    for (const source of deps.sources) {
      for (const name of await source.names()) {
        const standing = standings.get(name) ?? begin(standings, name);
        const here = await source.files.stamp(name);
        if (here === null) continue;
        if (here !== standing.here) standing.behindSinceMs ??= nowMs;
        const isLookDue = Math.abs(nowMs - standing.lookedAtMs) >= LOOK_EVERY_MS;
        if (!mayAsk || (here === standing.here && !isLookDue)) continue;
        try {
          const number = await copy(deps.store, source, name, standing, here);
          Object.assign(standing, { here, lookedAtMs: nowMs, behindSinceMs: null, newerSinceMs: null });
          if (number !== null) outcomes.push({ name, outcome: 'copied', number });
          tries = 0;
        } catch (thrown) {
          const error = asFemtoError(thrown);
          if (error.code === 'STATE_CONFLICT') {
            const isTold = noteNewer(standing, here, nowMs);
            if (isTold) outcomes.push({ name, outcome: 'failed', error });
            continue;
          }
          outcomes.push({ name, outcome: 'failed', error });
          // One store: what it does not take of one list it is not asked for the next, until it has had time.
          nextTryAtMs = nowMs + Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(tries++, 10));
          return outcomes;
        }
      }
    }
    return outcomes;
  };

  return {
    copyDue: () => {
      running ??= copyDue().finally(() => {
        running = undefined;
      });
      return running;
    },
    behindMs: () => {
      const since = [...standings.values()].flatMap(({ behindSinceMs }) => behindSinceMs ?? []);
      return since.length === 0 ? 0 : Math.max(0, deps.clock.now().getTime() - Math.min(...since));
    },
  };
}

/** @returns the number that was put there; null: nothing had to be */
async function copy(
  store: CrlFiles,
  source: CrlSource,
  name: string,
  standing: Standing,
  here: string,
): Promise<number | null> {
  const stamp = await store.stamp(name);
  if (here === standing.here && stamp !== null && stamp === standing.there) return null;
  const mine = await source.files.newest(name);
  // No list, or the wrong one for its name: the publisher heals the file, and a shard never hides what the others list.
  if (!mine || !belongsUnder(name, readCrlHead(mine.der))) return null;
  const theirs = stamp === null ? null : await store.newest(name);
  if (theirs && stamp !== null && theirs.der.equals(mine.der)) {
    standing.there = stamp;
    return null;
  }
  standing.there = await store.publish(name, mine.der);
  return Number(mine.number);
}

/** @returns whether it lasts so long that somebody must be told */
function noteNewer(standing: Standing, here: string, nowMs: number): boolean {
  standing.newerSinceMs ??= nowMs;
  const isTold = nowMs - standing.newerSinceMs >= NEWER_ELSEWHERE_MS;
  // Nothing of ours is missing there; look again with the next list, or in a while.
  Object.assign(standing, { here, there: null, lookedAtMs: nowMs, behindSinceMs: null });
  return isTold;
}

function begin(standings: Map<string, Standing>, name: string): Standing {
  const standing = {
    here: null,
    there: null,
    lookedAtMs: Number.NEGATIVE_INFINITY,
    behindSinceMs: null,
    newerSinceMs: null,
  };
  standings.set(name, standing);
  return standing;
}
