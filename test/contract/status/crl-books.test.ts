import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { CrlBooks } from '../../../src/lifecycle/status/crl-books.js';
import { crlStore } from '../../../src/lifecycle/status/crl-store.pg.js';
import { statusChangeReader } from '../../../src/lifecycle/status/status-changes.pg.js';
import { crlEntries } from '../../../src/x509/crl.js';
import { openStatusRooms, type StatusRooms } from '../../support/status-rooms.js';
import { sequencerOf } from '../../support/status-sequencer.js';
import { type StatusWorld, startStatusWorld } from '../../support/status-world.js';

let world: StatusWorld;
let rooms: StatusRooms;
let sequence: () => Promise<void>;
let books: CrlBooks;
/** Over the whole table, and pages of one CA. */
let passes: number;
let pages: number;
beforeAll(async () => {
  world = await startStatusWorld();
  rooms = openStatusRooms(world);
  sequence = await sequencerOf(world);
  await world.beat();
});
afterAll(async () => {
  rooms.remove();
  await world.close();
});
beforeEach(async () => {
  [passes, pages] = [0, 0];
  const listedParts: typeof crlStore.listedParts = (...args) => {
    passes += 1;
    return crlStore.listedParts(...args);
  };
  const listedPage: typeof crlStore.listedPage = (tx, page) => {
    pages += 1;
    return crlStore.listedPage(tx, { ...page, limit: Math.min(page.limit, 7) });
  };
  books = new CrlBooks({
    store: { listedPage, listedParts },
    changes: statusChangeReader,
    transactor: world.transactor,
  });
  await books.catchUp();
});
afterEach(async () => {
  await world.db.pool.query('TRUNCATE revoked_certificate');
});

const why = { actor: 'person:kim', personId: null, reason: 'keyCompromise', note: 'stolen' } as const;
const soon = (): number => Math.floor(Date.now() / 1_000);

async function hold(): Promise<{ unitId: number; serial: Buffer }> {
  const unit = await world.addUnit();
  const { serial } = await world.issue({ unitId: unit.id, generation: 1 });
  await rooms.revocation.hold({ ...why, selection: { by: 'unit', unitId: unit.id } });
  return { unitId: unit.id, serial };
}

async function listed(): Promise<string[]> {
  const book = await books.of(world.deviceCa.id, soon());
  return [...crlEntries({ entriesDer: Buffer.concat(book.pieces()) })].map(({ serial }) => serial.toString('hex'));
}

async function rows(): Promise<string[]> {
  const { rows: found } = await world.db.pool.query<{ serial: string }>(
    `SELECT encode(serial, 'hex') AS serial FROM revoked_certificate WHERE issuer_id = $1 AND state <> 'released' ORDER BY revoked_certificate.serial`,
    [world.deviceCa.id],
  );
  return found.map(({ serial }) => serial);
}

describe('lists in memory', () => {
  test('are read in one pass over the table, then follow what commits, numbered or not', async () => {
    for (let count = 0; count < 15; count += 1) await hold();
    await books.catchUp();
    expect(await listed()).toEqual(await rows());
    expect([passes, pages]).toEqual([1, 0]);
    const { unitId } = await hold();
    await books.catchUp();
    expect(await listed()).toEqual(await rows());
    await rooms.revocation.release({ ...why, unitId });
    await sequence();
    await books.catchUp();
    expect(await listed()).toEqual(await rows());
    expect(await listed()).toHaveLength(15);
    expect([passes, pages]).toEqual([1, 0]);
  });

  test('one that was forgotten is read page by page, and the others stay', async () => {
    for (let count = 0; count < 15; count += 1) await hold();
    await books.catchUp();
    await listed();
    const other = await books.of(world.bootstrapCa.id, soon());
    pages = 0;
    books.forget(world.deviceCa.id);
    expect(await listed()).toEqual(await rows());
    expect([passes, pages]).toEqual([1, 3]);
    expect(await books.of(world.bootstrapCa.id, soon())).toBe(other);
  });

  test('what commits while the table is read is there after the next look', async () => {
    for (let count = 0; count < 8; count += 1) await hold();
    await books.catchUp();
    const reading = listed();
    await hold();
    await reading;
    await books.catchUp();
    expect(await listed()).toEqual(await rows());
  });

  test('another epoch, as after a restore, means that all is read anew', async () => {
    await hold();
    await sequence();
    await books.catchUp();
    await listed();
    await world.db.pool.query('UPDATE installation SET epoch = epoch + 1');
    await world.db.pool.query(`UPDATE revoked_certificate SET state = 'released'`);
    await books.catchUp();
    expect(await listed()).toEqual([]);
    expect(passes).toBe(2);
  });

  test('certificates that ended are left out, and a clock that goes back brings none of them in again', async () => {
    const unit = await world.addUnit();
    const { notAfter } = await world.issue({ unitId: unit.id });
    await rooms.revocation.hold({ ...why, selection: { by: 'unit', unitId: unit.id } });
    await books.catchUp();
    const end = notAfter.getTime() / 1_000;
    const count = async (endedBefore: number) => (await books.of(world.deviceCa.id, endedBefore)).count;
    expect(await count(end - 1)).toBe(1);
    expect(await count(end)).toBe(0);
    expect(await count(end - 1)).toBe(0);
  });

  test('a comparison finds rows changed by hand, and nothing where the ledger explains it', async () => {
    const { serial } = await hold();
    for (let count = 0; count < 15; count += 1) await hold();
    await sequence();
    await books.catchUp();
    await listed();
    const compared = async (): Promise<string[]> => {
      const differs: string[] = [];
      for (let after: Buffer | null = Buffer.alloc(0); after !== null; ) {
        const page = await books.comparePage(world.deviceCa.id, after, 7);
        differs.push(...page.differs);
        after = page.next;
      }
      return differs;
    };
    expect(await compared()).toEqual([]);
    // Committed after the last look: the page has it, the list gets it with the comparison.
    await hold();
    expect(await compared()).toEqual([]);
    await world.db.pool.query('DELETE FROM revoked_certificate WHERE serial = $1', [serial]);
    expect(await compared()).toEqual([serial.toString('hex')]);
  });
});

describe('the bytes of CRLs', () => {
  test('are kept of the newest two; of the others the row and the hash stay, and the newest is read whole', async () => {
    const publisher = rooms.publisher();
    for (let count = 0; count < 4; count += 1) {
      await hold();
      await publisher.publishDue();
    }
    const { rows: found } = await world.db.pool.query<{ number: number; whole: boolean; hashed: boolean }>(
      `SELECT number, der IS NOT NULL AS whole, tbs_sha256 IS NOT NULL AS hashed FROM crl WHERE issuer_id = $1 ORDER BY number`,
      [world.deviceCa.id],
    );
    expect(found).toEqual([false, false, true, true].map((whole, at) => ({ number: at + 1, whole, hashed: true })));
    const read = (number: number) => crlStore.der(world.transactor.read, { issuerId: world.deviceCa.id, number });
    expect(await read(1)).toBeNull();
    expect(await read(99)).toBeNull();
    const large = Buffer.alloc(2 * 1_048_576, 7);
    await world.db.pool.query('UPDATE crl SET der = $1 WHERE number = 4', [large]);
    expect((await read(4))?.equals(large)).toBe(true);
    const newest = await crlStore.newestOf(world.transactor.read, world.deviceCa.id);
    expect(newest).toMatchObject({ number: 4, bytes: large.length });
  });
});
