import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { cursors } from '../../../src/platform/ledger/cursors.pg.js';
import { entryHash, genesisHash, type NumberedEntry } from '../../../src/platform/ledger/entry-hash.js';
import { ledger } from '../../../src/platform/ledger/ledger.pg.js';
import { SEQUENCER_LEASE } from '../../../src/platform/ledger/sequencer.js';
import { makeSequencer } from '../../../src/platform/ledger/sequencer.pg.js';
import { fact, startLedger, type TestLedger } from '../../support/test-ledger.js';

let kit: TestLedger;
beforeAll(async () => {
  kit = await startLedger();
});
afterAll(() => kit.db.drop());

async function allEntries(): Promise<NumberedEntry[]> {
  const all: NumberedEntry[] = [];
  for (;;) {
    const page = await cursors.readAfter(kit.transactor.read, { epoch: 1, seq: all.length }, 1_000);
    if (page.kind !== 'entries') throw new Error(`resync: ${page.reason}`);
    if (page.entries.length === 0) return all;
    all.push(...page.entries);
  }
}

describe('numbering', () => {
  test('committed entries get gapless numbers in order and chain from the epoch’s genesis', async () => {
    await kit.append(fact(1), fact(2));
    await kit.append(fact(3));
    expect(await kit.sequence()).toEqual({ taken: 3, epoch: 1, size: 3 });
    const entries = await allEntries();
    expect(entries.map(({ seq, body }) => [seq, body])).toEqual([
      [1, '{"n":1}'],
      [2, '{"n":2}'],
      [3, '{"n":3}'],
    ]);
    let prevHash = genesisHash(1);
    for (const entry of entries) {
      expect(entry.prevHash).toEqual(prevHash);
      expect(entryHash(entry)).toEqual(entry.hash);
      prevHash = entry.hash;
    }
  });

  test('an entry whose transaction rolls back does not exist', async () => {
    const before = await kit.sequence();
    await expect(
      kit.transactor.run(async (tx) => {
        await ledger.append(tx, [fact(99)]);
        throw new Error('changed my mind');
      }),
    ).rejects.toThrow('changed my mind');
    expect(await kit.sequence()).toEqual({ ...before, taken: 0 });
  });

  test('an entry inserted early but committed late is numbered after those that overtook it, never skipped', async () => {
    const { size } = await kit.sequence();
    let commitNow: () => void = () => undefined;
    let inserted: () => void = () => undefined;
    const wait = new Promise<void>((go) => {
      commitNow = go;
    });
    const isIn = new Promise<void>((done) => {
      inserted = done;
    });
    const slow = kit.transactor.run(async (tx) => {
      await ledger.append(tx, [fact(1_000)]);
      inserted();
      await wait;
    });
    await isIn;
    await kit.append(fact(1_001));
    await kit.sequence();
    await kit.append(fact(1_002));
    await kit.sequence();
    commitNow();
    await slow;
    await kit.sequence();
    const page = await cursors.readAfter(kit.transactor.read, { epoch: 1, seq: size }, 10);
    expect(page.kind === 'entries' && page.entries.map(({ body }) => body)).toEqual([
      '{"n":1001}',
      '{"n":1002}',
      '{"n":1000}',
    ]);
  });

  test('many writers and two would-be sequencers: every entry once, numbers gapless', async () => {
    const { size } = await kit.sequence();
    const leases = kit.leases;
    const sequencer = makeSequencer(kit);
    let writing = true;
    const loop = async (holder: string) => {
      while (writing) {
        const lease = await leases.acquire(SEQUENCER_LEASE, holder, 40);
        if (!lease) continue;
        await sequencer.sequenceOnce(lease).catch((error: { code?: string }) => {
          if (error.code !== 'STATE_CONFLICT') throw error;
        });
      }
    };
    const loops = [loop('a'), loop('b')];
    await Promise.all(
      Array.from({ length: 8 }, async (_, writer) => {
        for (let n = 0; n < 40; n++) await kit.append(fact(10_000 + writer * 100 + n));
      }),
    );
    writing = false;
    await Promise.all(loops);
    await kit.db.pool.query('DELETE FROM lease');
    expect((await kit.sequence()).size).toBe(size + 320);
    const bodies = (await allEntries()).slice(size).map(({ body }) => body);
    expect(new Set(bodies).size).toBe(320);
  });

  test('a sequencer that lost its lease writes nothing', async () => {
    await kit.db.pool.query('UPDATE lease SET expires_at = clock_timestamp()');
    const old = await kit.leases.acquire(SEQUENCER_LEASE, 'paused', 60_000);
    await kit.db.pool.query('UPDATE lease SET expires_at = clock_timestamp() WHERE name = $1', [SEQUENCER_LEASE]);
    await kit.append(fact(5));
    await kit.sequence();
    await kit.append(fact(6));
    if (!old) throw new Error('no lease');
    await expect(makeSequencer(kit).sequenceOnce(old)).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    expect(await cursors.backlogAgeMs(kit.transactor.read)).toBeGreaterThan(0);
    await kit.sequence();
    expect(await cursors.backlogAgeMs(kit.transactor.read)).toBe(0);
  });

  test('it writes nothing either before its successor has written anything', async () => {
    await kit.db.pool.query('UPDATE lease SET expires_at = clock_timestamp()');
    const old = await kit.leases.acquire(SEQUENCER_LEASE, 'paused', 60_000);
    await kit.db.pool.query('UPDATE lease SET expires_at = clock_timestamp()');
    await kit.leases.acquire(SEQUENCER_LEASE, 'test', 60_000);
    await kit.append(fact(8));
    if (!old) throw new Error('no lease');
    await expect(makeSequencer(kit).sequenceOnce(old)).rejects.toMatchObject({ facts: { lease: SEQUENCER_LEASE } });
    expect((await kit.sequence()).taken).toBe(1);
  });

  test('the table refuses to change or lose an entry', async () => {
    for (const statement of [
      "UPDATE ledger SET body = '{}'",
      'DELETE FROM ledger',
      'TRUNCATE ledger',
      'DELETE FROM ledger_head',
    ]) {
      await expect(kit.db.pool.query(statement)).rejects.toMatchObject({ code: '42501' });
    }
  });
});

describe('cursors', () => {
  test('a reader that advances in the transaction of its effect sees each entry once', async () => {
    await kit.sequence();
    const seen: number[] = [];
    for (;;) {
      const more = await kit.transactor.run(async (tx) => {
        const page = await cursors.readFrom(tx, 'once', 50);
        if (page.kind !== 'entries') throw new Error(page.reason);
        seen.push(...page.entries.map(({ seq }) => seq));
        await cursors.advance(tx, 'once', page.position);
        return page.entries.length > 0;
      });
      if (!more) break;
    }
    const end = await cursors.end(kit.transactor.read);
    expect(seen).toEqual(Array.from({ length: end.seq }, (_, n) => n + 1));
  });

  test('a cursor never goes back', async () => {
    await expect(kit.transactor.run((tx) => cursors.advance(tx, 'once', { epoch: 1, seq: 1 }))).rejects.toMatchObject({
      code: 'STATE_CONFLICT',
    });
  });

  test('another epoch, a place beyond the end and a missing row all ask for a full resync', async () => {
    const end = await cursors.end(kit.transactor.read);
    const read = (epoch: number, seq: number) => cursors.readAfter(kit.transactor.read, { epoch, seq }, 10);
    expect(await read(2, 0)).toEqual({ kind: 'resync', reason: 'unknown-epoch', to: end });
    expect(await read(1, end.seq + 1)).toEqual({ kind: 'resync', reason: 'beyond-end', to: end });
    await kit.db.pool.query('ALTER TABLE ledger DISABLE TRIGGER ledger_no_change');
    await kit.db.pool.query('DELETE FROM ledger WHERE seq = 5');
    expect(await read(1, 3)).toEqual({ kind: 'resync', reason: 'gap', to: end });
    expect(await read(1, 4)).toEqual({ kind: 'resync', reason: 'gap', to: end });
    expect((await read(1, 5)).kind).toBe('entries');
  });

  test('when the last row was removed by hand nothing more is numbered', async () => {
    const end = await cursors.end(kit.transactor.read);
    await kit.db.pool.query('DELETE FROM ledger WHERE seq = $1', [end.seq]);
    await kit.append(fact(7));
    await expect(kit.sequence()).rejects.toMatchObject({ code: 'INTERNAL' });
    expect(await cursors.backlogAgeMs(kit.transactor.read)).toBeGreaterThan(0);
  });
});
