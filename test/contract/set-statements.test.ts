import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { pgRenewalStore } from '../../src/lifecycle/renewal/renewal-store.pg.js';
import { byteaArray } from '../../src/platform/db/binary-array.js';
import { oneOf } from '../../src/platform/db/set-statement.js';
import type { Transaction, Transactor } from '../../src/platform/db/transaction.js';
import { transactorOf } from '../../src/platform/db/transaction.pg.js';
import { OPENINGS_A_MINUTE } from '../../src/protocol/cmp/transaction-store.js';
import { pgTransactionStore } from '../../src/protocol/cmp/transaction-store.pg.js';
import { freshDatabase, type TestDatabase } from '../support/database.js';

let database: TestDatabase;
let transactor: Transactor;
beforeAll(async () => {
  database = await freshDatabase();
  transactor = transactorOf(database.pool);
  await database.pool.query('CREATE TABLE thing (id int PRIMARY KEY, size int NOT NULL CHECK (size < 100))');
});
afterAll(async () => {
  await database.drop();
});

let statements = 0;
interface Thing {
  readonly id: number;
  readonly size: number;
}
const add = oneOf(async (tx: Transaction, things: readonly Thing[]) => {
  statements += 1;
  await tx.query('INSERT INTO thing (id, size) SELECT * FROM unnest($1::int[], $2::int[])', [
    things.map(({ id }) => id),
    things.map(({ size }) => size),
  ]);
  return things.map(({ id }) => id);
});
const grow = oneOf(async (tx: Transaction, ids: readonly number[]) => {
  const { rows } = await tx.query<Thing>(
    'UPDATE thing t SET size = t.size + 1 FROM unnest($1::int[]) AS g(id) WHERE t.id = g.id RETURNING t.id, t.size',
    [ids],
  );
  return ids.map((wanted) => rows.find(({ id }) => id === wanted)?.size ?? null);
});

async function sizes(ids: readonly number[]): Promise<(number | null)[]> {
  const { rows } = await database.pool.query<Thing>('SELECT id, size FROM thing WHERE id = ANY($1)', [ids]);
  return ids.map((wanted) => rows.find(({ id }) => id === wanted)?.size ?? null);
}
const statuses = (settled: readonly PromiseSettledResult<unknown>[]) => settled.map(({ status }) => status);

describe('one statement over the rows of several callers', () => {
  test('serves all that ask at the same time', async () => {
    statements = 0;
    const ids = [1, 2, 3];
    expect(await Promise.all(ids.map((id) => add(transactor.read, { id, size: id })))).toEqual(ids);
    expect(statements).toBe(1);
    expect(await sizes(ids)).toEqual([1, 2, 3]);
  });

  test('fails for the row alone whose contents the database refuses', async () => {
    const things = [10, 11, 12].map((id) => ({ id, size: id === 11 ? 100 : 1 }));
    const settled = await Promise.allSettled(things.map((thing) => add(transactor.read, thing)));
    expect(statuses(settled)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(await sizes([10, 11, 12])).toEqual([1, null, 1]);
  });

  test('runs at once in a transaction of its own', async () => {
    statements = 0;
    await transactor.run(async (tx) => {
      await add(tx, { id: 20, size: 1 });
      await add(tx, { id: 21, size: 1 });
    });
    expect(statements).toBe(2);
  });
});

describe('one transaction for several callers', () => {
  const commits = async (): Promise<Set<string>> => {
    const { rows } = await database.pool.query<{ xmin: string }>(
      'SELECT DISTINCT xmin::text FROM thing WHERE id >= 30',
    );
    return new Set(rows.map(({ xmin }) => xmin));
  };

  test('commits what all of them wrote', async () => {
    const ids = [30, 31, 32];
    await Promise.all(ids.map((id) => transactor.runTogether((tx) => add(tx, { id, size: 1 }))));
    expect(await sizes(ids)).toEqual([1, 1, 1]);
    expect((await commits()).size).toBe(1);
  });

  test('keeps nothing of the one that was refused, and all of its neighbours', async () => {
    const ids = [40, 41, 42];
    const settled = await Promise.allSettled(
      ids.map((id) =>
        transactor.runTogether(async (tx) => {
          await add(tx, { id, size: 1 });
          if (id === 41) throw new Error('refused');
          return grow(tx, id);
        }),
      ),
    );
    expect(statuses(settled)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(await sizes(ids)).toEqual([2, null, 2]);
  });

  test('keeps all neighbours of a row that the database refuses', async () => {
    const things = [50, 51, 52].map((id) => ({ id, size: id === 51 ? 100 : 1 }));
    const settled = await Promise.allSettled(things.map((thing) => transactor.runTogether((tx) => add(tx, thing))));
    expect(statuses(settled)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(await sizes([50, 51, 52])).toEqual([1, null, 1]);
  });

  test('that waits for a lock is passed by who comes later, and ends well', async () => {
    await Promise.all([60, 61, 62].map((id) => add(transactor.read, { id, size: 1 })));
    const holder = await database.pool.connect();
    await holder.query('BEGIN');
    await holder.query('SELECT FROM thing WHERE id = 60 FOR UPDATE');
    const held = [60, 61].map((id) => transactor.runTogether((tx) => grow(tx, id)));
    await new Promise(setImmediate);
    expect(await transactor.runTogether((tx) => grow(tx, 62))).toBe(2);
    expect(await sizes([60, 61, 62])).toEqual([1, 1, 2]);
    await holder.query('COMMIT');
    holder.release();
    expect(await Promise.all(held)).toEqual([2, 2]);
  });

  test('whose statement is given up because of one locked row goes on for the others', async () => {
    await Promise.all([70, 71].map((id) => add(transactor.read, { id, size: 1 })));
    const holder = await database.pool.connect();
    await holder.query('BEGIN');
    await holder.query('SELECT FROM thing WHERE id = 70 FOR UPDATE');
    const impatient = (id: number) =>
      transactor.runTogether(async (tx) => {
        await tx.query("SET LOCAL lock_timeout = '50ms'");
        return grow(tx, id);
      });
    const settled = await Promise.allSettled([70, 71].map(impatient));
    await holder.query('ROLLBACK');
    holder.release();
    expect(statuses(settled)).toEqual(['rejected', 'fulfilled']);
    expect(await sizes([70, 71])).toEqual([1, 2]);
  });
});

describe('the same row twice in one set', () => {
  const at = new Date('2026-11-25T10:00:30Z');
  const opening = (transactionId: Buffer, protectionKey: Buffer) => ({
    transactionId,
    protectionKey,
    bodyKind: 'kur',
    hash: randomBytes(32),
    certificate: null,
    at,
  });

  test('one CMP message sent twice opens one exchange', async () => {
    const twice = opening(randomBytes(16), randomBytes(32));
    const other = opening(randomBytes(16), randomBytes(32));
    const outcomes = await Promise.all(
      [twice, other, twice].map((one) => pgTransactionStore.open(transactor.read, one)),
    );
    expect(outcomes).toEqual(['opened', 'opened', 'known']);
  });

  test('openings of one key are counted one by one, and other keys are not', async () => {
    const key = randomBytes(32);
    const openings = Array.from({ length: OPENINGS_A_MINUTE + 3 }, () => opening(randomBytes(16), key));
    const stranger = opening(randomBytes(16), randomBytes(32));
    const outcomes = await Promise.all(
      [...openings, stranger].map((one) => pgTransactionStore.open(transactor.read, one)),
    );
    expect(outcomes.filter((outcome) => outcome === 'too many')).toHaveLength(3);
    expect(outcomes.at(-1)).toBe('opened');
    const { rows } = await database.pool.query('SELECT FROM cmp_transaction WHERE protection_key = $1', [key]);
    expect(rows).toHaveLength(OPENINGS_A_MINUTE);
  });

  test('an exchange is answered once, and closed once', async () => {
    const one = opening(randomBytes(16), randomBytes(32));
    await pgTransactionStore.open(transactor.read, one);
    const ourNonce = randomBytes(16);
    const answer = {
      ...one,
      claimedAt: at,
      state: 'unconfirmed',
      response: randomBytes(9),
      request: null,
      ourNonce,
      certificate: { issuerId: 1, serial: randomBytes(16), notAfter: at },
    } as const;
    const again = { ...answer, response: randomBytes(8) };
    expect(
      await Promise.all([answer, again].map((said) => pgTransactionStore.answer(transactor.read, said))),
    ).toContain(true);
    const kept = (await pgTransactionStore.find(transactor.read, one))?.response;
    expect([answer.response, again.response]).toContainEqual(kept);
    const ending = { ...one, recipNonce: ourNonce, response: randomBytes(7), ourNonce: randomBytes(16) };
    await Promise.all([ending, ending].map((end) => pgTransactionStore.close(transactor.read, end)));
    expect(await pgTransactionStore.find(transactor.read, one)).toMatchObject({
      state: 'closed',
      response: ending.response,
    });
  });

  test('a nonce is fresh for one of its requests, and a key is claimed by one', async () => {
    const request = {
      credential: randomBytes(32),
      operation: 'renew',
      idempotencyKey: randomUUID(),
      requestHash: randomBytes(32),
      nonce: { hash: randomBytes(32), expiresAt: at },
      at,
    } as const;
    const otherRequest = { ...request, requestHash: randomBytes(32) };
    const admissions = await Promise.all(
      [request, request, otherRequest].map((one) => pgRenewalStore.admit(transactor.read, one)),
    );
    expect(admissions.map(({ nonceFresh }) => nonceFresh)).toEqual([true, false, false]);
    expect(admissions.map(({ key }) => key)).toEqual(['claimed', 'same', 'other']);
    expect(admissions.map(({ requests }) => requests)).toEqual([3, 3, 3]);
  });

  test('a list of byte strings may hold nothing, empty ones and gaps', async () => {
    const values = [Buffer.from('a'), null, Buffer.alloc(0)];
    const { rows } = await database.pool.query('SELECT $1::bytea[] AS values', [byteaArray(values)]);
    expect(rows[0].values).toEqual(values);
  });
});
