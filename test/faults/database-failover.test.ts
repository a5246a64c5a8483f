/** The primary is killed under load and its synchronous standby takes over: what was acknowledged is there. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { reconcile } from '../../src/lifecycle/issuance/index.js';
import { openPool, type Pool } from '../../src/platform/db/pool.pg.js';
import { checkIssuance } from '../support/check-issuance.js';
import { type IssuanceWorld, startIssuanceWorld } from '../support/issuance-world.js';
import { bothServers, type ReplicatedPostgres, startReplicatedPostgres } from '../support/postgres-standby.js';

const LANES = 8;
const BEFORE = 60;
const AFTER = 60;

let pair: ReplicatedPostgres;
let world: IssuanceWorld;
beforeAll(async () => {
  pair = await startReplicatedPostgres({ synchronous: true });
  const url = bothServers(pair);
  const pool = openPool(url, { applicationName: 'test', connectionsMax: 12 });
  world = await startIssuanceWorld({ database: { url, pool, drop: () => pool.end() }, recordTriesMs: 30_000 });
}, 120_000);
afterAll(async () => {
  await world?.close();
  await pair?.close();
});

test('no acknowledged certificate is lost when the primary dies under load and its synchronous standby takes over', async () => {
  const load = startLoad(world);
  await load.until(BEFORE);
  await pair.killPrimary();
  await pair.promote();
  await load.until(load.acknowledged.length + AFTER);
  await load.end();

  await reconcile(world.reconciler, { signingLimitMs: 0 });
  const { rows } = await world.db.pool.query<{ serial: string }>(
    `SELECT encode(serial, 'hex') AS serial FROM certificate`,
  );
  const there = new Set(rows.map(({ serial }) => serial));
  expect(load.acknowledged.filter((serial) => !there.has(serial))).toEqual([]);
  expect(await checkIssuance(world)).toEqual([]);
}, 120_000);

test('a former primary that comes back is never written to, though its name is first in the URL and the new one is away', async () => {
  const segment = async (pool: Pool): Promise<string> =>
    (await pool.query<{ name: string }>('SELECT pg_walfile_name(pg_current_wal_lsn()) AS name')).rows[0]?.name ?? '';
  const timeline = async (pool: Pool): Promise<string> => (await segment(pool)).slice(0, 8);
  const ofUs = world.db.pool;
  expect(await timeline(ofUs)).toBe('00000002');

  await pair.restartPrimary();
  const late = openPool(world.db.url, { applicationName: 'late', onIdleError: () => undefined });
  expect(await timeline(late)).toBe('00000002');
  await pair.stopStandby();
  // Whatever connections there were are lost with it; each next one has only the former primary to go to.
  const answers = await Promise.allSettled(Array.from({ length: 24 }, () => timeline(late)));
  expect(answers.filter(({ status }) => status === 'fulfilled')).toEqual([]);
  await expect(timeline(late)).rejects.toThrow('No primary database');
  await late.end();
}, 60_000);

/** Units enrol, each once, on a few lanes; a refused one is left and the next one tries. */
function startLoad(on: IssuanceWorld) {
  const acknowledged: string[] = [];
  let isEnding = false;
  const lane = async (): Promise<void> => {
    while (!isEnding) {
      try {
        const certificate = await on.firstCertificate(await on.addUnit());
        acknowledged.push(certificate.serial.toString('hex'));
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  };
  const lanes = Array.from({ length: LANES }, lane);
  return {
    acknowledged,
    until: async (count: number) => {
      while (acknowledged.length < count) await new Promise((resolve) => setTimeout(resolve, 20));
    },
    end: async () => {
      isEnding = true;
      await Promise.all(lanes);
    },
  };
}
