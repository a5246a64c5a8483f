import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { makeLeases } from '../../../src/platform/db/lease.pg.js';
import { cursors } from '../../../src/platform/ledger/cursors.pg.js';
import { SEQUENCER_LEASE } from '../../../src/platform/ledger/sequencer.js';
import { makeSequencer } from '../../../src/platform/ledger/sequencer.pg.js';
import { type OperatorWorld, operatorWorld } from '../../support/operator-world.js';

let world: OperatorWorld;
const serial = '0a'.repeat(16);
let gatewayId = 0;

beforeAll(async () => {
  world = await operatorWorld();
  const { rows } = await world.db.pool.query<{ id: number }>(
    `INSERT INTO machine (kind, name, state, spki_der, spki_hash, requested_by, created_at, approved_at)
     VALUES ('gateway', 'segw-gangnam-1', 'approved', '\\x00', '\\x01', 'test', now() - interval '1 hour', now() - interval '1 hour'),
            ('gateway', 'segw-asked', 'requested', '\\x00', '\\x02', 'test', now(), NULL),
            ('station', 'station-1', 'approved', '\\x00', '\\x03', 'test', now(), now()) RETURNING id`,
  );
  gatewayId = rows[0]?.id ?? 0;
  await world.db.pool.query(
    `INSERT INTO issuer (label, kind, state, key_label, certificate_der, subject_der, key_identifier, spki_hash, not_after)
     VALUES ('device-ca-1', 'device-ca', 'active', 'k', '\\x00', '\\x00', '\\xabcd', '\\x00', now() + interval '1 year')`,
  );
});
afterAll(async () => {
  await world.close();
});

test('before anything is revoked the feed says so', async () => {
  const { status, json } = await world.call('auditor', 'GET', '/feed');
  expect([status, json]).toEqual([200, { summary: 'nothing has been revoked yet', entry: null, gateways: [] }]);
});

test('operator, approver and auditor see who has a revocation; a maker’s admin does not', async () => {
  const { db, ledger } = world.deps;
  await db.run((tx) =>
    ledger.append(tx, [
      {
        kind: 'certificate.revoked',
        subject: `certificate:${serial}`,
        at: new Date(),
        body: { issuerId: 1, serial, unitId: null, reason: 'keyCompromise' },
      },
    ]),
  );
  const leases = makeLeases(db);
  const lease = await leases.acquire(SEQUENCER_LEASE, 'test', 60_000);
  if (!lease) throw new Error('no lease');
  await makeSequencer({ transactor: db, leases }).sequenceOnce(lease);
  for (const role of ['operator', 'approver', 'auditor'] as const) {
    const { status, json } = await world.call(role, 'GET', `/feed?serial=${serial}`);
    expect([role, status, json['summary']]).toEqual([role, 200, '0 of 1 gateway enforced']);
  }
  expect((await world.call('maker-admin', 'GET', '/feed')).json['code']).toBe('DENIED');
  expect((await world.call('operator', 'GET', `/feed?serial=${'ee'.repeat(16)}`)).json['code']).toBe('NOT_FOUND');
  expect((await world.call('operator', 'GET', '/feed?serial=zz')).json['code']).toBe('BAD_REQUEST');
});

test('the list of gateways shows how far each approved one is, and the overview how many are behind', async () => {
  const list = async () => (await world.call('operator', 'GET', '/machines?kind=gateway')).json as unknown;
  const overview = async () => (await world.call('operator', 'GET', '/overview')).json['gatewaysBehind'];
  expect(await list()).toEqual([
    expect.not.objectContaining({ behind: expect.anything() }),
    expect.objectContaining({ name: 'segw-gangnam-1', lastAckAt: null, behind: 'never-acknowledged' }),
  ]);
  expect(await overview()).toBe(1);
  const position = await cursors.end(world.deps.db.read);
  const feed = world.deps.feed as unknown as { acknowledge(ack: unknown): Promise<unknown> };
  for (const stage of ['received', 'enforced']) await feed.acknowledge({ gatewayId, stage, position });
  expect(await list()).toContainEqual(
    expect.objectContaining({
      name: 'segw-gangnam-1',
      received: '1:1',
      enforced: '1:1',
      lastAckAt: expect.any(String),
      enforcedLagSeconds: 0,
      behind: null,
    }),
  );
  expect(await overview()).toBe(0);
});
