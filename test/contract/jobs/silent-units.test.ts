import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { housekeeping } from '../../../src/jobs/housekeeping.pg.js';
import { DORMANCY_LEASE, OUTAGE_HOLDER, restSilentUnits } from '../../../src/jobs/rest-silent-units.js';
import { silentUnits } from '../../../src/jobs/silent-units.pg.js';
import { makeRegistry } from '../../../src/lifecycle/registry/index.js';
import { modelStore } from '../../../src/lifecycle/registry/model-store.pg.js';
import { placeStore } from '../../../src/lifecycle/registry/place-store.pg.js';
import { unitStore } from '../../../src/lifecycle/registry/unit-store.pg.js';
import type { Clock } from '../../../src/platform/clock.js';
import { beatHeart } from '../../../src/platform/db/heartbeat.pg.js';
import type { Lease, Leases } from '../../../src/platform/db/lease.js';
import { makeLeases } from '../../../src/platform/db/lease.pg.js';
import type { Transactor } from '../../../src/platform/db/transaction.js';
import { transactorOf } from '../../../src/platform/db/transaction.pg.js';
import { ledger } from '../../../src/platform/ledger/ledger.pg.js';
import { systemClock } from '../../../src/platform/system-clock.js';
import { freshDatabase, type TestDatabase } from '../../support/database.js';
import { seedDueUnits } from '../../support/renewal-rows.js';

let db: TestDatabase;
let transactor: Transactor;
let leases: Leases;
beforeAll(async () => {
  db = await freshDatabase();
  transactor = transactorOf(db.pool);
  leases = makeLeases(transactor);
});
afterAll(() => db.drop());

const registry = makeRegistry({ units: unitStore, places: placeStore, models: modelStore, ledger });
const rest = async (clock: Clock = systemClock) => {
  const lease = (await leases.acquire(DORMANCY_LEASE, 'test', 60_000)) as Lease;
  return restSilentUnits({ transactor, leases, registry, units: silentUnits, clock }, lease);
};
const states = async () =>
  (await db.pool.query(`SELECT state, count(*)::int AS n FROM unit GROUP BY state ORDER BY state`)).rows;

describe('dormancy', () => {
  beforeEach(async () => {
    await db.pool.query('DELETE FROM lease');
    await db.pool.query(`UPDATE unit SET state = 'ACTIVE', last_contact_at = now()`);
  });

  test('30 days silent rests a unit, 90 days suspends it, with history and ledger; a repeat changes nothing', async () => {
    await seedDueUnits(db.pool, 500);
    await db.pool.query(`UPDATE unit SET last_contact_at = now() - interval '31 days' WHERE id <= 5`);
    await db.pool.query(
      `UPDATE unit SET last_contact_at = now() - interval '91 days', state = 'DORMANT' WHERE id IN (6, 7)`,
    );
    expect(await rest()).toEqual({ dormant: 5, suspended: 2 });
    expect(await states()).toEqual([
      { state: 'ACTIVE', n: 493 },
      { state: 'DORMANT', n: 5 },
      { state: 'SUSPENDED', n: 2 },
    ]);
    expect(await rest()).toEqual({ dormant: 0, suspended: 0 });
    const { rows } = await db.pool.query(
      `SELECT count(*)::int AS n FROM ledger_inbox WHERE kind = 'unit.state-changed'`,
    );
    expect(rows[0].n).toBe(7);
  });

  test('a clock that jumped 40 days rests nobody', async () => {
    const ahead: Clock = { now: () => new Date(Date.now() + 40 * 86_400_000) };
    await expect(rest(ahead)).rejects.toMatchObject({ code: 'INTERNAL', message: expect.stringContaining('clocks') });
    expect(await states()).toEqual([{ state: 'ACTIVE', n: 500 }]);
  });

  test('implausibly many silent units are our fault: nobody is rested', async () => {
    await db.pool.query(`UPDATE unit SET last_contact_at = now() - interval '31 days' WHERE id <= 200`);
    await expect(rest()).rejects.toMatchObject({ message: expect.stringContaining('no coincidence') });
    expect(await states()).toEqual([{ state: 'ACTIVE', n: 500 }]);
  });

  test('a pulse that was missing is measured, and the outage holds dormancy back for as long', async () => {
    await beatHeart(transactor.read);
    await db.pool.query(`UPDATE heartbeat SET at = at - interval '2 hours'`);
    const { missedMs } = await beatHeart(transactor.read);
    expect(missedMs).toBeGreaterThan(7_199_000);
    await leases.acquire(DORMANCY_LEASE, OUTAGE_HOLDER, missedMs);
    expect(await leases.acquire(DORMANCY_LEASE, 'rotation-worker:1', 1_000)).toBeNull();
    expect((await beatHeart(transactor.read)).missedMs).toBeLessThan(60_000);
  });
});

test('housekeeping removes what is over and nothing else', async () => {
  await db.pool.query(
    `INSERT INTO nonce_spent (nonce_hash, expires_at) SELECT sha256(int4send(n)), now() - n * interval '30 minutes' + interval '1 minute' FROM generate_series(0, 9) n`,
  );
  await db.pool.query(
    `INSERT INTO idempotency (credential, operation, key, request_hash, created_at)
     SELECT '\\x01', 'renew', n::text, '\\x02', now() - n * interval '10 days' + interval '1 hour' FROM generate_series(0, 5) n`,
  );
  expect(await housekeeping.purge(transactor.read)).toEqual({ nonce_spent: 7, idempotency: 2 });
  expect(await housekeeping.purge(transactor.read)).toEqual({});
  await housekeeping.ensurePartitions(transactor.read);
});
