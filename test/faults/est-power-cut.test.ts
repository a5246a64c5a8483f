import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { cutInside, LINE_POINTS } from '../support/cut-line.js';
import { type DeviceWorld, startDeviceWorld, type WorldUnit } from '../support/device-world.js';
import { estUnit } from '../support/est-unit.js';
import { type Life, openLife } from '../support/life-world.js';
import { type CutUnit, runCuts } from '../support/unit-cuts.js';
import { scratchIn, unitProtocols } from '../support/unit-protocols.js';

let world: DeviceWorld;
let life: Life;
beforeAll(async () => {
  world = await startDeviceWorld();
  life = await openLife(world);
});
afterAll(() => world.close());

type Cut = CutUnit & { readonly unit: WorldUnit };

/** An activated unit on a server of its own, where its connections can be cut. */
async function cutUnit(): Promise<Cut> {
  const line = cutInside((await world.addReplica()).server);
  const [unit, dir] = [await world.addUnit(), scratchIn(world.dir)];
  const { EST: protocol } = unitProtocols({ dir, port: line.port, cmpPort: 0, useAtGateway: life.useAtGateway });
  const first = await protocol.activate(unit, { code: await world.grant(unit) });
  if (first.kind !== 'issued') throw new Error('not activated');
  await protocol.confirm(first.op);
  const est = estUnit(dir, line.port);
  return {
    unit,
    line,
    protocol,
    op: first.op,
    process: async (as, keyFile) => {
      const [body, answer] = [await est.request(keyFile), est.file('answer')];
      return {
        command: 'curl',
        args: [
          ...['-sS', '--max-time', '20', '--cacert', join(dir, 'services-root.pem'), '-o', answer],
          ...['--cert', as.pemFile, '--key', as.keyFile, '--data-binary', `@${body}`],
          ...['-H', 'Content-Type: application/pkcs10', '--resolve', `localhost:${line.port}:127.0.0.1`],
          `https://localhost:${line.port}/.well-known/est/simplereenroll`,
        ],
        stored: async () => {
          if (!existsSync(answer)) return null;
          // A torn file is no certificate: openssl says so, and the unit asks again.
          const text = readFileSync(answer, 'utf8');
          const pemFile = await est.certificates({ status: 200, headers: '', text }).catch(() => null);
          return pemFile === null ? null : { keyFile, pemFile };
        },
      };
    },
  };
}

const POINTS = LINE_POINTS.filter((point) => !point.startsWith('certConf'));

async function expectWell(units: readonly Cut[]): Promise<void> {
  for (const { unit, op } of units) {
    expect(await life.stateOf(unit)).toBe('ACTIVE');
    expect(await life.headOf(unit)).toBe(life.serialOf(op));
    expect((await life.ask(op)).verdict).toBe('permit');
  }
}

test('ten power cuts at each point of a renewal by curl: with its key kept, no unit is stuck, quarantined or suspected', async () => {
  const units = await Promise.all(Array.from({ length: 4 }, cutUnit));
  const killed = await runCuts({ units, points: POINTS, perPoint: 10, keepsKey: true });
  expect(killed).toEqual(Object.fromEntries(POINTS.map((point) => [point, 10])));
  await expectWell(units);
  for (const { unit } of units) expect(await life.forks(unit)).toEqual([]);
});

test('where the new key was lost with it, the unit comes back with another, and nobody is quarantined', async () => {
  const units = await Promise.all(Array.from({ length: 4 }, cutUnit));
  await runCuts({
    units,
    points: POINTS,
    perPoint: 4,
    keepsKey: false,
    beforeLoss: (unit) => life.hourLater((unit as Cut).unit),
  });
  await expectWell(units);
  for (const { unit } of units) expect(await life.forks(unit)).not.toContain('hard');
});
