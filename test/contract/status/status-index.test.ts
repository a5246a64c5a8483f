/** The reader that answers from memory against the one that asks the database: over random histories they are one. */
import { randomBytes, randomInt } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import {
  decideStatus,
  makeIndexedStatusReader,
  type StatusFacts,
  StatusIndex,
  type StatusReader,
  statusKey,
} from '../../../src/lifecycle/status/index.js';
import { statusChangeReader } from '../../../src/lifecycle/status/status-changes.pg.js';
import { statusIndexSource } from '../../../src/lifecycle/status/status-index-source.pg.js';
import { makeStatusReader } from '../../../src/lifecycle/status/status-reader.pg.js';
import { openPool, type PoolClient } from '../../../src/platform/db/pool.pg.js';
import type { Transaction } from '../../../src/platform/db/transaction.js';
import { transactorOf } from '../../../src/platform/db/transaction.pg.js';
import { systemClock } from '../../../src/platform/system-clock.js';
import { type StatusWatch, startStatusWatch } from '../../../src/protocol/ocsp/status-watch.js';
import { newSerial } from '../../../src/x509/serial.js';
import { openStatusRooms, type StatusRooms } from '../../support/status-rooms.js';
import { sequencerOf } from '../../support/status-sequencer.js';
import { type StatusWorld, startStatusWorld, type WorldCertificate } from '../../support/status-world.js';

const DAY_MS = 86_400_000;

let world: StatusWorld;
let rooms: StatusRooms;
let sequence: () => Promise<void>;
let watch: StatusWatch;
let database: StatusReader;
let indexed: StatusReader;
let fromDatabase = 0;
let withdrawn: string[] = [];
let troubles: unknown[] = [];
let isAway = false;

beforeEach(async () => {
  world = await startStatusWorld();
  rooms = openStatusRooms(world);
  sequence = await sequencerOf(world);
  await world.beat();
  database = makeStatusReader(world.transactor.read);
  fromDatabase = 0;
  withdrawn = [];
  troubles = [];
  isAway = false;
});
afterEach(async () => {
  watch.close();
  rooms.remove();
  await world.close();
});

function startWatch(from: Transaction = world.transactor.read): void {
  const read: Transaction = {
    query: (sql, params) => (isAway ? Promise.reject(new Error('connection refused')) : from.query(sql, params)),
  };
  watch = startStatusWatch({
    cache: { withdraw: (key) => withdrawn.push(statusKey(key)), withdrawAll: () => withdrawn.push('*') },
    changes: statusChangeReader,
    source: statusIndexSource,
    index: new StatusIndex(),
    transactor: { read },
    clock: systemClock,
    onTrouble: (error) => troubles.push(error),
    everyMs: 5,
  });
  const counting: StatusReader = {
    read: async (certificate) => {
      fromDatabase += 1;
      return database.read(certificate);
    },
  };
  indexed = makeIndexedStatusReader(watch, counting, systemClock);
}

/** Until the index stands at a snapshot that was taken after now. */
async function caughtUp(): Promise<void> {
  const from = Date.now();
  while (watch.snapshot === undefined || watch.takenAt.getTime() <= from) {
    if (Date.now() - from > 10_000) throw new Error(`the index did not catch up: ${String(troubles.at(-1))}`);
    await new Promise((done) => setTimeout(done, 3));
  }
}

const why = { actor: 'system:test', reason: 'keyCompromise', note: 'x' } as const;
const asked = (serial: Buffer) => ({ issuerId: world.deviceCa.id, issuerKind: 'device-ca', serial });
const verdict = (facts: StatusFacts, serial: Buffer) => JSON.stringify(decideStatus(facts, serial, new Date()));

async function expectAgreement(serials: readonly Buffer[]): Promise<string[]> {
  const verdicts: string[] = [];
  for (const serial of serials) {
    const [ours, theirs] = [await indexed.read(asked(serial)), await database.read(asked(serial))];
    expect([serial.toString('hex'), verdict(ours, serial)]).toEqual([serial.toString('hex'), verdict(theirs, serial)]);
    expect(ours.heartbeatAt).toEqual(theirs.heartbeatAt);
    verdicts.push(verdict(ours, serial));
  }
  return verdicts;
}

function transactionOf(client: PoolClient): Transaction {
  return {
    query: async <Row extends object>(sql: string, params: readonly unknown[] = []) => {
      const { rows, rowCount } = await client.query<Row>(sql, [...params]);
      return { rows, rowCount: rowCount ?? 0 };
    },
  };
}

describe('the reader in memory says what the database says', () => {
  test('over random histories with transactions that commit late, and about what was never issued', async () => {
    startWatch();
    await caughtUp();
    const certificates: WorldCertificate[] = [];
    const open: { client: PoolClient; changed: Set<string> }[] = [];
    const counts: Record<string, number> = {};
    const isFree = (certificate: WorldCertificate) =>
      !open.some(({ changed }) => changed.has(certificate.serial.toString('hex')));
    const set = (tx: Transaction, certificate: WorldCertificate, state: 'held' | 'revoked' | 'released') =>
      rooms.revocation.setStatus(tx, [certificate], { ...why, state, at: new Date() });
    const events: Record<string, () => Promise<unknown>> = {
      issue: async () =>
        certificates.push(
          await world.issue({
            notBefore: new Date(Date.now() - randomInt(0, 29) * DAY_MS - 60_000),
            lifeSeconds: 30 * 86_400,
          }),
        ),
      open: async () => world.issue({ state: 'signing', notBefore: new Date(Date.now() - 3_600_000) }),
      change: async () => {
        const certificate = certificates[randomInt(certificates.length)] as WorldCertificate;
        const state = (['held', 'revoked', 'released', 'held', 'released'] as const)[randomInt(5)] ?? 'held';
        if (isFree(certificate)) await world.transactor.run((tx) => set(tx, certificate, state));
      },
      late: async () => {
        const certificate = certificates[randomInt(certificates.length)] as WorldCertificate;
        // The CRL's dirty mark is one row that the next change would wait for: one open at a time.
        if (open.length > 0) return;
        const client = await world.db.pool.connect();
        await client.query('BEGIN');
        await world.issue({}); // gets a lower inbox id than what follows
        const tx = transactionOf(client);
        await rooms.revocation.setStatus(tx, [{ ...certificate }], { ...why, state: 'revoked', at: new Date() });
        open.push({ client, changed: new Set([certificate.serial.toString('hex')]) });
      },
      commit: async () => {
        const late = open.pop();
        await late?.client.query('COMMIT');
        late?.client.release();
      },
      sequence,
      beat: () => world.beat(),
    };
    const bag = [
      'issue',
      'issue',
      'issue',
      'change',
      'change',
      'change',
      'late',
      'commit',
      'commit',
      'sequence',
      'beat',
      'open',
    ];
    for (let index = 0; index < 8; index += 1) await events['issue']?.();
    const verdicts: string[] = [];
    for (let event = 0; event < 160; event += 1) {
      let name = bag[randomInt(bag.length)] as string;
      // Whoever changes a status while another does waits for the dirty mark; here nobody may wait for the test itself.
      if (name === 'change' && open.length > 0) name = 'commit';
      counts[name] = (counts[name] ?? 0) + 1;
      await events[name]?.();
      if (event % 8 !== 7) continue;
      await caughtUp();
      const strangers = [0, 1, 3, 12, 28, 40, 400].map((days) =>
        newSerial(new Date(Date.now() - days * DAY_MS), randomBytes),
      );
      verdicts.push(...(await expectAgreement([...certificates.map(({ serial }) => serial), ...strangers])));
    }
    await events['commit']?.();
    await sequence();
    await caughtUp();
    verdicts.push(...(await expectAgreement(certificates.map(({ serial }) => serial))));
    expect(Object.values(counts).every((count) => count >= 2)).toBe(true);
    for (const kind of ['good', '"isHeld":true', '"isHeld":false', 'never-issued']) {
      expect(verdicts.filter((said) => said.includes(kind)).length).toBeGreaterThan(3);
    }
    // Not by asking it: nearly all came from memory.
    expect(fromDatabase).toBeLessThan(verdicts.length / 3);
    expect(troubles).toEqual([]);
  }, 120_000);

  test('what was there before it started is loaded page by page, while others go on', async () => {
    const held = await world.issue({ notBefore: new Date(Date.now() - 3 * DAY_MS), lifeSeconds: 30 * 86_400 });
    const good = await world.issue({ notBefore: new Date(Date.now() - 3 * DAY_MS), lifeSeconds: 30 * 86_400 });
    const expired = await world.issue({ notBefore: new Date(Date.now() - 20 * DAY_MS), lifeSeconds: 86_400 });
    const longGone = await world.issue({ notBefore: new Date(Date.now() - 70 * DAY_MS), lifeSeconds: 86_400 });
    await world.transactor.run((tx) =>
      rooms.revocation.setStatus(tx, [held, longGone], { ...why, state: 'revoked', at: new Date() }),
    );
    await sequence();
    await world.db.pool.query(
      `INSERT INTO certificate (not_after, issuer_id, serial, purpose, spki_hash, not_before, attempt_id, issued_at, der)
       SELECT date_trunc('second', now()) + interval '2 days', $1, '\\x01'::bytea || int4send((extract(epoch FROM now()) / 3600 - 50)::integer) ||
         substring(sha256(int4send(n)) FOR 11), 'operational', '\\x00', now(), gen_random_uuid(), now(), '\\x00'
       FROM generate_series(1, 50001) AS n`,
      [world.deviceCa.id],
    );
    startWatch();
    await caughtUp();
    expect(watch.index.counts).toMatchObject({ issued: 50_004, rows: 1 });
    await expectAgreement([held, good, expired, longGone].map(({ serial }) => serial));
    expect(fromDatabase).toBe(1); // the one that the index forgot
    const { rows } = await world.db.pool.query<{ serial: Buffer }>(
      'SELECT serial FROM certificate ORDER BY random() LIMIT 300',
    );
    await expectAgreement(rows.map(({ serial }) => serial));
  }, 60_000);

  test('a late restriction is withdrawn from the cache once it is committed, with and without a number', async () => {
    startWatch();
    const certificate = await world.issue({});
    await caughtUp();
    await world.transactor.run((tx) =>
      rooms.revocation.setStatus(tx, [certificate], { ...why, state: 'held', at: new Date() }),
    );
    await caughtUp();
    const key = `${certificate.issuerId}:${certificate.serial.toString('hex')}`;
    expect(withdrawn).toEqual([key]);
    await sequence();
    await caughtUp();
    expect(withdrawn).toEqual([key]);
  });
});

test('a database that may only be read is enough, as a replica is', async () => {
  const held = await world.issue({ notBefore: new Date(Date.now() - 3 * DAY_MS), lifeSeconds: 30 * 86_400 });
  const url = new URL(world.db.url);
  url.searchParams.set('options', '-c default_transaction_read_only=on');
  const pool = openPool(url.href, { applicationName: 'replica', connectionsMax: 2 });
  try {
    await expect(pool.query('DELETE FROM heartbeat')).rejects.toThrow('read-only');
    startWatch(transactorOf(pool).read);
    await world.transactor.run((tx) =>
      rooms.revocation.setStatus(tx, [held], { ...why, state: 'held', at: new Date() }),
    );
    await caughtUp();
    expect(await expectAgreement([held.serial])).toEqual([expect.stringContaining('"isHeld":true')]);
    expect(troubles).toEqual([]);
  } finally {
    watch.close();
    await pool.end();
  }
});

describe('where memory may not know', () => {
  test('what somebody told to have changed is asked of the database until a later snapshot holds it', async () => {
    startWatch();
    const certificate = await world.issue({});
    await caughtUp();
    await expectAgreement([certificate.serial]);
    expect(fromDatabase).toBe(0);
    watch.notice(`${certificate.issuerId}:${certificate.serial.toString('hex')}`);
    await indexed.read(asked(certificate.serial));
    expect(fromDatabase).toBe(1);
    await caughtUp();
    await indexed.read(asked(certificate.serial));
    expect(fromDatabase).toBe(1);
    watch.notice('*');
    await indexed.read(asked(certificate.serial));
    expect(fromDatabase).toBe(2);
  });

  test('another epoch: everything is withdrawn and loaded anew', async () => {
    startWatch();
    const certificate = await world.issue({});
    await caughtUp();
    await world.db.pool.query('UPDATE installation SET epoch = 2');
    await caughtUp();
    expect(withdrawn).toContain('*');
    await expectAgreement([certificate.serial]);
    expect(fromDatabase).toBe(0);
  });

  test('an intent that was never ended keeps the serials of its time with the database', async () => {
    const stuck = await world.issue({ state: 'signing', notBefore: new Date(Date.now() - 3 * DAY_MS) });
    startWatch();
    await caughtUp();
    expect(await expectAgreement([stuck.serial])).toEqual(['{"kind":"unsure","why":"signing"}']);
    expect(fromDatabase).toBe(1);
  });

  test('a database that is away: nothing is said from memory that grew old, and it goes on alone afterwards', async () => {
    startWatch();
    const certificate = await world.issue({});
    await caughtUp();
    isAway = true;
    const later = { now: () => new Date(Date.now() + 6_000) };
    const old = makeIndexedStatusReader(watch, { read: () => Promise.reject(new Error('asked')) }, later);
    await expect(old.read(asked(certificate.serial))).rejects.toThrow('asked');
    isAway = false;
    await caughtUp();
    await expectAgreement([certificate.serial]);
  });
});
