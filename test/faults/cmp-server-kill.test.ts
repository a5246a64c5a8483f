import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { reconcile } from '../../src/lifecycle/issuance/index.js';
import { issuanceStore } from '../../src/lifecycle/issuance/issuance-store.pg.js';
import { readPkiMessage } from '../../src/x509/cmp/index.js';
import { type CmpWorld, startCmpWorld } from '../support/cmp-world.js';
import { runClient } from '../support/command.js';
import type { CurlCredential } from '../support/curl-unit.js';
import type { WorldUnit } from '../support/device-world.js';
import { startEnrolProcess } from '../support/enrol-process.js';
import { type Life, openLife } from '../support/life-world.js';
import { cmpArguments } from '../support/unit-protocols.js';

let cmp: CmpWorld;
let life: Life;
beforeAll(async () => {
  cmp = await startCmpWorld();
  life = await openLife(cmp.world);
  await cmp.world.db.pool.query('UPDATE batch SET unit_count = 1000');
});
afterAll(() => cmp.close());

/** Where the server dies, and how the certificate stands then: asked for only, signed, or recorded and unanswered. */
const POINTS: readonly (readonly [point: string, standing: string])[] = [
  ['after-intent', 'T1 committed, nothing signed'],
  ['after-sign', 'signed, not recorded'],
  ['before-issue-commit', 'inside T2'],
  ['after-issue', 'T2 committed, no answer'],
  ['cmp-before-answer', 'the answer made, not stored'],
];
/** An activation has one thing more to lose, the grant: before T2 it is open, after it spent. */
const FOR_IR = new Set(['after-intent', 'after-issue']);

interface Cut {
  readonly unit: WorldUnit;
  readonly keyFile: string;
  readonly as: CurlCredential;
  readonly command: 'ir' | 'kur';
  /** The message as it was sent, DER. */
  readonly message: string;
}

/** openssl asks a server that dies at the point; its message is kept. */
async function dieAt(failpoint: string, command: Cut['command']): Promise<Cut> {
  const active = command === 'kur' ? await cmp.activeUnit() : null;
  const unit = active?.unit ?? (await cmp.world.addUnit());
  if (active === null) await cmp.order(unit);
  const as = active?.op ?? cmp.bootstrapOf(unit);
  const { cmpPort, ended } = await startEnrolProcess(cmp.world, `${failpoint}:kill`);
  const [keyFile, message] = [await cmp.newKey(), cmp.file('message')];
  const { code } = await runClient('openssl', [
    ...cmpArguments({ dir: cmp.world.dir, cmpPort }, command, as),
    ...['-newkey', keyFile, '-certout', cmp.file('none'), '-reqout', message],
  ]);
  expect(code).not.toBe(0);
  expect(await ended).toBe('SIGKILL');
  expect(existsSync(message)).toBe(true);
  return { unit, keyFile, as, command, message };
}

/** What the worker does every 15 s with what a dead server left; here at once. */
async function reconcileNow(): Promise<void> {
  await reconcile({ ...cmp.world.core, store: issuanceStore }, { signingLimitMs: 0 });
}

async function expectWell({ unit }: Cut, generation: number): Promise<void> {
  expect((await life.generations(unit)).filter((slot) => !slot.endsWith('abandoned')).at(-1)).toBe(
    `${generation} confirmed`,
  );
  expect(await life.stateOf(unit)).toBe('ACTIVE');
  expect(await life.forks(unit)).toEqual([]);
}

const generationOf = { kur: 2, ir: 1 } as const;

describe('an enrol-server killed between a request and its answer', () => {
  test.each<readonly [command: 'kur' | 'ir', point: string, standing: string]>([
    ...POINTS.map(([point, standing]) => ['kur', point, standing] as const),
    ...POINTS.filter(([point]) => FOR_IR.has(point)).map(([point, standing]) => ['ir', point, standing] as const),
  ])(
    '%s, %s (%s): the client starts again at another server, with its key, and gets its certificate',
    async (command, point) => {
      const cut = await dieAt(point, command);
      const again = cmp.openssl(command, { as: cut.as, flags: ['-newkey', cut.keyFile] });
      // It may find its own request under way, and waits until the worker has given that up.
      await sleep(300);
      await reconcileNow();
      expect(await again).toMatchObject({ code: 0, hasCertificate: true });
      await expectWell(cut, generationOf[command]);
    },
  );

  test.each([
    ['kur', 'after-intent'],
    ['kur', 'after-issue'],
    ['kur', 'cmp-before-answer'],
    ['ir', 'after-intent'],
    ['ir', 'after-issue'],
  ] as const)(
    '%s, %s: the very message, sent again when the dead are known to be dead, gets an answer for good',
    async (command, point) => {
      const cut = await dieAt(point, command);
      await buryDead();
      await reconcileNow();
      const flags = ['-newkey', cut.keyFile, '-reqin', cut.message, '-disable_confirm'];
      const answered = await cmp.openssl(command, { as: cut.as, flags });
      if (answered.code !== 0) throw new Error(answered.text);
      // Once it is answered, every repeat gets the same bytes, wherever it is sent.
      const { body } = await cmp.post(readFileSync(cut.message));
      expect(body).toEqual(answered.received[0]);
      await life.useAtGateway({ pemFile: answered.certFile, keyFile: cut.keyFile });
      await expectWell(cut, generationOf[command]);
    },
  );

  test('as long as its server may be alive, the very message is told to come again, and is not begun a second time', async () => {
    const cut = await dieAt('after-intent', 'kur');
    const { body } = readPkiMessage((await cmp.post(readFileSync(cut.message))).body);
    expect(body).toMatchObject({ kind: 'error', status: { failInfo: ['systemUnavail'] } });
    expect(await life.generations(cut.unit)).toEqual(['1 confirmed', '2 signing']);
    await reconcileNow();
  });
});

/** Half a minute passes, after which a claim without an answer is its server's no longer. */
async function buryDead(): Promise<void> {
  await cmp.world.db.pool.query(
    `UPDATE cmp_transaction SET claimed_at = claimed_at - interval '31 seconds' WHERE response IS NULL`,
  );
}

test('after all the deaths the record hangs together', async () => {
  expect(await life.audit()).toEqual([]);
});
