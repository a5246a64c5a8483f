import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { makeGatewayWatch } from '../../../src/jobs/watch-gateways.js';
import { feedStore } from '../../../src/lifecycle/feed/feed-store.pg.js';
import { type AckStage, type Feed, makeFeed } from '../../../src/lifecycle/feed/index.js';
import { cursors } from '../../../src/platform/ledger/cursors.pg.js';
import { ledger } from '../../../src/platform/ledger/ledger.pg.js';
import { startLedger, type TestLedger } from '../../support/test-ledger.js';

let kit: TestLedger;
let feed: Feed;
/** The clock of everybody here; the database's is not asked. */
let now = new Date('2026-03-01T00:00:00Z');
const seconds = (n: number): void => {
  now = new Date(now.getTime() + n * 1_000);
};

beforeAll(async () => {
  kit = await startLedger();
  feed = makeFeed({ transactor: kit.transactor, cursors, store: feedStore, clock: { now: () => now } });
  await kit.db.pool.query(
    `INSERT INTO issuer (label, kind, state, key_label, certificate_der, subject_der, key_identifier, spki_hash, not_after)
     VALUES ('device-ca-1', 'device-ca', 'active', 'k', '\\x00', '\\x00', '\\xabcd', '\\x00', now() + interval '1 year')`,
  );
});
afterAll(() => kit.db.drop());

async function approve(name: string): Promise<number> {
  const { rows } = await kit.db.pool.query<{ id: number }>(
    `INSERT INTO machine (kind, name, state, spki_der, spki_hash, requested_by, created_at, approved_at)
     VALUES ('gateway', $1, 'approved', '\\x00', sha256($1::text::bytea), 'test', $2, $2) RETURNING id`,
    [name, now],
  );
  return rows[0]?.id ?? 0;
}

let serials = 0;
async function revoke(kind = 'certificate.revoked'): Promise<string> {
  serials += 1;
  const serial = serials.toString(16).padStart(32, '0');
  const body = { issuerId: 1, serial, unitId: null, reason: 'keyCompromise' };
  await kit.transactor.run((tx) => ledger.append(tx, [{ kind, subject: `certificate:${serial}`, at: now, body }]));
  await kit.sequence();
  return serial;
}

const acknowledge = async (gatewayId: number, stage: AckStage) =>
  feed.acknowledge({ gatewayId, stage, position: await cursors.end(kit.transactor.read) });
const both = async (gatewayId: number): Promise<void> => {
  await acknowledge(gatewayId, 'received');
  await acknowledge(gatewayId, 'enforced');
};
const standing = async (name: string) => (await feed.standings()).find(({ gateway }) => gateway === name);

describe('how far a gateway is', () => {
  test('one that never spoke is behind when it was approved more than a minute ago', async () => {
    await approve('silent');
    expect(await standing('silent')).toEqual({
      gateway: 'silent',
      received: null,
      enforced: null,
      lastAckAt: null,
      receivedLagSeconds: null,
      enforcedLagSeconds: null,
      behind: null,
    });
    seconds(61);
    expect((await standing('silent'))?.behind).toBe('never-acknowledged');
  });

  test('a minute after a revocation it is behind in the stage that it has not acknowledged, and not after', async () => {
    const id = await approve('slow');
    await both(id);
    await revoke();
    seconds(59);
    expect(await standing('slow')).toMatchObject({ receivedLagSeconds: 59, enforcedLagSeconds: 59, behind: null });
    seconds(2);
    expect((await standing('slow'))?.behind).toBe('received');
    await acknowledge(id, 'received');
    // Nothing counts as enforced by being received.
    expect(await standing('slow')).toMatchObject({ receivedLagSeconds: 0, enforcedLagSeconds: 61, behind: 'enforced' });
    await acknowledge(id, 'enforced');
    expect(await standing('slow')).toMatchObject({ enforcedLagSeconds: 0, behind: null, lastAckAt: now });
  });

  test('rows that are not for the feed make nobody late', async () => {
    const id = await approve('quiet');
    await both(id);
    await revoke('certificate.issued');
    seconds(3_600);
    expect(await standing('quiet')).toMatchObject({ receivedLagSeconds: 0, behind: null });
  });

  test('a new gateway is not late for what was decided before it came', async () => {
    await revoke();
    seconds(3_600);
    const id = await approve('new');
    await acknowledge(id, 'received');
    seconds(5);
    expect(await standing('new')).toMatchObject({ enforced: null, enforcedLagSeconds: 5, behind: null });
  });

  test('in a new epoch everybody begins again, and an acknowledgement of the old one is refused', async () => {
    const id = await approve('restored');
    await both(id);
    const old = await cursors.end(kit.transactor.read);
    await kit.db.pool.query(
      `INSERT INTO installation (id, installation_id, operator, realm, mode, epoch, created_at)
       VALUES (1, 'i', 'o', 'r', 'demo', 2, now())
       ON CONFLICT (id) DO UPDATE SET epoch = 2`,
    );
    await revoke();
    seconds(61);
    expect((await standing('restored'))?.behind).toBe('received');
    await expect(feed.acknowledge({ gatewayId: id, stage: 'received', position: old })).rejects.toMatchObject({
      code: 'BAD_REQUEST',
    });
    await both(id);
    expect((await standing('restored'))?.behind).toBeNull();
  });
});

describe('who has one revocation', () => {
  test('counts approved gateways by their word, with the seconds of the slowest', async () => {
    await kit.db.pool.query(`UPDATE machine SET state = 'disabled'`);
    const [first, second] = [await approve('first'), await approve('second')];
    await approve('third');
    const serial = await revoke();
    seconds(2);
    await both(first);
    seconds(36);
    await both(second);
    expect(await feed.status()).toMatchObject({
      summary: '2 of 3 gateways enforced, slowest 38 s',
      entry: { serial, issuer: 'abcd', event: 'revoked', unit: null, reason: 'keyCompromise' },
      gateways: [
        { gateway: 'first', received: true, enforced: true, receivedSeconds: 2, enforcedSeconds: 2 },
        { gateway: 'second', received: true, enforced: true, receivedSeconds: 38, enforcedSeconds: 38 },
        { gateway: 'third', received: false, enforced: false, receivedSeconds: null, enforcedSeconds: null },
      ],
    });
    // And when, by our clock.
    const [one, other, none] = (await feed.status()).gateways.map(({ enforcedAt }) => enforcedAt?.getTime() ?? null);
    expect([Number(other) - Number(one), none]).toEqual([36_000, null]);
    // What comes later changes nothing of it.
    seconds(100);
    await revoke();
    await both(first);
    expect((await feed.status(serial)).summary).toBe('2 of 3 gateways enforced, slowest 38 s');
    expect((await feed.status()).summary).toBe('1 of 3 gateways enforced, slowest 0 s');
  });

  test('one without any word of it counts nobody, and an unknown serial number is NOT_FOUND', async () => {
    await revoke();
    expect((await feed.status()).summary).toBe('0 of 3 gateways enforced');
    await expect(feed.status('ff'.repeat(16))).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

test('a laggard alarms once, again when it is late in another way, and is told of when it is back', async () => {
  await kit.db.pool.query(`UPDATE machine SET state = 'disabled'`);
  const id = await approve('watched');
  const told: unknown[] = [];
  const look = makeGatewayWatch({
    feed,
    alarm: (_what, { gateway, behind }) => told.push([gateway, behind]),
    onCaughtUp: (gateway) => told.push([gateway, 'caught up']),
  });
  await look();
  seconds(61);
  await look();
  await look();
  await both(id);
  await look();
  await revoke();
  seconds(61);
  await look();
  await acknowledge(id, 'received');
  await look();
  await acknowledge(id, 'enforced');
  await look();
  await look();
  expect(told).toEqual([
    ['watched', 'never-acknowledged'],
    ['watched', 'caught up'],
    ['watched', 'received'],
    ['watched', 'enforced'],
    ['watched', 'caught up'],
  ]);
});
