import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { reconcile } from '../../src/lifecycle/issuance/index.js';
import { issuanceStore } from '../../src/lifecycle/issuance/issuance-store.pg.js';
import { type DeviceWorld, startDeviceWorld } from '../support/device-world.js';
import { startEnrolProcess } from '../support/enrol-process.js';
import { type Life, openLife } from '../support/life-world.js';
import { type Outcome, type UnitProtocol, unitProtocols } from '../support/unit-protocols.js';

let world: DeviceWorld;
let life: Life;
beforeAll(async () => {
  world = await startDeviceWorld();
  life = await openLife(world);
  await world.db.pool.query('UPDATE batch SET unit_count = 1000');
});
afterAll(() => world.close());

const clientsOf = (port: number) =>
  unitProtocols({ dir: world.dir, port, cmpPort: 0, useAtGateway: life.useAtGateway });

async function issued(asked: Promise<Outcome>) {
  const outcome = await asked;
  if (outcome.kind !== 'issued') throw new Error(JSON.stringify(outcome));
  return outcome.op;
}

/** The unit goes on asking, as it is told to, while the worker does what it does every 15 s. */
async function untilIssued(ask: () => Promise<Outcome>) {
  for (let tries = 0; tries < 10; tries++) {
    const outcome = await ask();
    if (outcome.kind === 'issued') return outcome.op;
    expect(outcome.kind).toBe('later');
    await reconcile({ ...world.core, store: issuanceStore }, { signingLimitMs: 0 });
  }
  throw new Error('the unit is stuck');
}

test.each([
  ['EST', 'after-intent'],
  ['EST', 'after-issue'],
  ['EST by strongSwan', 'after-issue'],
] as const)(
  '%s, an enrol-server killed %s: activation and renewal go on at another server, with the same key, and nobody is suspected',
  async (client, point) => {
    const unit = await world.addUnit();
    const code = await world.grant(unit);
    const there: UnitProtocol = clientsOf(world.port)[client];
    const killed = async (ask: (p: UnitProtocol) => Promise<Outcome>): Promise<void> => {
      const server = await startEnrolProcess(world, `${point}:kill`);
      await expect(ask(clientsOf(server.port)[client])).rejects.toThrow();
      expect(await server.ended).toBe('SIGKILL');
    };
    const [firstKey, secondKey] = [await there.newKey(), await there.newKey()];
    await killed((p) => p.activate(unit, { code, keyFile: firstKey }));
    const first = await untilIssued(() => there.activate(unit, { code, keyFile: firstKey }));
    await there.confirm(first);
    await killed((p) => p.renew(first, { keyFile: secondKey }));
    const second = await untilIssued(() => there.renew(first, { keyFile: secondKey }));
    await there.confirm(second);
    await issued(there.renew(second));
    expect((await life.generations(unit)).filter((slot) => !slot.endsWith('abandoned'))).toEqual([
      '1 confirmed',
      '2 confirmed',
      '3 pending',
    ]);
    expect([await life.forks(unit), await life.stateOf(unit)]).toEqual([[], 'ACTIVE']);
  },
);

test('after all the deaths the record hangs together', async () => {
  expect(await life.audit()).toEqual([]);
});
