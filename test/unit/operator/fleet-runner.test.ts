import { expect, test } from '@jest/globals';
import type { FleetOrder, FleetOrders } from '../../../src/lifecycle/revocation/index.js';
import { makeFleetRunner } from '../../../src/operator/api/fleet-runner.js';

test('what was started goes on without anybody asking, and nothing is started once the runner closes', async () => {
  const carried: number[] = [];
  let told: (() => void) | undefined;
  const second = new Promise<void>((done) => {
    told = done;
  });
  const orders = {
    running: async () => [3, 4],
    carryOut: async (id: number) => {
      carried.push(id);
      if (id === 4) told?.();
      if (id === 3) throw new Error('nobody signed it');
      return { id, state: 'done' } as FleetOrder;
    },
  } as unknown as FleetOrders;
  const failed: number[] = [];
  const runner = makeFleetRunner(orders, (_error, id) => failed.push(id));
  runner.watch();
  await second;
  await runner.close();
  expect([carried, failed]).toEqual([[3, 4], [3]]);
});

test('two who start one order at once share one run', async () => {
  let runs = 0;
  const orders = {
    carryOut: async (id: number) => {
      runs += 1;
      await new Promise((done) => setImmediate(done));
      return { id, state: 'done' } as FleetOrder;
    },
  } as unknown as FleetOrders;
  const runner = makeFleetRunner(orders);
  const [one, other] = await Promise.all([runner.kick(7), runner.kick(7)]);
  expect([one.state, other.state, runs]).toEqual(['done', 'done', 1]);
});
