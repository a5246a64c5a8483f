import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type ActiveUnit, type AuthoriseTalk, authoriseTalk } from '../../support/authorise-talk.js';
import { type GatewayWorld, startGatewayWorld } from '../../support/gateway-world.js';
import { type TrafficTalk, trafficTalk } from '../../support/traffic-talk.js';

let world: GatewayWorld;
let talk: AuthoriseTalk;
let traffic: TrafficTalk;

beforeAll(async () => {
  world = await startGatewayWorld();
  talk = authoriseTalk(world, await world.addGateway('segw-gangnam-1'));
  // Seoul and Busan, as a city edition has them.
  traffic = trafficTalk(world, {
    place: (address) =>
      address.startsWith('203.0.113.')
        ? { known: { latitude: 35.18, longitude: 129.08, accuracyKm: 20 } }
        : { known: { latitude: 37.57, longitude: 126.98, accuracyKm: 20 } },
  });
});
afterAll(async () => {
  expect(world.internal).toEqual([]);
  await world.close();
});

let count = 0;
const unitInSeoul = (): Promise<ActiveUnit> => {
  count += 1;
  return talk.activeUnit(`198.51.100.${count}/32`, 'Seoul');
};
/** Another household's line; its address. */
const otherLine = async (region: string, authoritative = true): Promise<string> => {
  count += 1;
  const address = `${region === 'Busan' ? '203.0.113' : '192.0.2'}.${count}`;
  const id = await world.addLine(`other-${count}`, `${address}/32`, authoritative);
  await world.db.pool.query('UPDATE line SET region = $2 WHERE id = $1', [id, region]);
  return address;
};
const seenAt = (unit: ActiveUnit, address: string, changes = {}) => talk.decide({ ...unit, address }, changes);
const movement = async (unit: ActiveUnit) =>
  (await traffic.evidence(`unit:${unit.serialNumber}`)).filter(({ code }) => code === 'MOBILE_USE');

describe('a unit that travels (DET-2)', () => {
  test('on a third line within the day it is MOBILE_USE: a case, the speed, and the decisions that show it', async () => {
    const unit = await unitInSeoul();
    const [a, b] = [await otherLine('Seoul'), await otherLine('Busan')];
    expect(await seenAt(unit, unit.address)).toMatchObject({ verdict: 'permit' });
    expect(await seenAt(unit, a)).toMatchObject({ verdict: 'deny', reasons: ['LINE_MISMATCH'] });
    expect(await seenAt(unit, b)).toMatchObject({ verdict: 'deny' });
    await traffic.look();
    const [found] = await movement(unit);
    expect(found).toMatchObject({ grade: 'strong', caseKind: 'mobile-use' });
    expect(found?.facts).toMatchObject({ regions: ['Seoul', 'Busan'], keyProved: true, gateways: ['segw-gangnam-1'] });
    expect(found?.facts.words).toMatch(/^Seen on 3 lines .* in Seoul and Busan; at \d+ km\/h or more/);
    const { rows } = await world.db.pool.query(
      `SELECT host(d.address) AS address FROM traffic_alarm a CROSS JOIN unnest(a.decision_at, a.decision_id) AS r(at, id)
       JOIN decision d ON (d.at, d.id) = (r.at, r.id) WHERE a.unit_id = $1 ORDER BY d.at`,
      [unit.id],
    );
    expect(rows.map(({ address }) => address)).toEqual([unit.address, a, b]);
    // Two strong kinds, LINE_MISMATCH is the other.
    expect(await traffic.stateOf(unit)).toBe('QUARANTINED');
  });

  test('the same journey is evidence once a day, however often it is looked at or goes on', async () => {
    const unit = await unitInSeoul();
    const elsewhere = await otherLine('Busan');
    await seenAt(unit, unit.address);
    await seenAt(unit, elsewhere);
    await traffic.look();
    await seenAt(unit, elsewhere);
    await traffic.look();
    await world.db.pool.query(`UPDATE traffic_mark SET looked_until = looked_until - interval '10 minutes'`);
    await traffic.look();
    expect(await movement(unit)).toHaveLength(1);
    // One foreign line is one kind of evidence, however it is called: a household that forgot the order is not quarantined.
    expect(await traffic.stateOf(unit)).toBe('ACTIVE');
  });

  test('a household that moves by order to another province is no traveller', async () => {
    const unit = await unitInSeoul();
    const address = await otherLine('Busan');
    await seenAt(unit, unit.address);
    await talk.relocations.order({
      serialNumber: unit.serialNumber,
      line: `other-${count}`,
      lifeSeconds: 3_600,
      reason: 'moved',
      actor: 'person:kim',
    });
    expect(await seenAt(unit, address)).toMatchObject({ verdict: 'permit' });
    // Its old line was its own, too; the next household's is none.
    expect(await seenAt(unit, await otherLine('Busan'))).toMatchObject({ verdict: 'deny' });
    await traffic.look();
    expect(await movement(unit)).toEqual([]);
  });

  test('a carrier’s shared addresses, wherever they are said to be, are no journey', async () => {
    const unit = await unitInSeoul();
    for (let n = 0; n < 3; n += 1) await seenAt(unit, await otherLine('Busan', false));
    await seenAt(unit, '203.0.113.250');
    await traffic.look();
    expect(await traffic.evidence(`unit:${unit.serialNumber}`)).toEqual([]);
  });

  test('without proof of the key it is soft, opens no case and restricts nobody', async () => {
    const unit = await unitInSeoul();
    for (const region of ['Seoul', 'Busan', 'Busan']) await seenAt(unit, await otherLine(region), { keyProved: false });
    await traffic.look();
    expect(await movement(unit)).toEqual([expect.objectContaining({ grade: 'soft', caseKind: null })]);
    expect(await traffic.stateOf(unit)).toBe('ACTIVE');
  });

  test('sessions that came up while nobody asked, heard of late, are a journey on their gateway’s word', async () => {
    const unit = await unitInSeoul();
    const gateway = await world.addGateway('segw-busan-1');
    const at = (hoursAgo: number): string => new Date(Date.now() - hoursAgo * 3_600_000).toISOString();
    const sessions = [await otherLine('Seoul'), await otherLine('Busan'), await otherLine('Busan')];
    const events = sessions.map((address, n) => ({
      seq: n + 1,
      kind: 'up',
      session: `${n}`.padStart(32, '0'),
      at: at(9 - n),
      identity: unit.fqdn,
      address,
    }));
    await world.client.call('POST', '/v1/session-events', {
      as: gateway,
      json: { stream: '00000000-0000-4000-8000-000000000001', events },
    });
    await traffic.look();
    expect(await movement(unit)).toEqual([
      expect.objectContaining({ grade: 'soft', facts: expect.objectContaining({ gateways: ['segw-busan-1'] }) }),
    ]);
  });
});
