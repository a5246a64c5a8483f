import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeFlags } from '../../src/apps/node-flags.js';
import type { HttpsLoadOrder, HttpsLoadResult } from '../load/https-load.js';
import type { BenchContext, Measurement, Round } from '../scenario.js';
import type { EnrolOrder, EnrolReady, EnrolStock } from '../servers/enrol-port.js';
import { microseconds } from './composite.js';
import { GENERATOR_CORE, type PinnedProcess, SERVER_CORE, startPinned } from './pinned-process.js';

export const CONNECTIONS = 32;

/** One round of enrolments by a station, and how long each took from when it was due. */
export type EnrolRound = Round & Pick<HttpsLoadResult, 'p50Ms' | 'p99Ms'>;

/** Factory enrolment on one core, with its database and signer; a station on the other, over kept mTLS connections. */
export interface EnrolBench {
  readonly dir: string;
  readonly ready: EnrolReady;
  /** New units with a request each. */
  stock(count: number): Promise<EnrolStock>;
  /** Each unit is asked for once. `perSecond` absent: as fast as they are answered. */
  round(options: { seconds: number; perSecond?: number }): Promise<EnrolRound>;
  /** Of everything that was enrolled. */
  check(): Promise<Measurement['checks']>;
  end(): Promise<void>;
}

/** More than a round should use, so that no unit is asked for twice. */
const STOCK_MARGIN = 1.5;
const FIRST_PER_SECOND = 400;

export async function startEnrolBench(say: BenchContext['say']): Promise<EnrolBench> {
  const dir = mkdtempSync(join(tmpdir(), 'fp-bench-'));
  const server = startPinned(
    new URL('../servers/enrol-port.ts', import.meta.url),
    SERVER_CORE,
    [dir],
    nodeFlags('enrol-server'),
  );
  const started: PinnedProcess[] = [server];
  const ask = <T>(order: EnrolOrder): Promise<T> => {
    server.send(order);
    return server.next<T>();
  };
  const end = async (): Promise<void> => {
    await Promise.all(started.map((one) => one.end()));
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    const ready = await server.next<EnrolReady>();
    writeFileSync(join(dir, 'station.json'), JSON.stringify(ready.tls));
    const loadUrl = new URL('../load/https-load.ts', import.meta.url);
    const load = startPinned(loadUrl, GENERATOR_CORE, [join(dir, 'station.json')]);
    started.push(load);
    let enrolled = 0;
    let fastest = FIRST_PER_SECOND;
    return {
      dir,
      ready,
      stock: (count) => ask<EnrolStock>({ prepare: count }),
      round: async ({ seconds, perSecond }) => {
        const wanted = Math.ceil((perSecond ?? fastest) * seconds * STOCK_MARGIN) + 2 * CONNECTIONS;
        const { own } = await ask<EnrolStock>({ prepare: wanted });
        const before = await ask<Record<string, number>>('cpu');
        load.send({
          port: ready.port,
          connections: CONNECTIONS,
          seconds,
          warmUp: false,
          requestsFile: own,
          expected: '"repeated":false',
          ...(perSecond === undefined ? {} : { perSecond }),
        } satisfies HttpsLoadOrder);
        const result = await load.next<HttpsLoadResult>();
        const after = await ask<Record<string, number>>('cpu');
        if (result.failures > 0) throw new Error(`${result.failures} enrolments failed: ${result.firstFailure}`);
        // Each connection asks once before it is measured.
        const all = result.answers + CONNECTIONS;
        enrolled += all;
        fastest = Math.max(fastest, result.answers / result.seconds);
        const parts = Object.entries(after).map(([part, value]): [string, number] => [
          part,
          (value - (before[part] ?? 0)) / all,
        ]);
        say(microseconds('product', Object.fromEntries(parts)));
        return {
          perSecond: result.answers / result.seconds,
          cpuSecondsPerOperation: parts.reduce((sum, [, one]) => sum + one, 0),
          generatorBusy: result.cpuSeconds / result.seconds,
          p50Ms: result.p50Ms,
          p99Ms: result.p99Ms,
        };
      },
      check: () => ask<Measurement['checks']>({ check: enrolled }),
      end,
    };
  } catch (error) {
    await end();
    throw error;
  }
}
