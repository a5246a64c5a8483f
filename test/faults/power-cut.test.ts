import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { CUT_POINTS } from '../../src/agent/femtocell.js';
import { type DeviceWorld, startDeviceWorld } from '../support/device-world.js';
import { powerCutTarget, runPowerCuts } from '../support/power-cuts.js';

let world: DeviceWorld;
beforeAll(async () => {
  world = await startDeviceWorld();
});
afterAll(() => world.close());

test('D9: twenty power cuts at each of six points of a renewal leave no unit stuck, quarantined or suspected', async () => {
  const report = await runPowerCuts({ target: powerCutTarget(world), perPoint: 20 });
  expect(report).toMatchObject({ runs: 20 * CUT_POINTS.length, stuck: 0, quarantined: 0, forks: 0, astray: 0 });
}, 180_000);
