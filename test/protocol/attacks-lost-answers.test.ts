/**
 * Somebody on the way takes out answers and confirmations of an unmodified openssl, for as long as they like. The unit
 * comes back by itself with what it has; nobody is held, and nothing that the unit needs is used up.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type CmpWorld, startCmpWorld } from '../support/cmp-world.js';
import { runClient } from '../support/command.js';
import type { CurlCredential } from '../support/curl-unit.js';
import { type CutLine, cutBetween, type LinePoint } from '../support/cut-line.js';
import type { WorldUnit } from '../support/device-world.js';
import { type Life, openLife } from '../support/life-world.js';
import { cmpArguments, type Outcome, type UnitProtocol, unitProtocols } from '../support/unit-protocols.js';

let cmp: CmpWorld;
let life: Life;
let line: CutLine;
let openssl: UnitProtocol;
let est: UnitProtocol;

beforeAll(async () => {
  cmp = await startCmpWorld();
  life = await openLife(cmp.world);
  await cmp.world.db.pool.query('UPDATE batch SET unit_count = 1000');
  line = await cutBetween(cmp.first.plainPort);
  const { dir, port } = cmp.world;
  const protocols = unitProtocols({ dir, port, cmpPort: line.port, useAtGateway: life.useAtGateway });
  openssl = protocols.CMP;
  est = protocols.EST;
});
afterAll(async () => {
  await line.close();
  await cmp.close();
});

/** One exchange whose message is taken out at the point; openssl says so by its exit code. */
async function loseAt(point: LinePoint, command: 'ir' | 'kur', as: CurlCredential, keyFile: string): Promise<void> {
  let lost = 0;
  line.arm(point, () => {
    lost += 1;
  });
  const { code } = await runClient('openssl', [
    ...cmpArguments({ dir: cmp.world.dir, cmpPort: line.port }, command, as),
    ...['-newkey', keyFile, '-certout', cmp.file('none')],
  ]);
  expect([lost, code === 0]).toEqual([1, false]);
}

function issued(outcome: Outcome): CurlCredential {
  if (outcome.kind !== 'issued') throw new Error(JSON.stringify(outcome));
  return outcome.op;
}

/** A unit before the exchange that will be disturbed, and that exchange. */
async function unitBefore(command: 'ir' | 'kur'): Promise<{ unit: WorldUnit; as: CurlCredential; generation: number }> {
  if (command === 'kur') {
    const { unit, op } = await cmp.activeUnit();
    return { unit, as: op, generation: 2 };
  }
  const unit = await cmp.world.addUnit();
  await cmp.order(unit);
  return { unit, as: unit, generation: 1 };
}

const again = (command: 'ir' | 'kur', as: CurlCredential, keyFile: string): Promise<Outcome> =>
  command === 'ir' ? openssl.activate(as, { keyFile }) : openssl.renew(as, { keyFile });

const LOST: readonly (readonly ['ir' | 'kur', LinePoint, string])[] = (['ir', 'kur'] as const).flatMap((command) => [
  [command, 'answer made, not handed over', 'pending'] as const,
  [command, 'certConf made, not handed over', 'pending'] as const,
  [command, 'certConf answered, the answer not handed over', 'confirmed'] as const,
]);

describe('an openssl that loses a message of its exchange', () => {
  test.each(LOST)('%s, %s: with its key again it gets the very certificate', async (command, point, state) => {
    const { unit, as, generation } = await unitBefore(command);
    const keyFile = await openssl.newKey();
    await loseAt(point, command, as, keyFile);
    const slots = await life.generations(unit);
    expect(slots.at(-1)).toBe(`${generation} ${state}`);
    const op = issued(await again(command, as, keyFile));
    expect(await life.generations(unit)).toHaveLength(slots.length);
    expect(await life.headOf(unit)).toBe(life.serialOf(op));
    expect(await life.generations(unit)).toContain(`${generation} confirmed`);
    expect([await life.forks(unit), await life.stateOf(unit)]).toEqual([[], 'ACTIVE']);
  });

  test.each(LOST.filter(([, , state]) => state === 'pending'))(
    '%s, %s: with another key it replaces what it never had, once',
    async (command, point) => {
      const { unit, as, generation } = await unitBefore(command);
      await loseAt(point, command, as, await openssl.newKey());
      issued(await again(command, as, await openssl.newKey()));
      expect((await life.generations(unit)).slice(-2)).toEqual([`${generation} displaced`, `${generation} confirmed`]);
      await life.work();
      expect([await life.forks(unit), await life.stateOf(unit)]).toEqual([['soft'], 'ACTIVE']);
    },
  );
});

describe('somebody who takes out every certConf, for ever', () => {
  test('cannot keep the unit from its certificate: it asks for implicit confirmation, and its first use confirms', async () => {
    const { unit, op } = await cmp.activeUnit();
    const keyFile = await openssl.newKey();
    for (let tries = 0; tries < 3; tries++) await loseAt('certConf made, not handed over', 'kur', op, keyFile);
    expect(await life.generations(unit)).toEqual(['1 confirmed', '2 pending']);
    const pemFile = cmp.file('implicit.pem');
    const { code, text } = await runClient('openssl', [
      ...cmpArguments({ dir: cmp.world.dir, cmpPort: line.port }, 'kur', op),
      ...['-newkey', keyFile, '-certout', pemFile, '-implicit_confirm'],
    ]);
    expect([code, text]).toEqual([0, expect.stringContaining('received KUP')]);
    await life.useAtGateway({ pemFile, keyFile });
    expect(await life.generations(unit)).toEqual(['1 confirmed', '2 confirmed']);
    expect(await life.forks(unit)).toEqual([]);
  });

  test('cannot by the old certificate either: as long as the new one is pending, both connect, and the unit may go on by EST', async () => {
    const { unit, op } = await cmp.activeUnit();
    const keyFile = await openssl.newKey();
    await loseAt('certConf made, not handed over', 'kur', op, keyFile);
    await life.useAtGateway(op);
    const next = issued(await est.renew(op, { keyFile }));
    await life.useAtGateway(next);
    await life.useAtGateway(op); // within the hour
    issued(await est.renew(next));
    expect(await life.generations(unit)).toEqual(['1 confirmed', '2 confirmed', '3 pending']);
    expect(await life.forks(unit)).toEqual([]);
  });
});

describe('two clients of one unit at once', () => {
  test('with one key: one certificate, for both', async () => {
    const { unit, op } = await cmp.activeUnit();
    const keyFile = await openssl.newKey();
    const ops = (await Promise.all([1, 2, 3].map(() => openssl.renew(op, { keyFile })))).map(issued);
    expect(new Set(ops.map((one) => life.serialOf(one))).size).toBe(1);
    expect(await life.generations(unit)).toEqual(['1 confirmed', '2 confirmed']);
    expect(await life.forks(unit)).toEqual([]);
  });

  test('one of them by CMP and one by EST, after an answer was lost: one certificate, for both', async () => {
    const { unit, op } = await cmp.activeUnit();
    const keyFile = await openssl.newKey();
    await loseAt('answer made, not handed over', 'kur', op, keyFile);
    const [one, other] = await Promise.all([openssl.renew(op, { keyFile }), est.renew(op, { keyFile })]);
    expect(life.serialOf(issued(one))).toBe(life.serialOf(issued(other)));
    expect(await life.generations(unit)).toEqual(['1 confirmed', '2 confirmed']);
  });
});

test('after all that was lost the record hangs together', async () => {
  expect(await life.audit()).toEqual([]);
});
