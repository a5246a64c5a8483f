/** CRLs on their way from the disk to a store that others read: behind the disk, never in its way. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { crlSources } from '../../../src/apps/crl-store.js';
import { type CrlMirror, type CrlPublisher, makeCrlMirror } from '../../../src/lifecycle/status/index.js';
import { makeCrlBucket } from '../../../src/protocol/crl/crl-bucket.js';
import { readCrl } from '../../../src/x509/crl.js';
import { type JudgingSigner, judgingSigner } from '../../support/judging-signer.js';
import { type S3Store, STORE_KEY, STORE_REGION, startS3Store } from '../../support/s3-store.js';
import { openStatusRooms, type StatusRooms } from '../../support/status-rooms.js';
import { type StatusWorld, startStatusWorld } from '../../support/status-world.js';

let world: StatusWorld;
let rooms: StatusRooms;
let store: S3Store;
let signer: JudgingSigner;
let crls: CrlPublisher;
let mirror: CrlMirror;
let offsetMs = 0;
const clock = { now: () => new Date(Date.now() + offsetMs) };

beforeEach(async () => {
  offsetMs = 0;
  world = await startStatusWorld({ clock });
  rooms = openStatusRooms(world, clock);
  store = await startS3Store();
  signer = judgingSigner(world, () => clock.now().getTime());
  crls = rooms.publisher({ signer });
  mirror = mirrorOf(rooms.crlDir);
  mkdirSync(join(rooms.crlDir, 'ca'));
  await crls.publishDue();
});
afterEach(async () => {
  await store.close();
  rooms.remove();
  await world.close();
});

const NAME = 'device-ca-1';
const kim = { actor: 'person:kim', personId: null, reason: 'keyCompromise', note: 'stolen' } as const;
const onDisk = (name = NAME) => readFileSync(join(rooms.crlDir, `${name}.crl`));
const inStore = (name = NAME) => store.objects.get(`${name}.crl`)?.body;

/** As the worker of one host has it. */
function mirrorOf(crl: string): CrlMirror {
  const bucket = makeCrlBucket({ url: store.url, region: STORE_REGION, credentials: () => STORE_KEY });
  return makeCrlMirror({ sources: crlSources({ crl, ca: join(rooms.crlDir, 'ca') }), store: bucket, clock });
}

async function revokeOne(): Promise<void> {
  const { id } = await world.addUnit();
  await world.issue({ unitId: id, generation: 1 });
  await rooms.revocation.revoke({ ...kim, selection: { by: 'unit', unitId: id } });
}

test('what the disk has the store has: each CA, each part, the roots; and what has not changed is not sent', async () => {
  writeFileSync(join(rooms.crlDir, 'ca', 'access-root.crl'), world.rootCrl(world.roots.access));
  const parts = rooms.partsPublisher({ signer, deltas: true, shards: 2 });
  await parts.publishDue();
  await revokeOne();
  await crls.publishDue();
  await parts.publishDue();
  await mirror.copyDue();
  for (const name of [NAME, 'services-ca', 'bootstrap-ca', `${NAME}.delta`, `${NAME}.shard-2-0`, `${NAME}.shard-2-1`])
    expect(inStore(name)).toEqual(onDisk(name));
  expect(inStore('access-root')).toEqual(readFileSync(join(rooms.crlDir, 'ca', 'access-root.crl')));
  const asked = store.requests.length;
  expect(await mirror.copyDue()).toEqual([]);
  expect(store.requests.length).toBe(asked);
});

test('an object that was removed or spoilt is put back within a minute', async () => {
  await mirror.copyDue();
  store.objects.delete(`${NAME}.crl`);
  store.objects.set('services-ca.crl', { body: Buffer.from('spoilt'), etag: '"spoilt"', headers: {} });
  offsetMs = 61_000;
  expect(await mirror.copyDue()).toMatchObject([
    { name: NAME, outcome: 'copied' },
    { name: 'services-ca', outcome: 'copied' },
  ]);
  expect(inStore()).toEqual(onDisk());
  expect(inStore('services-ca')).toEqual(onDisk('services-ca'));
});

describe('a store that is away', () => {
  test('keeps nothing from the disk, is alarmed about and asked less and less, and gets the newest when it is back', async () => {
    await mirror.copyDue();
    const before = inStore();
    await store.setAway(true);
    await revokeOne();
    expect((await crls.publishDue()).map(({ outcome }) => outcome)).toEqual(['published']);
    expect(readCrl(onDisk())).toMatchObject({ number: 2n, entryCount: 1 });
    expect(await mirror.copyDue()).toMatchObject([{ name: NAME, outcome: 'failed', error: { code: 'RETRY_LATER' } }]);
    expect(await mirror.copyDue()).toEqual([]);
    offsetMs = 1_100;
    expect(await mirror.copyDue()).toHaveLength(1);
    offsetMs += 1_100;
    expect(await mirror.copyDue()).toEqual([]);
    expect(mirror.behindMs()).toBeGreaterThanOrEqual(2_200);

    await revokeOne();
    await crls.publishDue();
    await store.setAway(false);
    expect(inStore()).toEqual(before);
    offsetMs += 30_000;
    expect(await mirror.copyDue()).toEqual([{ name: NAME, outcome: 'copied', number: 3 }]);
    expect(inStore()).toEqual(onDisk());
    expect(mirror.behindMs()).toBe(0);
  });

  test('a clock set back by hours silences no retry', async () => {
    await store.setAway(true);
    await mirror.copyDue();
    await store.setAway(false);
    offsetMs = -7_200_000;
    expect((await mirror.copyDue()).map(({ outcome }) => outcome)).toEqual(['copied', 'copied', 'copied']);
  });
});

describe('several hosts', () => {
  test('the one whose disk is older writes nothing, and says so when it does not catch up', async () => {
    const behind = join(rooms.crlDir, 'other-host');
    mkdirSync(behind);
    writeFileSync(join(behind, `${NAME}.crl`), onDisk());
    await revokeOne();
    await crls.publishDue();
    await mirror.copyDue();
    const other = mirrorOf(behind);
    expect(await other.copyDue()).toEqual([]);
    offsetMs = 61_000;
    expect(await other.copyDue()).toMatchObject([
      { name: NAME, outcome: 'failed', error: { code: 'STATE_CONFLICT', facts: { theirs: 2, ours: 1 } } },
    ]);
    expect(inStore()).toEqual(onDisk());
  });

  test('a part under the name of a complete CRL is never copied', async () => {
    await mirror.copyDue();
    const whole = inStore();
    await revokeOne();
    await crls.publishDue();
    await rooms.partsPublisher({ signer, shards: 2 }).publishDue();
    writeFileSync(join(rooms.crlDir, `${NAME}.crl`), onDisk(`${NAME}.shard-2-0`));
    await mirror.copyDue();
    expect(inStore()).toEqual(whole);
    rmSync(join(rooms.crlDir, `${NAME}.crl`));
    await mirror.copyDue();
    expect(inStore()).toEqual(whole);
  });
});
