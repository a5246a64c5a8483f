import { startEnrolBench } from '../measure/enrol-rounds.js';
import { type PinnedProcess, SERVER_CORE, startPinned } from '../measure/pinned-process.js';
import { interleaved } from '../measure/rounds.js';
import type { BenchContext, Measurement, Round, Scenario } from '../scenario.js';

/**
 * How long a station waits for a unit's certificate on a kept mTLS connection, at half of what the server can do: 99th
 * percentile from when the request was due. The limit is what nobody can leave out, at the same rate: the token's 99th
 * percentile for one signature and the database's for one committed row, each alone, added.
 */
export const scenario: Scenario = {
  name: 'issue-keepalive',
  unit: 'ms',
  better: 'lower',
  limit: 'sign and commit',
  run,
};

const ROW = [
  'CREATE TABLE IF NOT EXISTS floor_commit (id bytea PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())',
  'INSERT INTO floor_commit (id) VALUES ($1)',
];

interface Paced {
  readonly p99Ms: number;
  readonly cpuSeconds: number;
  readonly operations: number;
}

async function run({ rounds, seconds, say }: BenchContext): Promise<Measurement> {
  const bench = await startEnrolBench(say);
  const probes: PinnedProcess[] = [];
  try {
    const { token, keyLabel, databaseUrl } = bench.ready;
    const probe = async (file: string, args: readonly string[]): Promise<PinnedProcess> => {
      const started = startPinned(new URL(`../limits/${file}`, import.meta.url), SERVER_CORE, args);
      probes.push(started);
      await started.next();
      return started;
    };
    const sign = await probe('paced-sign.ts', [JSON.stringify({ ...token, keyLabel })]);
    const commit = await probe('paced-commit.ts', [databaseUrl, ...ROW]);
    await bench.round({ seconds });
    const full = await bench.round({ seconds });
    const perSecond = full.perSecond / 2;
    say(`  full load: ${Math.round(full.perSecond)}/s; half of it from here on`);
    const ofProduct = async (): Promise<Round> => {
      const round = await bench.round({ seconds, perSecond });
      say(`  p50 ${round.p50Ms.toFixed(1)} ms, p99 ${round.p99Ms.toFixed(1)} ms`);
      return { ...round, figure: round.p99Ms };
    };
    const ofLimit = async (): Promise<Round> => {
      const [signed, committed] = [await paced(sign, seconds, perSecond), await paced(commit, seconds, perSecond)];
      say(`  p99: signature ${signed.p99Ms.toFixed(2)} ms, commit ${committed.p99Ms.toFixed(2)} ms`);
      const cpuSecondsPerOperation = (signed.cpuSeconds + committed.cpuSeconds) / signed.operations;
      return { perSecond, figure: signed.p99Ms + committed.p99Ms, cpuSecondsPerOperation, generatorBusy: 0 };
    };
    const measured = await interleaved(rounds, { product: ofProduct, limit: ofLimit }, say);
    return { ...measured, checks: await bench.check() };
  } finally {
    await Promise.all([bench.end(), ...probes.map((one) => one.end())]);
  }
}

function paced(probe: PinnedProcess, seconds: number, perSecond: number): Promise<Paced> {
  probe.send({ seconds, perSecond });
  return probe.next<Paced>();
}
