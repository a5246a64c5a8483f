import fc from 'fast-check';
import { type Played, playHistory } from './play.js';
import { openRange, type Range, type UnitVerdict } from './range.js';
import { makeSoftwareCa } from './software-ca.js';
import { dishonestHistory, type History, honestHistory } from './step.js';

export const KINDS = { honest: honestHistory, dishonest: dishonestHistory } as const;
export type Kind = keyof typeof KINDS;

export interface HistoriesReport {
  readonly kind: Kind;
  readonly seed: number;
  readonly runs: number;
  /** How long they took. */
  readonly seconds: number;
  /** How often each thing came out of a step. */
  readonly steps: ReadonlyMap<string, number>;
  /** How often each state and evidence stood at the end. */
  readonly ends: ReadonlyMap<string, number>;
  /** Dishonest histories in which two holders were shown. */
  readonly shown: number;
  readonly faults: readonly Fault[];
}

export interface Fault {
  /** Number of the history in its run: `--seed` and `--only` play it again. */
  readonly index: number;
  readonly what: string;
  /** As short as it still fails. */
  readonly history: History;
  readonly told: readonly string[];
}

interface Judged {
  readonly fault: string | null;
  readonly told: readonly string[];
  readonly end: string;
  readonly shown: string | null;
}

const LANES = 4;
/** Histories whose ledger entries are numbered and weighed together. */
const TOGETHER = 8;
const FAULTS_MAX = 5;

/**
 * Random histories through the real use-cases (renewal, confirm, authorise, sessions, detection) on PostgreSQL.
 *
 * @param options.only  plays one history alone, by its number
 */
export async function runHistories(
  kind: Kind,
  options: { runs: number; seed: number; only?: number; onProgress?: (done: number) => void },
): Promise<HistoriesReport> {
  const { runs, seed, only } = options;
  const histories = fc.sample(KINDS[kind], { numRuns: Math.max(runs, (only ?? -1) + 1), seed });
  const queue = [...histories.entries()].filter(([index]) => only === undefined || index === only);
  const steps = new Map<string, number>();
  const ends = new Map<string, number>();
  const faults: Fault[] = [];
  let shown = 0;
  let done = 0;
  const startMs = performance.now();
  const ca = makeSoftwareCa();
  const settle = async (range: Range, index: number, history: History, judged: Judged): Promise<void> => {
    for (const word of judged.told) count(steps, word);
    count(ends, judged.end);
    if (judged.shown !== null) shown += 1;
    if (judged.fault !== null) {
      const least = await shortened(range, kind, history);
      const [again = judged] = await judge(range, kind, [least]);
      faults.push({ index, what: again.fault ?? judged.fault, history: least, told: again.told });
    }
    options.onProgress?.(++done);
  };
  const lane = async (): Promise<void> => {
    const range = await openRange(ca);
    try {
      while (queue.length > 0 && faults.length < FAULTS_MAX) {
        const some = queue.splice(0, TOGETHER);
        const judged = await judge(
          range,
          kind,
          some.map(([, history]) => history),
        );
        for (const [at, [index, history]] of some.entries()) {
          const one = judged[at];
          if (one !== undefined) await settle(range, index, history, one);
        }
      }
    } finally {
      await range.close();
    }
  };
  await Promise.all(Array.from({ length: Math.min(LANES, queue.length) }, lane));
  const seconds = (performance.now() - startMs) / 1_000;
  return { kind, seed, runs: only === undefined ? runs : 1, seconds, steps, ends, shown, faults };
}

/** One after the other; a history ends with what had to be evident, so detection may look at several together. */
async function judge(range: Range, kind: Kind, histories: readonly History[]): Promise<Judged[]> {
  const played: Played[] = [];
  for (const history of histories) played.push(await playHistory(range, history, Date.now()));
  await range.work();
  const judged: Judged[] = [];
  for (const { unit, oracle, told } of played) {
    const verdict = await range.verdictOf(unit.id);
    const end = [verdict.state, ...verdict.evidence].join(', ');
    const fault = kind === 'honest' ? falseAlarm(verdict, oracle.newKeysAfterLoss) : silence(verdict, oracle.shown);
    judged.push({ fault, told, end, shown: oracle.shown });
  }
  return judged;
}

/** Zero hard evidence, nobody restricted; strong only where several answers were lost and each time a new key made. */
function falseAlarm({ state, evidence }: UnitVerdict, newKeys: number): string | null {
  if (state !== 'ACTIVE') return `an honest unit is ${state}`;
  const worse = evidence.filter((one) => !one.startsWith('soft ') && !(one === 'strong FORK_SOFT' && newKeys >= 2));
  return worse.length === 0 ? null : `an honest unit has ${worse.join(', ')}`;
}

function silence({ evidence }: UnitVerdict, shown: string | null): string | null {
  if (shown === null || evidence.some((one) => !one.startsWith('soft '))) return null;
  return `${shown}, and there is ${evidence.length === 0 ? 'no evidence' : evidence.join(', ')}`;
}

/** Leaves out every step without which it still fails. */
async function shortened(range: Range, kind: Kind, history: History): Promise<History> {
  let least = history;
  for (let at = history.steps.length - 1; at >= 0; at -= 1) {
    const copiedAfter =
      least.copiedAfter !== null && at < least.copiedAfter ? least.copiedAfter - 1 : least.copiedAfter;
    const shorter = { ...least, copiedAfter, steps: least.steps.toSpliced(at, 1) };
    if ((await judge(range, kind, [shorter]))[0]?.fault) least = shorter;
  }
  return least;
}

function count(of: Map<string, number>, what: string): void {
  of.set(what, (of.get(what) ?? 0) + 1);
}
