import { existsSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type CmpWorld, startCmpWorld } from '../support/cmp-world.js';
import { curlUnit } from '../support/curl-unit.js';
import { cutBetween, LINE_POINTS } from '../support/cut-line.js';
import type { WorldUnit } from '../support/device-world.js';
import { type Life, openLife } from '../support/life-world.js';
import { type CutUnit, runCuts } from '../support/unit-cuts.js';
import { cmpArguments, scratchIn, unitProtocols } from '../support/unit-protocols.js';

let cmp: CmpWorld;
let life: Life;
const closers: (() => Promise<void>)[] = [];
beforeAll(async () => {
  cmp = await startCmpWorld();
  life = await openLife(cmp.world);
});
afterAll(async () => {
  for (const close of closers) await close();
  await cmp.close();
});

type Cut = CutUnit & { readonly unit: WorldUnit };

/** An activated unit behind a line of its own, which can be cut. */
async function cutUnit(): Promise<Cut> {
  const line = await cutBetween(cmp.first.plainPort);
  closers.push(line.close);
  const [unit, dir] = [await cmp.world.addUnit(), scratchIn(cmp.world.dir)];
  const target = { dir, port: cmp.world.port, cmpPort: line.port, useAtGateway: life.useAtGateway };
  const { CMP: protocol } = unitProtocols(target);
  await cmp.order(unit);
  const first = await protocol.activate(unit);
  if (first.kind !== 'issued') throw new Error('not activated');
  const { file } = curlUnit(dir, 0);
  return {
    unit,
    line,
    protocol,
    op: first.op,
    process: async (as, keyFile) => {
      const pemFile = file('new.pem');
      return {
        command: 'openssl',
        args: [...cmpArguments(target, 'kur', as), '-newkey', keyFile, '-certout', pemFile],
        // OpenSSL writes the file when the exchange is over.
        stored: async () => (existsSync(pemFile) ? { keyFile, pemFile } : null),
      };
    },
  };
}

async function expectWell(units: readonly Cut[]): Promise<void> {
  for (const { unit, op } of units) {
    expect(await life.stateOf(unit)).toBe('ACTIVE');
    expect(await life.headOf(unit)).toBe(life.serialOf(op));
    expect((await life.ask(op)).verdict).toBe('permit');
  }
}

test('ten power cuts at each point of a kur by openssl: with its key kept, no unit is stuck, quarantined or suspected', async () => {
  const units = await Promise.all(Array.from({ length: 4 }, cutUnit));
  const killed = await runCuts({ units, points: LINE_POINTS, perPoint: 10, keepsKey: true });
  expect(killed).toEqual(Object.fromEntries(LINE_POINTS.map((point) => [point, 10])));
  await expectWell(units);
  for (const { unit } of units) expect(await life.forks(unit)).toEqual([]);
});

test('where the new key was lost with it, the unit comes back with another, and nobody is quarantined', async () => {
  const units = await Promise.all(Array.from({ length: 4 }, cutUnit));
  // A unit that sent certConf said that it has the certificate: from then on the key is in its flash, or it is a fork.
  const points = LINE_POINTS.filter((point) => !point.startsWith('certConf answered'));
  await runCuts({
    units,
    points,
    perPoint: 4,
    keepsKey: false,
    beforeLoss: (unit) => life.hourLater((unit as Cut).unit),
  });
  await expectWell(units);
  for (const { unit } of units) expect(await life.forks(unit)).not.toContain('hard');
});

test('after all the cuts the record hangs together', async () => {
  await cmp.world.db.pool.query('UPDATE batch SET unit_count = 1000');
  expect(await life.audit()).toEqual([]);
});
