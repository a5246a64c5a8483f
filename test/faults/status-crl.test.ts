import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { CrlFiles, PublicationOutcome } from '../../src/lifecycle/status/index.js';
import { makeLeases } from '../../src/platform/db/lease.pg.js';
import { openPool } from '../../src/platform/db/pool.pg.js';
import { transactorOf } from '../../src/platform/db/transaction.pg.js';
import { armFailpoints } from '../../src/platform/failpoint.js';
import type { Signer } from '../../src/platform/signer.js';
import { makeCrlDirectory } from '../../src/protocol/crl/crl-directory.js';
import { readCrl } from '../../src/x509/crl.js';
import { dyingPublisher } from '../support/dying-publisher.js';
import { judgingSigner } from '../support/judging-signer.js';
import { openStatusRooms, type StatusRooms } from '../support/status-rooms.js';
import { type StatusWorld, startStatusWorld } from '../support/status-world.js';

let world: StatusWorld;
let rooms: StatusRooms;
beforeEach(async () => {
  world = await startStatusWorld();
  rooms = openStatusRooms(world);
});
afterEach(async () => {
  armFailpoints('');
  rooms.remove();
  await world.close();
});

const LABEL = 'device-ca-1';
const why = { actor: 'person:kim', personId: null, reason: 'keyCompromise', note: 'stolen' } as const;
const onDisk = () => readCrl(readFileSync(join(rooms.crlDir, `${LABEL}.crl`)));
const device = (outcomes: readonly PublicationOutcome[]) => outcomes.find(({ issuer }) => issuer === LABEL);

async function holdOne(): Promise<{ unitId: number; serial: Buffer }> {
  const unit = await world.addUnit();
  const { serial } = await world.issue({ unitId: unit.id, generation: 1 });
  await rooms.revocation.hold({ ...why, selection: { by: 'unit', unitId: unit.id } });
  return { unitId: unit.id, serial };
}

async function numbers(): Promise<number[]> {
  const { rows } = await world.db.pool.query<{ number: number }>(
    'SELECT number FROM crl WHERE issuer_id = $1 ORDER BY published_at, number',
    [world.deviceCa.id],
  );
  return rows.map(({ number }) => number);
}

describe('S2: publishers that race', () => {
  test('eight at once: one works, the others yield, numbers are distinct and rise', async () => {
    const publishers = Array.from({ length: 8 }, () => rooms.publisher());
    for (let round = 0; round < 5; round += 1) {
      await holdOne();
      await Promise.all(publishers.map((publisher) => publisher.publishDue()));
    }
    expect(await numbers()).toEqual([1, 2, 3, 4, 5]);
    expect(onDisk().number).toBe(5n);
    expect(onDisk().entryCount).toBe(5);
  });

  test('eight that all believe they hold the lease: each number passes once, and never a lower one after it', async () => {
    const lease = {
      acquire: async (name: string, holder: string) => ({ name, holder, fence: 1 }),
      renew: async () => true,
    };
    const leases = { ...lease, release: async () => undefined, check: async () => undefined };
    const publishers = Array.from({ length: 8 }, () => rooms.publisher({ leases }));
    await Promise.all(publishers.map((publisher) => publisher.publishDue()));
    // Each was given a number of its own; the trigger lets those pass that are above all recorded before.
    const seen = await numbers();
    expect(seen.length).toBeGreaterThanOrEqual(1);
    expect(new Set(seen).size).toBe(seen.length);
    await expect(
      world.db.pool.query(
        `INSERT INTO crl SELECT issuer_id, number - 1, this_update, next_update, entry_count, sha256, der, fence FROM crl
         WHERE issuer_id = $1 ORDER BY number DESC LIMIT 1`,
        [world.deviceCa.id],
      ),
    ).rejects.toThrow('does not rise');
    // Whose file lies there is chance, until the next look.
    await rooms.publisher({ holder: 'honest' }).publishDue();
    expect(onDisk().number).toBe(BigInt(Math.max(...seen)));
  });

  test('the one that yields brings what was published to the disk of its own host', async () => {
    const elsewhere = join(rooms.crlDir, 'other-host');
    mkdirSync(elsewhere);
    await holdOne();
    await rooms.publisher().publishDue();
    const idle = rooms.publisher({
      files: makeCrlDirectory(elsewhere),
      clock: { now: () => new Date(Date.now() + 10_000) },
    });
    expect(device(await idle.publishDue())).toMatchObject({ outcome: 'file-restored', number: 1 });
    expect(readFileSync(join(elsewhere, `${LABEL}.crl`))).toEqual(readFileSync(join(rooms.crlDir, `${LABEL}.crl`)));
    expect(await numbers()).toEqual([1]);
  });

  test('a publisher that was paused past its lease records nothing', async () => {
    const publisher = rooms.publisher();
    armFailpoints('crl-after-sign:delay=300');
    const paused = publisher.publishDue();
    await new Promise((done) => setTimeout(done, 150));
    await world.db.pool.query(`UPDATE lease SET holder = 'other', fence = fence + 1 WHERE name = 'crl-publication'`);
    expect(device(await paused)?.error).toMatchObject({
      code: 'STATE_CONFLICT',
      message: expect.stringContaining('lost'),
    });
    expect(await numbers()).toEqual([]);
  });
});

describe('S3: crashes between signing and publishing', () => {
  test.each(['crl-after-sign', 'crl-after-record', 'crl-before-rename'])(
    'a failure at %s leaves the old file whole, and the next run publishes a higher number',
    async (point) => {
      const publisher = rooms.publisher();
      await publisher.publishDue();
      const before = readFileSync(join(rooms.crlDir, `${LABEL}.crl`));
      await holdOne();
      armFailpoints(`${point}:error`);
      expect(device(await publisher.publishDue())?.outcome).toBe('failed');
      expect(readFileSync(join(rooms.crlDir, `${LABEL}.crl`)).equals(before)).toBe(true);
      armFailpoints('');
      const second = rooms.publisher();
      await world.db.pool.query(`UPDATE lease SET expires_at = now() - interval '1 second'`);
      await second.publishDue();
      expect(onDisk().number).toBeGreaterThan(1n);
      expect(onDisk().entryCount).toBe(1);
      expect(readdirSync(rooms.crlDir).filter((name) => name.endsWith('.new'))).toEqual([]);
    },
  );

  test.each(['crl-after-sign', 'crl-after-record', 'crl-before-rename'])(
    'SIGKILL at %s: the old file whole, then a higher number with everything, and the signer sees nothing wrong',
    async (point) => {
      const signer = judgingSigner(world);
      await holdOne();
      await rooms.publisher({ signer }).publishDue();
      await holdOne();
      const before = readFileSync(join(rooms.crlDir, `${LABEL}.crl`));
      const place = { url: world.db.url, crlDir: rooms.crlDir, signer };
      await world.db.pool.query(`UPDATE lease SET expires_at = now() - interval '1 second'`);
      expect(await dyingPublisher('complete', place, `${point}:kill`)).toBe('SIGKILL');
      expect(readFileSync(join(rooms.crlDir, `${LABEL}.crl`)).equals(before)).toBe(true);
      await holdOne();
      await world.db.pool.query(`UPDATE lease SET expires_at = now() - interval '1 second'`);
      const outcomes = await rooms.publisher({ signer }).publishDue();
      expect(device(outcomes)?.error?.message).toBeUndefined();
      expect(onDisk()).toMatchObject({ entryCount: 3 });
      expect(onDisk().number).toBeGreaterThan(1n);
      const seen = await numbers();
      expect(new Set(seen).size).toBe(seen.length);
      expect(readdirSync(rooms.crlDir).filter((name) => name.endsWith('.new'))).toEqual([]);
      expect(signer.refusals).toEqual([]);
    },
  );

  test('the mark of a revocation that commits while the CRL is being signed survives it', async () => {
    const publisher = rooms.publisher();
    await publisher.publishDue();
    await holdOne();
    armFailpoints('crl-after-sign:delay=300');
    const running = publisher.publishDue();
    await new Promise((done) => setTimeout(done, 150));
    await holdOne();
    await running;
    armFailpoints('');
    expect(onDisk().entryCount).toBe(1);
    await publisher.publishDue();
    expect(onDisk().entryCount).toBe(2);
  });

  test('a file that was cut or lost is written again from the record', async () => {
    const publisher = rooms.publisher();
    await publisher.publishDue();
    const path = join(rooms.crlDir, `${LABEL}.crl`);
    writeFileSync(path, readFileSync(path).subarray(0, 100));
    expect(device(await publisher.publishDue())).toMatchObject({ outcome: 'file-restored', number: 1 });
    rmSync(path);
    await publisher.publishDue();
    expect(onDisk().number).toBe(1n);
  });
});

describe('S4: a read that returns too little', () => {
  test('a view that hides half of the rows: nothing is published, the ledger says so, the old CRL stays', async () => {
    const publisher = rooms.publisher();
    await holdOne();
    await holdOne();
    await publisher.publishDue();
    await world.db.pool.query('ALTER TABLE revoked_certificate RENAME TO revoked_certificate_whole');
    await world.db.pool.query('CREATE VIEW revoked_certificate AS SELECT * FROM revoked_certificate_whole LIMIT 1');
    await world.db.pool.query('INSERT INTO crl_dirty VALUES ($1, now())', [world.deviceCa.id]);
    const error = device(await publisher.publishDue())?.error;
    expect(error).toMatchObject({
      code: 'STATE_CONFLICT',
      facts: expect.objectContaining({ rule: 'crl-would-shrink', missing: 1 }),
    });
    expect(onDisk()).toMatchObject({ number: 1n, entryCount: 2 });
    const { rows } = await world.db.pool.query(`SELECT subject FROM ledger_inbox WHERE kind = 'crl.withheld'`);
    expect(rows).toEqual([{ subject: `issuer:${LABEL}` }]);
  });

  test.each([
    ['released', `UPDATE revoked_certificate SET state = 'released'`],
    ['expired', `UPDATE revoked_certificate SET not_after = now() - interval '40 days'`],
    ['deleted', 'DELETE FROM revoked_certificate'],
  ])('a row %s by hand, which the ledger does not know of, publishes nothing', async (_how, sql) => {
    const publisher = rooms.publisher();
    await holdOne();
    await publisher.publishDue();
    await world.db.pool.query(sql);
    await world.db.pool.query('INSERT INTO crl_dirty VALUES ($1, now())', [world.deviceCa.id]);
    expect(device(await publisher.publishDue())?.error?.facts).toMatchObject({ rule: 'crl-would-shrink' });
    expect(onDisk().entryCount).toBe(1);
  });

  test('P6: a database restored to before the published CRL does not go back in number, nor lose an entry', async () => {
    const publisher = rooms.publisher();
    await publisher.publishDue();
    await holdOne();
    await publisher.publishDue();
    expect(onDisk()).toMatchObject({ number: 2n, entryCount: 1 });
    // The older backup: number 1, nobody held.
    await world.db.pool.query(
      'DELETE FROM crl WHERE number = 2; UPDATE issuer SET crl_number_last = 1; DELETE FROM revoked_certificate; TRUNCATE ledger_inbox',
    );
    await world.db.pool.query('INSERT INTO crl_dirty VALUES ($1, now())', [world.deviceCa.id]);
    expect(device(await rooms.publisher({ holder: 'worker-1' }).publishDue())?.error?.facts).toMatchObject({
      rule: 'crl-would-shrink',
    });
    expect(onDisk().number).toBe(2n);
  });
});

describe('S5, S1: a disk or a token that refuses', () => {
  test('the old file stays, the failure is reported, and the next run heals it', async () => {
    await rooms.publisher().publishDue();
    await holdOne();
    const full: CrlFiles = {
      stamp: async () => null,
      newest: async () => null,
      publish: async () => {
        throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
      },
    };
    await world.db.pool.query(`UPDATE lease SET expires_at = now() - interval '1 second'`);
    expect(device(await rooms.publisher({ files: full, holder: 'w' }).publishDue())?.outcome).toBe('failed');
    expect(onDisk().number).toBe(1n);
    expect(device(await rooms.publisher({ holder: 'w' }).publishDue())?.outcome).toBeDefined();
    expect(onDisk().entryCount).toBe(1);
  });

  test('a token that is away keeps one CA waiting with back-off; the old CRL stays, and the next has what came meanwhile', async () => {
    let now = new Date();
    const publisher = rooms.publisher({ clock: { now: () => now } });
    await holdOne();
    await publisher.publishDue();
    world.breakSigner(true);
    await holdOne();
    expect(device(await publisher.publishDue())?.error?.code).toBe('HSM_UNAVAILABLE');
    const asked = world.signed.length;
    await publisher.publishDue();
    expect(world.signed.length).toBe(asked);
    expect(onDisk()).toMatchObject({ number: 1n, entryCount: 1 });
    world.breakSigner(false);
    now = new Date(now.getTime() + 1_500);
    expect(device(await publisher.publishDue())?.outcome).toBe('published');
    expect(onDisk()).toMatchObject({ entryCount: 2 });
    expect(onDisk().number).toBeGreaterThan(1n);
  });

  test('a signature that does not verify is never published', async () => {
    const signer = {
      sign: async (requests: Parameters<typeof world.signer.sign>[0]) =>
        (await world.signer.sign(requests)).map((result) => {
          if (!result.ok) return result;
          const signature = Buffer.from(result.signature);
          signature.writeUInt8(signature.readUInt8(signature.length - 1) ^ 1, signature.length - 1);
          return { ok: true as const, signature };
        }),
      close: async () => undefined,
    };
    const outcome = device(await rooms.publisher({ signer }).publishDue());
    expect(outcome?.error).toMatchObject({
      code: 'HSM_UNAVAILABLE',
      message: expect.stringContaining('does not verify'),
    });
    expect(existsSync(join(rooms.crlDir, `${LABEL}.crl`))).toBe(false);
    expect(await numbers()).toEqual([]);
  });
});

describe('PostgreSQL stops', () => {
  test('between signing and recording: the old CRL stays; back again, a higher number has all that was revoked', async () => {
    const pool = openPool(world.db.url, { applicationName: 'publisher', onIdleError: () => undefined });
    const transactor = transactorOf(pool);
    const database = await stoppableDatabase(world.db.url);
    let stops = false;
    const signer: Signer = {
      sign: async (requests) => {
        const results = await world.signer.sign(requests);
        if (stops) await database.stop();
        stops = false;
        return results;
      },
      close: async () => undefined,
    };
    let now = new Date();
    const publisher = rooms.publisher({
      transactor,
      leases: makeLeases(transactor),
      signer,
      clock: { now: () => now },
    });
    await holdOne();
    await publisher.publishDue();
    await holdOne();
    stops = true;
    await expect(publisher.publishDue()).rejects.toThrow();
    await expect(publisher.publishDue()).rejects.toThrow();
    expect(onDisk()).toMatchObject({ number: 1n, entryCount: 1 });
    await database.start();
    now = new Date(now.getTime() + 31_000);
    expect(device(await publisher.publishDue())).toMatchObject({ outcome: 'published', entryCount: 2 });
    expect(onDisk().number).toBeGreaterThan(1n);
    await pool.end();
    await database.close();
  });
});

/** Ends the publisher's sessions and refuses new ones, as a server that was stopped does. */
async function stoppableDatabase(url: string) {
  const address = new URL(url);
  const name = address.pathname.slice(1);
  address.pathname = '/postgres';
  const admin = openPool(address.href, { applicationName: 'admin', connectionsMax: 1 });
  return {
    stop: async () => {
      await admin.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS false`);
      await admin.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND application_name = 'publisher'`,
        [name],
      );
    },
    start: () => admin.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS true`),
    close: () => admin.end(),
  };
}

describe('C1: the clock steps back two hours', () => {
  test('the number still rises and thisUpdate is not below the last', async () => {
    let now = new Date();
    const publisher = rooms.publisher({ clock: { now: () => now } });
    await publisher.publishDue();
    const first = onDisk();
    now = new Date(now.getTime() - 7_200_000);
    await holdOne();
    await publisher.publishDue();
    expect(onDisk().number).toBe(2n);
    expect(onDisk()).toMatchObject({ entryCount: 1 });
    expect(onDisk().thisUpdate.getTime()).toBeGreaterThanOrEqual(first.thisUpdate.getTime());
  });

  test('after it had run ahead by days: what was left out as ended is listed again with the next CRL', async () => {
    let now = new Date();
    const publisher = rooms.publisher({ clock: { now: () => now } });
    await holdOne();
    await publisher.publishDue();
    now = new Date(Date.now() + 9 * 86_400_000);
    await publisher.publishDue();
    expect(onDisk()).toMatchObject({ number: 2n, entryCount: 0 });
    now = new Date();
    await holdOne();
    await publisher.publishDue();
    expect(onDisk()).toMatchObject({ number: 3n, entryCount: 2 });
  });
});
