import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeFlags } from '../../src/apps/node-flags.js';
import { microseconds } from '../measure/composite.js';
import { type PinnedProcess, startPinned, WHOLE_MACHINE } from '../measure/pinned-process.js';
import { interleaved } from '../measure/rounds.js';
import type { BenchContext, Measurement, Round, Scenario } from '../scenario.js';
import { COPIED_TABLES } from '../servers/copied-rows.js';
import type { PersistReady, PersistRound } from '../servers/persist.js';

/**
 * The engine's writes, T1 and T2 with their locks and claims, against the same rows copied as ready bytes into the same
 * tables of a second database on the same server: flushes of 256, three at once, durable, on both sides.
 */
export const scenario: Scenario = { name: 'persist', unit: 'certificates/s', limit: 'copy-binary', run };

const ROWS_A_SECOND = 3_000;
const FLUSHES_AT_ONCE = 3;

async function run({ rounds, seconds, say }: BenchContext): Promise<Measurement> {
  const dir = mkdtempSync(join(tmpdir(), 'fp-bench-'));
  const product = startPinned(
    new URL('../servers/persist.ts', import.meta.url),
    WHOLE_MACHINE,
    [dir],
    nodeFlags('enrol-server'),
  );
  const ended: PinnedProcess[] = [product];
  try {
    const { databaseUrl } = await product.next<PersistReady>();
    const copyUrl = new URL('../limits/copy-binary.ts', import.meta.url);
    const copy = startPinned(copyUrl, WHOLE_MACHINE, [databaseUrl, String(FLUSHES_AT_ONCE)]);
    ended.push(copy);
    await copy.next();
    const recorded: PersistRound[] = [];
    const ofProduct = async (): Promise<Round> => {
      product.send({ prepare: Math.ceil(ROWS_A_SECOND * seconds) });
      await product.next();
      product.send('round');
      const round = await product.next<PersistRound>();
      recorded.push(round);
      say(microseconds('product', round.cpu));
      return round;
    };
    /** The rows of the oldest round that was not copied yet. */
    const ofLimit = async (): Promise<Round> => {
      const { rows, flushes } = recorded.shift() as PersistRound;
      const before = await databaseSeconds(product);
      copy.send({ dir, tables: COPIED_TABLES, flushes });
      const took = await copy.next<{ seconds: number; cpuSeconds: number }>();
      const cpu = { own: took.cpuSeconds / rows, database: ((await databaseSeconds(product)) - before) / rows };
      say(microseconds('limit', cpu));
      return { perSecond: rows / took.seconds, cpuSecondsPerOperation: cpu.own + cpu.database, generatorBusy: 0 };
    };
    await ofProduct();
    const measured = await interleaved(rounds, { product: ofProduct, limit: ofLimit }, say);
    product.send('check');
    return { ...measured, checks: await product.next<Measurement['checks']>() };
  } finally {
    await Promise.all(ended.map((one) => one.end()));
    rmSync(dir, { recursive: true, force: true });
  }
}

async function databaseSeconds(product: PinnedProcess): Promise<number> {
  product.send('cpu');
  return product.next<number>();
}
