import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { feedReader, noise } from '../../support/feed-reader.js';
import { type GatewayWorld, startGatewayWorld } from '../../support/gateway-world.js';

let world: GatewayWorld;
let reader: ReturnType<typeof feedReader>;
type Gateway = Awaited<ReturnType<GatewayWorld['addGateway']>>;
let gangnam: Gateway;
let busan: Gateway;

beforeAll(async () => {
  world = await startGatewayWorld();
  reader = feedReader(world);
  gangnam = await world.addGateway('segw-gangnam-1');
  busan = await world.addGateway('segw-busan-1');
});
afterAll(async () => {
  await world.close();
});

const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

describe('waiting for the next entry', () => {
  const timed = async <T>(work: Promise<T>): Promise<{ ms: number; value: T }> => {
    const begin = performance.now();
    const value = await work;
    return { ms: performance.now() - begin, value };
  };

  test('a revocation wakes every reader within a second of its commit', async () => {
    const unit = await world.addUnit();
    const from = await reader.end();
    const waiting = [gangnam, busan].map((gateway) => reader.page(gateway, `after=${from}&wait=20`));
    await pause(700);
    await reader.revoke(unit);
    const { ms, value } = await timed(world.sequence().then(() => Promise.all(waiting)));
    expect(ms).toBeLessThan(1_000);
    for (const read of value) expect(read.entries.map((entry: { unit: string }) => entry.unit)).toEqual([unit.fqdn]);
  });

  test('so it does while the bell of the ledger is not heard', async () => {
    const unit = await world.addUnit();
    await world.restart({ hears: false });
    const from = await reader.end();
    const waiting = reader.page(gangnam, `after=${from}&wait=20`);
    await pause(700);
    await reader.revoke(unit);
    const { ms, value } = await timed(world.sequence().then(() => waiting));
    await world.restart();
    expect(ms).toBeLessThan(1_000);
    expect(value.entries).toHaveLength(1);
  });

  test('rows that are not for the feed wake nobody; the empty page at the end has moved past them', async () => {
    const from = await reader.end();
    const waiting = timed(reader.page(gangnam, `after=${from}&wait=2`));
    await pause(500);
    await reader.append(noise(9));
    const to = await reader.end();
    const { ms, value } = await waiting;
    expect(ms).toBeGreaterThan(1_800);
    expect(value).toMatchObject({ kind: 'entries', entries: [], from, to });
  });

  test('a gateway that is disabled while it waits gets no page', async () => {
    const gone = await world.addGateway('segw-daegu-1');
    const from = await reader.end();
    const waiting = world.client.call('GET', `/v1/feed?after=${from}&wait=20`, { as: gone });
    await pause(500);
    await world.db.pool.query(`UPDATE machine SET state = 'disabled' WHERE id = $1`, [gone.id]);
    await reader.revoke(await world.addUnit());
    await world.sequence();
    expect((await waiting).status).toBe(403);
  });

  test('at most four calls of one gateway wait', async () => {
    const many = await world.addGateway('segw-ulsan-1');
    const from = await reader.end();
    const calls = Array.from({ length: 6 }, () =>
      world.client.call('GET', `/v1/feed?after=${from}&wait=3`, { as: many }).then(({ status }) => status),
    );
    expect((await Promise.all(calls)).sort()).toEqual([200, 200, 200, 200, 429, 429]);
  });

  test('a port that closes answers whoever waits', async () => {
    const from = await reader.end();
    const waiting = timed(reader.page(gangnam, `after=${from}&wait=20`));
    await pause(500);
    await world.restart();
    const { ms, value } = await waiting;
    expect(ms).toBeLessThan(3_000);
    expect(value).toMatchObject({ kind: 'entries', entries: [], to: from });
  });
});

describe('acknowledging', () => {
  test('goes forward only, never beyond what exists, and enforced never passes received', async () => {
    const fresh = await world.addGateway('segw-jeju-1');
    await reader.revoke(await world.addUnit());
    const to = await reader.end();
    const seq = Number(to.split(':')[1]);
    const said: [string, 'received' | 'enforced', number][] = [
      [`1:${seq + 1}`, 'received', 400],
      ['2:1', 'received', 400],
      [`1:${seq - 2}`, 'enforced', 409],
      [`1:${seq - 2}`, 'received', 200],
      [`1:${seq - 1}`, 'enforced', 409],
      [`1:${seq - 2}`, 'enforced', 200],
      [`1:${seq - 3}`, 'received', 409],
      [`1:${seq - 3}`, 'enforced', 409],
      [`1:${seq - 2}`, 'received', 200],
      [to, 'received', 200],
    ];
    for (const [position, stage, status] of said) {
      expect([position, stage, (await reader.acknowledge(fresh, position, stage)).status]).toEqual([
        position,
        stage,
        status,
      ]);
    }
    const { rows } = await world.db.pool.query(
      'SELECT received_epoch, received_seq, enforced_epoch, enforced_seq FROM gateway_cursor WHERE gateway_id = $1',
      [fresh.id],
    );
    expect(rows).toEqual([{ received_epoch: 1, received_seq: seq, enforced_epoch: 1, enforced_seq: seq - 2 }]);
  });

  test('a refused first acknowledgement leaves no row', async () => {
    const fresh = await world.addGateway('segw-jeonju-1');
    expect((await reader.acknowledge(fresh, '1:99999999', 'received')).status).toBe(400);
    const { rows } = await world.db.pool.query('SELECT * FROM gateway_cursor WHERE gateway_id = $1', [fresh.id]);
    expect(rows).toEqual([]);
  });

  test('two at once leave the further one', async () => {
    const fresh = await world.addGateway('segw-sejong-1');
    const to = await reader.end();
    const seq = Number(to.split(':')[1]);
    await Promise.all([
      reader.acknowledge(fresh, to, 'received'),
      reader.acknowledge(fresh, `1:${seq - 1}`, 'received'),
    ]);
    const { rows } = await world.db.pool.query('SELECT received_seq FROM gateway_cursor WHERE gateway_id = $1', [
      fresh.id,
    ]);
    expect(rows).toEqual([{ received_seq: seq }]);
  });
});

test('a disabled gateway, a unit and nobody get 403 at every path of the feed', async () => {
  const disabled = await world.addGateway('segw-mokpo-1');
  await world.db.pool.query(`UPDATE machine SET state = 'disabled' WHERE id = $1`, [disabled.id]);
  const unit = await world.addUnit();
  for (const as of [disabled, unit, undefined]) {
    const options = as === undefined ? {} : { as };
    const read = await world.client.call('GET', '/v1/feed?after=1:0', options);
    const json = { position: '1:1', stage: 'received' };
    const acked = await world.client.call('POST', '/v1/feed/acks', { ...options, json });
    expect([read.status, read.body.code, acked.status, acked.body.code]).toEqual([403, 'DENIED', 403, 'DENIED']);
  }
  expect(world.internal).toEqual([]);
});
