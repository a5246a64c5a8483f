import { nodeFlags } from '../../src/apps/node-flags.js';
import type { LoadOrder, LoadResult } from '../load/http-load.js';
import { startEnrolBench } from '../measure/enrol-rounds.js';
import { GENERATOR_CORE, type PinnedProcess, SERVER_CORE, startPinned } from '../measure/pinned-process.js';
import { interleaved, median } from '../measure/rounds.js';
import type { BenchContext, Measurement, Round, Scenario } from '../scenario.js';
import type { BulkRound } from '../servers/bulk-issuer.js';
import { startCfssl } from '../servers/cfssl.js';

/**
 * Certificates for the same requests over kept connections, beside cfssl with a key in a file and no database: ours with
 * durable rows, a token and the ledger, over mTLS; either has one core, and the generator the other. The peer is issueMany
 * on that one core, for what a bulk upload costs.
 */
export const scenario: Scenario = { name: 'cfssl', unit: 'certificates/s', limit: 'cfssl', run };

const FIRST_PER_SECOND = 1_500;
const STOCK_MARGIN = 1.5;

async function run({ rounds, seconds, say }: BenchContext): Promise<Measurement> {
  const bench = await startEnrolBench(say);
  const ended: { end(): Promise<void> }[] = [bench];
  try {
    const peer = await startCfssl(bench.dir, SERVER_CORE);
    ended.push(peer);
    const load = startPinned(new URL('../load/http-load.ts', import.meta.url), GENERATOR_CORE);
    const bulk = startPinned(
      new URL('../servers/bulk-issuer.ts', import.meta.url),
      SERVER_CORE,
      [],
      nodeFlags('enrol-server'),
    );
    ended.push(load, bulk);
    await bulk.next();
    // cfssl remembers nothing: it may be asked for the same certificate again.
    const { cfssl: requestsFile } = await bench.stock(1_024);
    const ofPeer = async (): Promise<Round> => {
      const before = peer.cpuSeconds();
      const order: LoadOrder = { port: peer.port, connections: 32, seconds, warmUp: false, requestsFile };
      load.send(order);
      const result = await load.next<LoadResult>();
      if (result.failures > 0) throw new Error(`cfssl refused ${result.failures}: ${result.firstFailure}`);
      return {
        perSecond: result.answers / result.seconds,
        cpuSecondsPerOperation: (peer.cpuSeconds() - before) / result.answers,
        generatorBusy: result.cpuSeconds / result.seconds,
      };
    };
    const ofBulk = bulkRounds(bulk, seconds);
    const ofOwn = () => bench.round({ seconds });
    for (const warmUp of [ofOwn, ofPeer, ofBulk]) await warmUp();
    const measured = await interleaved(rounds, { product: ofOwn, limit: ofPeer, bulk: ofBulk }, say);
    const speed = (some: readonly Round[]): number => median(some.map(({ perSecond }) => perSecond));
    const cost = (some: readonly Round[]): number => median(some.map((one) => one.cpuSecondsPerOperation));
    say(
      `  issueMany beside cfssl: ${(speed(measured.bulk) / speed(measured.limit)).toFixed(2)} times its rate, ` +
        `${(cost(measured.bulk) / cost(measured.limit)).toFixed(2)} times its CPU a certificate`,
    );
    bulk.send('check');
    const checks = [...(await bench.check()), ...(await bulk.next<Measurement['checks']>())];
    return {
      product: measured.product,
      limit: measured.limit,
      peer: { name: 'issueMany on one core', rounds: measured.bulk },
      checks,
    };
  } finally {
    await Promise.all(ended.map((one) => one.end()));
  }
}

function bulkRounds(bulk: PinnedProcess, seconds: number): () => Promise<Round> {
  let stock = 0;
  let perSecond = FIRST_PER_SECOND;
  return async () => {
    const wanted = Math.ceil(perSecond * seconds * STOCK_MARGIN);
    if (wanted > stock) {
      bulk.send({ prepare: wanted - stock });
      await bulk.next();
    }
    bulk.send({ seconds });
    const round = await bulk.next<BulkRound>();
    stock = round.left;
    perSecond = Math.max(perSecond, round.perSecond);
    return round;
  };
}
