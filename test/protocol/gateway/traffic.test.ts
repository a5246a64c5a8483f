import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type ActiveUnit, type AuthoriseTalk, authoriseTalk } from '../../support/authorise-talk.js';
import { type GatewayWorld, startGatewayWorld } from '../../support/gateway-world.js';
import { keptAnywhere } from '../../support/kept-anywhere.js';
import { type TrafficTalk, trafficTalk } from '../../support/traffic-talk.js';

let world: GatewayWorld;
let talk: AuthoriseTalk;
let atBusan: AuthoriseTalk;
let traffic: TrafficTalk;

beforeAll(async () => {
  world = await startGatewayWorld();
  talk = authoriseTalk(world, await world.addGateway('segw-gangnam-1'));
  atBusan = authoriseTalk(world, await world.addGateway('segw-busan-1'));
  traffic = trafficTalk(world);
});
afterAll(async () => {
  expect(world.internal).toEqual([]);
  await world.close();
});

let count = 0;
/** A unit at home, with the cell `00101-<n>` of its own. */
const unitWithCell = async (region = 'Seoul'): Promise<ActiveUnit & { cell: string }> => {
  count += 1;
  const unit = await talk.activeUnit(`198.51.100.${count}/32`, region);
  const cell = `00101-${count * 10}`;
  await world.db.pool.query('INSERT INTO cell (id, unit_id, segw_address) VALUES ($1, $2, $3)', [cell, unit.id, '']);
  return { ...unit, cell };
};
const register = (unit: ActiveUnit, cell: string, changes = {}) =>
  talk.decide(unit, { stage: 'registration', cell, ...changes });
const evidence = async (unit: ActiveUnit, code: string) =>
  (await traffic.evidence(`unit:${unit.serialNumber}`)).filter((one) => one.code === code);

describe('a cell on two units, a unit on two cells (DET-3)', () => {
  test('who registers with another’s cell has strong evidence and a case; the owner has none', async () => {
    const [owner, other] = [await unitWithCell(), await unitWithCell()];
    expect(await register(other, owner.cell)).toMatchObject({ verdict: 'deny', reasons: ['CELL_MISMATCH'] });
    await traffic.look();
    expect(await evidence(other, 'CELL_CONFLICT')).toMatchObject([
      {
        grade: 'strong',
        caseKind: 'cell-conflict',
        facts: {
          cells: [owner.cell],
          conflicts: [
            {
              owner: owner.serialNumber,
              neighbours: expect.arrayContaining([{ cell: other.cell, unit: other.serialNumber }]),
            },
          ],
          gateways: ['segw-gangnam-1'],
        },
      },
    ]);
    expect(await evidence(owner, 'CELL_CONFLICT')).toEqual([]);
    expect(await traffic.stateOf(other)).toBe('ACTIVE');
  });

  test('three on one cell are hard: both who claim it are quarantined, its owner is not', async () => {
    const [owner, one, two] = [await unitWithCell(), await unitWithCell(), await unitWithCell()];
    await register(owner, owner.cell);
    await register(one, owner.cell);
    await traffic.look();
    await register(two, owner.cell);
    await traffic.look();
    expect(await evidence(one, 'CELL_CONFLICT')).toMatchObject([{ grade: 'strong' }, { grade: 'hard' }]);
    expect(await Promise.all([owner, one, two].map(traffic.stateOf))).toEqual(['ACTIVE', 'QUARANTINED', 'QUARANTINED']);
  });

  test('the grade of a day rises with what comes later, in the same alarm', async () => {
    const unit = await unitWithCell();
    await register(unit, '00101-nobodys');
    await traffic.look();
    await register(unit, unit.cell);
    await register(unit, '00101-no-cell-either');
    await traffic.look();
    expect((await evidence(unit, 'CELL_CONFLICT')).map(({ grade }) => grade)).toEqual(['soft', 'hard']);
    const { rows } = await world.db.pool.query('SELECT grade, rule FROM traffic_alarm WHERE unit_id = $1', [unit.id]);
    expect(rows).toEqual([{ grade: 'hard', rule: 'CELL_CONFLICT' }]);
    expect(await traffic.stateOf(unit)).toBe('QUARANTINED');
  });

  test('a cell that the unit had until it was given another is its own of that day', async () => {
    const unit = await unitWithCell();
    await register(unit, unit.cell);
    await world.core.transactor.run(async (tx) => {
      const by = { unitId: unit.id, actor: 'person:kim', at: new Date() };
      await world.core.registry.releaseCell(tx, by);
      await world.db.pool.query(`INSERT INTO cell (id, segw_address) VALUES ('00101-next', '')`);
      await world.core.registry.bindCell(tx, { ...by, cellId: '00101-next' });
    });
    await register(unit, '00101-next');
    // And now a claim that is refused, so that the day is looked at: one foreign cell that nobody has, beside one own.
    await register(unit, '00101-strange', { keyProved: false });
    await traffic.look();
    expect(await evidence(unit, 'CELL_CONFLICT')).toMatchObject([{ grade: 'soft' }]);
  });

  test('without proof of the key nobody can do that to another', async () => {
    const [owner, ...others] = [await unitWithCell(), await unitWithCell(), await unitWithCell()];
    for (const other of others) await register(other, owner.cell, { keyProved: false });
    await traffic.look();
    for (const other of others) {
      expect(await evidence(other, 'CELL_CONFLICT')).toMatchObject([{ grade: 'soft', caseKind: null }]);
      expect(await traffic.stateOf(other)).toBe('ACTIVE');
    }
  });

  test('past ten quarantines a day on the word of one gateway the rest stand as cases, whatever the rule', async () => {
    const owner = await unitWithCell();
    const others: ActiveUnit[] = [];
    for (let n = 0; n < 12; n += 1) others.push(await unitWithCell());
    await Promise.all(others.map((other) => talk.ask(other, { stage: 'registration', cell: owner.cell })));
    await traffic.look();
    for (const other of others) expect(await evidence(other, 'CELL_CONFLICT')).toMatchObject([{ grade: 'hard' }]);
    const { rows } = await world.db.pool.query(
      `SELECT count(*)::int AS capped FROM evidence WHERE (facts::jsonb ->> 'capped')::boolean`,
    );
    const states = await Promise.all(others.map(traffic.stateOf));
    // Three stand from the tests before this.
    expect(states.filter((state) => state === 'QUARANTINED')).toHaveLength(7);
    expect(rows).toEqual([{ capped: 5 }]);
  });
});

describe('what is unlike other days (DET-4)', () => {
  test('a unit that is denied again and again: soft, with the words and the decisions that show it', async () => {
    const unit = await unitWithCell();
    for (let n = 0; n < 10; n += 1) await talk.ask({ ...unit, fqdn: 'other.femto.hanbit.example' });
    await traffic.look();
    const [found] = await evidence(unit, 'REPEATED_DENIALS');
    expect(found).toMatchObject({
      grade: 'soft',
      caseKind: null,
      facts: { words: 'Denied 10 times within an hour: ID_MISMATCH' },
    });
    const { rows } = await world.db.pool.query(
      'SELECT cardinality(decision_id) AS shown FROM traffic_alarm WHERE id = $1',
      [found?.facts.alarmId],
    );
    expect(rows).toEqual([{ shown: 10 }]);
    expect(await traffic.stateOf(unit)).toBe('ACTIVE');
  });

  test('a drip below the threshold is seen over seven days', async () => {
    const unit = await unitWithCell();
    for (let n = 0; n < 20; n += 1) await talk.ask({ ...unit, fqdn: 'other.femto.hanbit.example' });
    const { rows } = await world.db.pool.query(
      `UPDATE decision SET at = at - (id % 5) * interval '1 day' WHERE unit_id = $1 RETURNING id`,
      [unit.id],
    );
    expect(rows).toHaveLength(20);
    await traffic.look();
    expect(await evidence(unit, 'REPEATED_DENIALS')).toMatchObject([
      { grade: 'soft', facts: { words: 'Denied 20 times within 7 days, on 5 of them: ID_MISMATCH' } },
    ]);
  });

  test('a gateway where the unit was not for a week is told; where it always is, is not', async () => {
    const unit = await unitWithCell();
    await talk.decide(unit);
    await talk.decide(unit);
    await traffic.look();
    expect(await evidence(unit, 'NEW_GATEWAY')).toEqual([]);
    expect(await atBusan.decide(unit)).toMatchObject({ verdict: 'permit' });
    await traffic.look();
    expect(await evidence(unit, 'NEW_GATEWAY')).toMatchObject([
      { grade: 'soft', facts: { gateway: 'segw-busan-1', before: ['segw-gangnam-1'] } },
    ]);
  });

  test('a power cut brings a whole district back at once: one soft alarm, and nobody is restricted', async () => {
    await world.db.pool.query(
      `INSERT INTO traffic_hour (region, hour, attempts, denied) VALUES ('Jeju', date_trunc('hour', now() - interval '3 days'), 3, 0)`,
    );
    const unit = await unitWithCell('Jeju');
    await Promise.all(Array.from({ length: 25 }, () => talk.ask(unit)));
    await traffic.look();
    await Promise.all(Array.from({ length: 3 }, () => talk.ask(unit)));
    await traffic.look();
    const found = await traffic.evidence('district:Jeju');
    expect(found).toMatchObject([{ code: 'DISTRICT_BURST', grade: 'soft', caseKind: null, facts: { count: 25 } }]);
    const { rows } = await world.db.pool.query(
      `SELECT words, cardinality(decision_id) AS shown FROM traffic_alarm WHERE subject = 'district:Jeju'`,
    );
    expect(rows).toEqual([{ words: expect.stringMatching(/^28 authentications .* 20 are let pass$/), shown: 28 }]);
    expect(await traffic.stateOf(unit)).toBe('ACTIVE');
  });

  test('malformed cells and subscriber numbers are refused before anything is kept', async () => {
    const unit = await unitWithCell();
    for (const cell of ['450081234567890', '4500 8123456 7890', 'a b', '../x', '']) {
      expect(await talk.ask(unit, { stage: 'registration', cell })).toMatchObject({
        status: 400,
        body: { code: 'BAD_REQUEST' },
      });
    }
    const { rowCount } = await world.db.pool.query('SELECT 1 FROM decision WHERE unit_id = $1', [unit.id]);
    expect(rowCount).toBe(0);
    // As an identity it is compared and never kept: of a question, and of a session event (ADM-3).
    const identity = '0450081234567890@nai.epc.mnc008.mcc450.3gppnetwork.org';
    expect(await talk.decide({ ...unit, fqdn: identity })).toMatchObject({ verdict: 'deny', reasons: ['ID_MISMATCH'] });
    const gateway = await world.addGateway('segw-daejeon-1');
    const events = [
      { seq: 1, kind: 'up', session: 'ab'.repeat(16), at: new Date().toISOString(), identity, address: unit.address },
    ];
    const stream = '00000000-0000-4000-8000-000000000002';
    expect(
      await world.client.call('POST', '/v1/session-events', { as: gateway, json: { stream, events } }),
    ).toMatchObject({ status: 200, body: { accepted: 0, refused: [{ seq: 1, code: 'UNREGISTERED' }] } });
    expect(await keptAnywhere(world.db, '450081234567890')).toEqual([]);
  });
});
