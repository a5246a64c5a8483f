import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from '@jest/globals';
import { FemtoError } from '../../src/platform/errors.js';

export type Verdict = 'accept' | 'reject' | 'n/a';

export interface CorpusCase {
  readonly id: string;
  /** Path below the corpus folder. */
  readonly file: string;
  readonly check: string;
  readonly verdict: Verdict;
  readonly reason: string;
  /** Whatever stands beside the case in expect.json: issuer, time, status… */
  readonly inputs: Readonly<Record<string, unknown>>;
  read(path?: string): Buffer;
}

export interface Corpus {
  readonly name: string;
  readonly root: string;
  readonly totals: Readonly<Record<Verdict, number>>;
  readonly cases: readonly CorpusCase[];
  read(path: string): Buffer;
}

interface Expectation {
  totals: Record<Verdict, number>;
  rules: { prefix: string; check: string; verdict: string; reason: string; map?: Record<string, Verdict> }[];
  cases: Record<string, { file?: string; check: string; verdict: Verdict; reason: string }>;
}

/** More than this on one small input is a parser that can be made to work for an attacker. */
const CASE_MS_MAX = 50;

/** Answers accept or reject for one case; a FemtoError thrown is a reject with its code. */
export type Judge = (corpusCase: CorpusCase) => 'accept' | 'reject';

export interface CorpusPlan {
  /** One judge per check we cover. */
  readonly judges: Readonly<Record<string, Judge>>;
  /** Checks we do not cover yet: the sentence says why. */
  readonly notCovered?: Readonly<Record<string, string>>;
  /** Case id (or a prefix of ids ending in `*`) → why our rules differ from upstream's verdict, in one sentence. */
  readonly differs?: Readonly<Record<string, string>>;
  /** Case id → why this one may take longer than a hostile input is allowed. */
  readonly slow?: Readonly<Record<string, string>>;
  /** The last number of n/a cases; may only fall. */
  readonly notApplicableMax: number;
  /** Cases that stand inside one file, where the verdict is "by …" and a rule says so. */
  readonly expand?: (corpus: Corpus, prefix: string) => CorpusCase[];
}

/** One test per case id; the count must equal `totals`; prints the tally, or SKIP where the corpus is absent. */
export function runCorpus(name: string, plan: CorpusPlan): void {
  describe(`corpora/${name}`, () => {
    const corpus = loadCorpus(name, plan);
    if (corpus === undefined) {
      const line = `SKIP corpora/${name}: ../shared/corpora/${name} not found`;
      test('the corpus is beside the checkout, or its absence is said', () => {
        process.stdout.write(`${line}\n`);
        if (process.env['REQUIRE_CORPORA'] === '1') throw new Error(line);
      });
      return;
    }
    const tally: Record<Verdict, number> = { accept: 0, reject: 0, 'n/a': 0 };
    for (const corpusCase of corpus.cases) {
      const judge = plan.judges[corpusCase.check];
      if (judge === undefined) {
        tally['n/a'] += 1;
        continue;
      }
      test(`${corpusCase.check}: ${corpusCase.id}`, () => {
        const found = judgeWithin(judge, corpusCase, plan.slow?.[corpusCase.id] === undefined);
        tally[corpusCase.verdict === 'n/a' ? 'n/a' : found.verdict] += 1;
        if (corpusCase.verdict === 'n/a') return;
        const difference = differenceOf(plan, corpusCase.id);
        const wanted = difference === undefined ? corpusCase.verdict : opposite(corpusCase.verdict);
        const { id, reason } = corpusCase;
        expect({ id, reason, ...found }).toEqual({ id, reason, ...found, verdict: wanted });
      });
    }
    test('every case of the corpus was found, and every check is covered or said not to be', () => {
      const found: Record<Verdict, number> = { accept: 0, reject: 0, 'n/a': 0 };
      for (const { verdict } of corpus.cases) found[verdict] += 1;
      expect(found).toEqual(corpus.totals);
      const notApplicable = corpus.cases.filter(
        ({ check, verdict }) => verdict === 'n/a' || plan.judges[check] === undefined,
      );
      expect(notApplicable.length).toBeLessThanOrEqual(plan.notApplicableMax);
      const uncovered = new Set(
        corpus.cases.map(({ check }) => check).filter((check) => plan.judges[check] === undefined),
      );
      expect([...uncovered].sort()).toEqual(Object.keys(plan.notCovered ?? {}).sort());
      const ids = corpus.cases.map(({ id }) => id);
      const stale = Object.keys(plan.differs ?? {}).filter((key) => !ids.some((id) => matches(key, id)));
      expect(stale).toEqual([]);
    });
    afterAll(() => {
      process.stdout.write(`corpora/${name}: ${tally.accept} accept, ${tally.reject} reject, ${tally['n/a']} n/a\n`);
    });
  });
}

interface Finding {
  readonly verdict: 'accept' | 'reject';
  /** Code and sentence of the refusal, for whoever reads a failure. */
  readonly why: string;
  readonly ms: number;
}

function judgeWithin(judge: Judge, corpusCase: CorpusCase, bounded: boolean): Omit<Finding, 'ms'> {
  const first = judgeOnce(judge, corpusCase);
  if (bounded && first.ms > CASE_MS_MAX) {
    // The first run includes compiling and the machine is shared: only a case that is slow every time counts.
    const again = [1, 2, 3].map(() => judgeOnce(judge, corpusCase).ms);
    expect(Math.min(...again)).toBeLessThan(CASE_MS_MAX);
  }
  return { verdict: first.verdict, why: first.why };
}

/** A judge may throw only FemtoErrors that are listed answers; INTERNAL and everything else is a crash. */
function judgeOnce(judge: Judge, corpusCase: CorpusCase): Finding {
  const started = performance.now();
  try {
    return { verdict: judge(corpusCase), why: '', ms: performance.now() - started };
  } catch (thrown) {
    const ms = performance.now() - started;
    if (!(thrown instanceof FemtoError)) throw thrown;
    expect(['BAD_REQUEST', 'KEY_WEAK', 'KEY_BLOCKED', 'ID_MISMATCH']).toContain(thrown.code);
    return { verdict: 'reject', why: `${thrown.code} ${thrown.message}`, ms };
  }
}

function differenceOf(plan: CorpusPlan, id: string): string | undefined {
  const key = Object.keys(plan.differs ?? {}).find((candidate) => matches(candidate, id));
  return key === undefined ? undefined : plan.differs?.[key];
}

function matches(key: string, id: string): boolean {
  return key.endsWith('*') ? id.startsWith(key.slice(0, -1)) : key === id;
}

function opposite(verdict: Verdict): Verdict {
  return verdict === 'accept' ? 'reject' : 'accept';
}

function loadCorpus(name: string, plan: CorpusPlan): Corpus | undefined {
  const root = fileURLToPath(new URL(`../../../shared/corpora/${name}/`, import.meta.url));
  if (!existsSync(root)) return undefined;
  const expectation = JSON.parse(readFileSync(join(root, 'expect.json'), 'utf8')) as Expectation;
  const read = (path: string): Buffer => readFileSync(join(root, path));
  const cases: CorpusCase[] = [];
  for (const [id, { file = id, check, verdict, reason, ...inputs }] of Object.entries(expectation.cases)) {
    cases.push({ id, file, check, verdict, reason, inputs, read: (path = file) => read(path) });
  }
  const corpus: Corpus = { name, root, totals: expectation.totals, cases, read };
  for (const { prefix, check, verdict, reason } of expectation.rules) {
    if (verdict.startsWith('by ')) {
      cases.push(...(plan.expand?.(corpus, prefix) ?? []));
      continue;
    }
    for (const file of filesUnder(root, prefix)) {
      if (cases.some((known) => known.file === file)) continue;
      cases.push({
        id: file,
        file,
        check,
        verdict: verdict as Verdict,
        reason,
        inputs: {},
        read: (path = file) => read(path),
      });
    }
  }
  return corpus;
}

function filesUnder(root: string, prefix: string): string[] {
  const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1);
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter((file) => file.startsWith(prefix))
    .sort();
}
