import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ledgerConsumers } from '../../../src/apps/worker-consumers.js';
import { readEntries } from '../../../src/platform/ledger/cursors.pg.js';
import { createLogger } from '../../../src/platform/log.js';
import type { WorldUnit } from '../../support/device-world.js';
import { type GatewayWorld, startGatewayWorld } from '../../support/gateway-world.js';

type Gateway = Awaited<ReturnType<GatewayWorld['addGateway']>>;

const HOME = '192.0.2.7';
const AWAY = '198.51.100.7';

let world: GatewayWorld;
let gangnam: Gateway;
let busan: Gateway;

beforeAll(async () => {
  world = await startGatewayWorld();
  gangnam = await world.addGateway('segw-gangnam-1');
  busan = await world.addGateway('segw-busan-1');
});
afterAll(async () => {
  expect(world.internal).toEqual([]);
  await world.close();
});

const spis = (): string => randomBytes(16).toString('hex');
const event = (seq: number, unit: { fqdn: string }, changes: Record<string, unknown> = {}) => ({
  seq,
  kind: 'up',
  session: spis(),
  at: new Date().toISOString(),
  identity: unit.fqdn,
  address: HOME,
  ...changes,
});
const report = async (gateway: Gateway, events: readonly object[], stream = randomUUID()) =>
  world.client.call('POST', '/v1/session-events', { as: gateway, json: { stream, events } });
const sessionRow = async (session: string) => {
  const { rows } = await world.db.pool.query(
    `SELECT host(address) AS address, up_at, seen_at, down_at FROM unit_session WHERE session = decode($1, 'hex')`,
    [session],
  );
  return rows[0];
};
const questions = async (gateway: Gateway): Promise<{ id: string; session: string; nonce: string }[]> => {
  // A question is asked after a grace of some seconds, which the test does not want to wait for.
  await world.db.pool.query(`UPDATE session_probe SET ask_at = now() - interval '1 second' WHERE state = 'open'`);
  return (await world.client.call('GET', '/v1/probes', { as: gateway })).body.probes;
};
const answer = (gateway: Gateway, question: object, alive: boolean) =>
  world.client.call('POST', '/v1/probes', { as: gateway, json: { ...only(question), alive } });
const only = ({ id, session, nonce }: { id?: string; session?: string; nonce?: string }) => ({ id, session, nonce });
/** What the gateway was told when the unit authenticated there. */
const permitted = (gateway: Gateway, unit: WorldUnit): Promise<unknown> =>
  world.db.pool.query(
    `INSERT INTO decision (at, gateway_id, unit_id, stage, key_proved, verdict, reasons)
     VALUES (now(), $1, $2, 'ike', true, 'permit', '{}')`,
    [gateway.id, unit.id],
  );
const stateOf = async (unit: WorldUnit): Promise<string> =>
  (await world.db.pool.query<{ state: string }>('SELECT state FROM unit WHERE id = $1', [unit.id])).rows[0]?.state ??
  '';
/** Numbers the ledger and lets detection read it, as the rotation worker does. */
let seen = 0;
const detect = async (): Promise<void> => {
  await world.sequence();
  const [detection] = ledgerConsumers(world.core, createLogger({ name: 'test', level: 'silent' }));
  const entries = await readEntries(world.core.transactor.read, { epoch: 1, seq: seen }, 10_000);
  seen = entries.at(-1)?.seq ?? seen;
  await world.core.transactor.run(async (tx) => detection?.consume(tx, entries));
};
/** One unit, up at two gateways, both permitted; with the questions that both are asked. */
const twice = async () => {
  const unit = await world.addUnit({ state: 'ACTIVE' });
  await permitted(gangnam, unit);
  await permitted(busan, unit);
  const here = event(1, unit);
  const there = event(1, unit, { address: AWAY });
  await report(gangnam, [here]);
  await report(busan, [there]);
  const mine = (await questions(gangnam)).find(({ session }) => session === here.session);
  const theirs = (await questions(busan)).find(({ session }) => session === there.session);
  return { unit, here, there, mine: mine ?? {}, theirs: theirs ?? {} };
};

describe('session events', () => {
  test('a repeat has no effect, and numbers that never came are named', async () => {
    const unit = await world.addUnit({ state: 'ACTIVE' });
    const stream = randomUUID();
    const events = [event(1, unit), event(2, unit), event(5, unit), event(9, unit)];
    expect((await report(gangnam, events, stream)).body).toEqual({
      accepted: 4,
      repeated: 0,
      refused: [],
      missing: [
        [6, 8],
        [3, 4],
      ],
    });
    expect((await report(gangnam, [...events, event(3, unit)], stream)).body).toMatchObject({
      accepted: 1,
      repeated: 4,
      missing: [
        [6, 8],
        [4, 4],
      ],
    });
    // Of a stream as long as a connector's life, the newest numbers.
    expect((await report(gangnam, [event(6_000, unit)], stream)).body).toMatchObject({
      accepted: 1,
      missing: [[1_001, 5_999]],
    });
  });

  test('the order in which they come does not matter', async () => {
    const unit = await world.addUnit({ state: 'ACTIVE' });
    const session = spis();
    const minutesAgo = (minutes: number): string => new Date(Date.now() - minutes * 60_000).toISOString();
    const up = event(1, unit, { session, at: minutesAgo(30) });
    const rekey = event(2, unit, { session, kind: 'rekey', at: minutesAgo(20), address: AWAY });
    const down = event(3, unit, { session, kind: 'down', at: minutesAgo(10), address: AWAY });
    const stream = randomUUID();
    await report(gangnam, [down], stream);
    await report(gangnam, [rekey, up], stream);
    const row = await sessionRow(session);
    expect(row).toMatchObject({ address: AWAY });
    expect([row.up_at, row.seen_at, row.down_at].map((at: Date) => at.toISOString())).toEqual([
      up.at,
      down.at,
      down.at,
    ]);
  });

  test('an unknown identity, a time to come, an old one and a wrong address are refused alone', async () => {
    const unit = await world.addUnit({ state: 'ACTIVE' });
    const { body } = await report(gangnam, [
      event(1, { fqdn: '0211ffffffff.femto.hanbit.example' }),
      event(2, unit, { at: new Date(Date.now() + 120_000).toISOString() }),
      event(3, unit, { at: new Date(Date.now() - 31 * 86_400_000).toISOString() }),
      event(4, unit, { address: '1.2.3' }),
      event(5, unit),
    ]);
    expect(body.accepted).toBe(1);
    expect(body.refused.map(({ seq, code }: { seq: number; code: string }) => [seq, code])).toEqual([
      [1, 'UNREGISTERED'],
      [2, 'BAD_REQUEST'],
      [3, 'BAD_REQUEST'],
      [4, 'BAD_REQUEST'],
    ]);
  });

  test('one gateway cannot speak about a session of another', async () => {
    const unit = await world.addUnit({ state: 'ACTIVE' });
    const up = event(1, unit);
    await report(gangnam, [up]);
    await report(busan, [event(1, unit, { session: up.session, kind: 'down' })]);
    const { rows } = await world.db.pool.query(
      `SELECT down_at FROM unit_session WHERE session = decode($1, 'hex') AND gateway_id = $2`,
      [up.session, gangnam.id],
    );
    expect(rows).toEqual([{ down_at: null }]);
  });

  test('a thousand fit into one report, one more does not, and a stranger is not heard at all', async () => {
    const unit = await world.addUnit({ state: 'ACTIVE' });
    const many = Array.from({ length: 1_001 }, (_, n) => event(n + 1, unit, { kind: 'down' }));
    // The body does not fit into an argument.
    const { writeFileSync } = await import('node:fs');
    const send = async (events: readonly object[]) => {
      const file = `${world.dir}/events.json`;
      writeFileSync(file, JSON.stringify({ stream: randomUUID(), events }));
      const flags = ['-H', 'Content-Type: application/json', '--data-binary', `@${file}`];
      return world.client.call('POST', '/v1/session-events', { as: gangnam, flags });
    };
    expect((await send(many.slice(0, 1_000))).body).toMatchObject({ accepted: 1_000 });
    expect(await send(many)).toMatchObject({ status: 400, body: { code: 'BAD_REQUEST' } });
    const stranger = await world.client.call('POST', '/v1/session-events', {
      json: { stream: randomUUID(), events: [] },
    });
    expect(stranger).toMatchObject({ status: 403, body: { code: 'DENIED' } });
  });
});

describe('one unit in two places (D5)', () => {
  test('both answer: the ledger hears it, detection quarantines, a case is opened, and the unit’s certificates are held', async () => {
    const { unit, mine, theirs } = await twice();
    expect((await answer(gangnam, mine, true)).body).toEqual({ state: 'open' });
    expect(await stateOf(unit)).toBe('ACTIVE');
    expect((await answer(busan, theirs, true)).body).toEqual({ state: 'closed' });
    await detect();
    expect(await stateOf(unit)).toBe('QUARANTINED');
    const { rows } = await world.db.pool.query(
      `SELECT e.code, e.grade, c.kind, c.state, e.facts FROM evidence e JOIN incident_case c ON c.id = e.case_id WHERE e.unit_id = $1`,
      [unit.id],
    );
    expect(rows).toEqual([expect.objectContaining({ code: 'CONCURRENT_USE', grade: 'hard', kind: 'concurrent-use' })]);
    expect(JSON.parse(rows[0].facts)).toMatchObject({
      gateways: ['segw-busan-1', 'segw-gangnam-1'],
      places: expect.arrayContaining([expect.objectContaining({ gateway: 'segw-gangnam-1', address: HOME })]),
      capped: false,
    });
    const held = await world.db.pool.query(`SELECT 1 FROM revoked_certificate WHERE unit_id = $1 AND state = 'held'`, [
      unit.id,
    ]);
    expect(held.rowCount).toBeGreaterThan(0);
  });

  test('one that came up while another question was open is asked about as soon as that one ends', async () => {
    const { unit, here, theirs } = await twice();
    const late = event(1, unit, { address: '192.0.2.77' });
    await report(busan, [late]);
    await answer(busan, theirs, false);
    expect((await questions(gangnam)).map(({ session }) => session)).toContain(here.session);
    const again = (await questions(gangnam)).find(({ session }) => session === here.session);
    const newcomer = (await questions(busan)).find(({ session }) => session === late.session);
    await answer(gangnam, again ?? {}, true);
    await answer(busan, newcomer ?? {}, true);
    await detect();
    expect(await stateOf(unit)).toBe('QUARANTINED');
  });

  test.each([
    ['the older session no longer answers: the unit changed its gateway', [false, true]],
    ['neither answers', [false, false]],
  ])('%s: nobody is restricted, and what is dead is closed', async (_, [first = false, second = false]) => {
    const { unit, here, mine, theirs } = await twice();
    await answer(gangnam, mine, first);
    await answer(busan, theirs, second);
    await detect();
    expect(await stateOf(unit)).toBe('ACTIVE');
    expect((await sessionRow(here.session)).down_at).not.toBeNull();
    const { rowCount } = await world.db.pool.query('SELECT 1 FROM evidence WHERE unit_id = $1', [unit.id]);
    expect(rowCount).toBe(0);
  });

  test('a reboot behind the same router, or a new authentication, asks nobody', async () => {
    const unit = await world.addUnit({ state: 'ACTIVE' });
    await report(gangnam, [event(1, unit), event(2, unit)]);
    const { rowCount } = await world.db.pool.query('SELECT 1 FROM session_probe WHERE unit_id = $1', [unit.id]);
    expect(rowCount).toBe(0);
  });

  test('a gateway that was never shown the key cannot bring a unit into quarantine', async () => {
    const unit = await world.addUnit({ state: 'ACTIVE' });
    await permitted(gangnam, unit);
    await report(gangnam, [event(1, unit)]);
    await report(busan, [event(1, unit, { address: AWAY })]);
    for (const gateway of [gangnam, busan])
      for (const question of await questions(gateway)) await answer(gateway, question, true);
    await detect();
    expect(await stateOf(unit)).toBe('ACTIVE');
  });

  test('only the gateway that is asked may answer, once, with the nonce, in time', async () => {
    const { unit, mine, theirs } = await twice();
    expect(await answer(busan, mine, true)).toMatchObject({ status: 404, body: { code: 'NOT_FOUND' } });
    expect(await answer(gangnam, { ...mine, nonce: spis() }, true)).toMatchObject({ body: { code: 'NONCE_BAD' } });
    expect(await answer(gangnam, { ...mine, id: '999999' }, true)).toMatchObject({ status: 404 });
    await answer(gangnam, mine, true);
    expect(await answer(gangnam, mine, true)).toMatchObject({ status: 404 });
    await world.db.pool.query(`UPDATE session_probe SET ends_at = now() WHERE unit_id = $1`, [unit.id]);
    expect(await answer(busan, theirs, true)).toMatchObject({ status: 409, body: { code: 'STATE_CONFLICT' } });
    await questions(busan);
    const { rows } = await world.db.pool.query('SELECT state FROM session_probe WHERE unit_id = $1', [unit.id]);
    expect(rows).toEqual([{ state: 'unanswered' }]);
    // The unit comes up once more: it is asked about anew.
    await report(busan, [event(1, unit, { address: AWAY })]);
    expect(await questions(busan)).not.toEqual([]);
  });

  test('past ten units a day on the word of one gateway the case stands, and people decide', async () => {
    const units: WorldUnit[] = [];
    for (let n = 0; n < 11; n += 1) {
      const { unit, mine, theirs } = await twice();
      await answer(gangnam, mine, true);
      await answer(busan, theirs, true);
      units.push(unit);
    }
    await detect();
    const states = await Promise.all(units.map(stateOf));
    // Two stand from tests before this.
    expect(states.filter((state) => state === 'QUARANTINED')).toHaveLength(8);
    const last = units.at(-1);
    expect(await stateOf(last as WorldUnit)).toBe('ACTIVE');
    const { rows } = await world.db.pool.query(
      `SELECT c.grade, c.state FROM incident_case c WHERE c.unit_id = $1 AND c.kind = 'concurrent-use'`,
      [last?.id],
    );
    expect(rows).toEqual([{ grade: 'hard', state: 'open' }]);
  });
});
