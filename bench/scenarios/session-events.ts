import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SessionLoadOrder, SessionLoadResult } from '../load/session-load.js';
import { GENERATOR_CORE, type PinnedProcess, SERVER_CORE, startPinned } from '../measure/pinned-process.js';
import { treeCpuSeconds } from '../measure/process-tree.js';
import { interleaved } from '../measure/rounds.js';
import { openSessionRows, SESSION_TABLES, type SessionRows } from '../measure/session-rows.js';
import type { BenchContext, Measurement, Round, Scenario } from '../scenario.js';
import type { GatewayPortReady } from '../servers/gateway-port.js';

/**
 * Gateways tell of sessions: reports of a thousand events in no order, a tenth of them told before, over mTLS at the gateway
 * port, each durable before it is answered and folded into its session. Against the same rows as ready bytes by binary COPY
 * into the same tables, a transaction a report. Both with one core for what is measured and one for PostgreSQL, which the
 * product's shares with the generator.
 */
export const scenario: Scenario = { name: 'session-events', unit: 'events/s', limit: 'copy-binary', run };

const UNITS = 10_000;
const UNITS_QUICK = 2_000;
/** Starts of connectors that tell at once. */
const LINES = 4;

async function run({ rounds, seconds, quick, say }: BenchContext): Promise<Measurement> {
  const dir = mkdtempSync(join(tmpdir(), 'fp-bench-'));
  const ended: PinnedProcess[] = [];
  const started = (file: string, core: number, args: string[]): PinnedProcess => {
    const one = startPinned(new URL(file, import.meta.url), core, args);
    ended.push(one);
    return one;
  };
  let rows: SessionRows | undefined;
  try {
    const product = started('../servers/gateway-port.ts', SERVER_CORE, [dir, String(quick ? UNITS_QUICK : UNITS)]);
    const { tls, fleets } = await product.next<GatewayPortReady>();
    const [{ port, requestsFile, databaseUrl }] = fleets as [GatewayPortReady['fleets'][number]];
    writeFileSync(join(dir, 'client.json'), JSON.stringify(tls));
    const generator = started('../load/session-load.ts', GENERATOR_CORE, [join(dir, 'client.json')]);
    const copy = started('../limits/copy-binary.ts', SERVER_CORE, [databaseUrl, String(LINES)]);
    await copy.next();
    const written = await openSessionRows(databaseUrl);
    rows = written;
    const results: SessionLoadResult[] = [];
    const told: Awaited<ReturnType<SessionRows['take']>>[] = [];
    const ofProduct = async (): Promise<Round> => {
      const before = treeCpuSeconds(product.pid);
      const order: SessionLoadOrder = { port, requestsFile, lines: LINES, seconds };
      generator.send(order);
      const result = await generator.next<SessionLoadResult>();
      const cpu = treeCpuSeconds(product.pid) - before;
      results.push(result);
      told.push(await written.take(dir));
      const { accepted, cpuSeconds } = result;
      return {
        perSecond: accepted / result.seconds,
        cpuSecondsPerOperation: cpu / accepted,
        generatorBusy: cpuSeconds / result.seconds,
      };
    };
    /** The rows of the oldest round that was not copied yet. */
    const ofLimit = async (): Promise<Round> => {
      const { flushes, events } = told.shift() as (typeof told)[number];
      const before = treeCpuSeconds(product.pid);
      copy.send({ dir, tables: SESSION_TABLES, flushes });
      const took = await copy.next<{ seconds: number; cpuSeconds: number }>();
      const database = treeCpuSeconds(product.pid) - before;
      return {
        perSecond: events / took.seconds,
        cpuSecondsPerOperation: (took.cpuSeconds + database) / events,
        generatorBusy: 0,
      };
    };
    await ofProduct();
    const measured = await interleaved(rounds, { product: ofProduct, limit: ofLimit }, say);
    return { ...measured, checks: await checks(written, results) };
  } finally {
    await rows?.end();
    await Promise.all(ended.map((one) => one.end()));
    rmSync(dir, { recursive: true, force: true });
  }
}

async function checks(rows: SessionRows, results: readonly SessionLoadResult[]): Promise<Measurement['checks']> {
  const total = (of: (result: SessionLoadResult) => number): number => results.reduce((sum, one) => sum + of(one), 0);
  const { events, sessions, ended, doubles } = await rows.count();
  const accepted = total((one) => one.accepted);
  const [failures, firstFailure] = [
    total((one) => one.failures),
    results.find((one) => one.failures > 0)?.firstFailure,
  ];
  return [
    {
      what: `every report was taken as it was meant (${failures} were not; ${firstFailure ?? 'none'})`,
      ok: failures === 0,
    },
    { what: `${accepted} events accepted, ${events} rows`, ok: accepted > 0 && accepted === events },
    {
      what: `${sessions} sessions came up and ${ended} of them ended, whatever the order in which it was told`,
      ok: sessions === total((one) => one.sessions) && ended === total((one) => one.ended),
    },
    { what: `${total((one) => one.repeated)} repeats had no effect`, ok: total((one) => one.repeated) > 0 },
    { what: `no unit was taken for two (${doubles})`, ok: doubles === 0 },
  ];
}
