/** Faults S1 to S5 for deltas and shards: whatever happens to them, the complete CRL does not hear of it. */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { CrlFiles, CrlPartsDeps, CrlPublisher, PartOutcome } from '../../src/lifecycle/status/index.js';
import { armFailpoints } from '../../src/platform/failpoint.js';
import { makeCrlDirectory } from '../../src/protocol/crl/crl-directory.js';
import { readCrl } from '../../src/x509/crl.js';
import { dyingPublisher } from '../support/dying-publisher.js';
import { type JudgingSigner, judgingSigner } from '../support/judging-signer.js';
import { openStatusRooms, type StatusRooms } from '../support/status-rooms.js';
import { type StatusWorld, startStatusWorld } from '../support/status-world.js';

const LABEL = 'device-ca-1';
const PARTS = ['delta', 'shard-2-0', 'shard-2-1'];
const kim = { actor: 'person:kim', personId: null, reason: 'keyCompromise', note: 'stolen' } as const;

let world: StatusWorld;
let rooms: StatusRooms;
let signer: JudgingSigner;
let crls: CrlPublisher;
let offsetMs = 0;
const clock = { now: () => new Date(Date.now() + offsetMs) };
const parts = (changes: Partial<CrlPartsDeps> = {}) =>
  rooms.partsPublisher({ signer, deltas: true, shards: 2, ...changes });
const file = (name: string) => join(rooms.crlDir, `${name}.crl`);
const list = (part: string) => readCrl(readFileSync(file(`${LABEL}.${part}`)));
const complete = () => readCrl(readFileSync(file(LABEL)));
const device = (outcomes: readonly PartOutcome[]) => outcomes.find(({ issuer }) => issuer === LABEL);

/** The complete CRL is number 2, its parts lie beside it. */
beforeEach(async () => {
  offsetMs = 0;
  world = await startStatusWorld({ clock });
  rooms = openStatusRooms(world, clock);
  signer = judgingSigner(world, () => clock.now().getTime());
  crls = rooms.publisher({ signer });
  const first = parts();
  await crls.publishDue();
  await first.publishDue();
  await revokeAndPublish();
  await first.publishDue();
  await leaseEnds();
});
afterEach(async () => {
  armFailpoints('');
  rooms.remove();
  await world.close();
});

async function revokeAndPublish(): Promise<void> {
  const unit = await world.addUnit();
  await world.issue({ unitId: unit.id, generation: 1 });
  await rooms.revocation.revoke({ ...kim, selection: { by: 'unit', unitId: unit.id } });
  await crls.publishDue();
}

/** That of the parts: their holder is dead or was paused. */
async function leaseEnds(): Promise<void> {
  await world.db.pool.query(
    `UPDATE lease SET expires_at = now() - interval '1 second' WHERE name = 'crl-parts-publication'`,
  );
}

async function numbersOf(part: string): Promise<number[]> {
  const { rows } = await world.db.pool.query<{ number: number }>(
    'SELECT number FROM crl_part WHERE issuer_id = $1 AND part = $2 ORDER BY number',
    [world.deviceCa.id, part],
  );
  return rows.map(({ number }) => number);
}

/** Both shards together say what the complete CRL says; the delta is of its number. */
function expectAllAt(number: bigint): void {
  expect(list('delta').number).toBe(number);
  expect(list('shard-2-0').entryCount + list('shard-2-1').entryCount).toBe(complete().entryCount);
  expect(readdirSync(rooms.crlDir).filter((name) => name.endsWith('.new'))).toEqual([]);
}

describe('S3: a worker killed while it publishes parts', () => {
  test.each([
    ['crl-parts-after-sign', 2],
    ['crl-parts-after-record', 3],
    ['crl-before-rename', 3],
    ['crl-before-rename@2', 3],
  ])(
    'SIGKILL at %s: old or new whole files, the complete CRL as it was, and the next worker goes on',
    async (point, recorded) => {
      await revokeAndPublish();
      const before = new Map(PARTS.map((part) => [part, readFileSync(file(`${LABEL}.${part}`))]));
      const whole = readFileSync(file(LABEL));
      expect(await dyingPublisher('parts', { url: world.db.url, crlDir: rooms.crlDir, signer }, `${point}:kill`)).toBe(
        'SIGKILL',
      );
      expect(readFileSync(file(LABEL))).toEqual(whole);
      expect((await numbersOf('delta')).at(-1)).toBe(recorded);
      for (const [part, old] of before) {
        const lies = readFileSync(file(`${LABEL}.${part}`));
        if (!lies.equals(old)) expect(list(part).number).toBe(3n);
      }
      await leaseEnds();
      await parts().publishDue();
      expectAllAt(3n);
      await revokeAndPublish();
      await leaseEnds();
      await parts().publishDue();
      expectAllAt(4n);
      expect(await numbersOf('delta')).toEqual([2, 3, 4]);
      expect(signer.refusals).toEqual([]);
    },
  );
});

describe('S2: publishers of parts that race', () => {
  test('eight at once: one works, and each number passes once', async () => {
    const publishers = Array.from({ length: 8 }, (_, index) => parts({ holder: `worker-${index}` }));
    for (let round = 0; round < 3; round += 1) {
      await revokeAndPublish();
      const outcomes = await Promise.all(publishers.map((publisher) => publisher.publishDue()));
      expect(outcomes.flat().filter(({ outcome }) => outcome === 'published')).toHaveLength(1);
    }
    expect(await numbersOf('delta')).toEqual([2, 3, 4, 5]);
    expectAllAt(5n);
  });

  test('eight that all believe they hold the lease: each number passes once, and the newest lies there', async () => {
    const leases = {
      acquire: async (name: string, holder: string) => ({ name, holder, fence: 1 }),
      renew: async () => true,
      release: async () => undefined,
      check: async () => undefined,
    };
    await revokeAndPublish();
    const publishers = Array.from({ length: 8 }, () => parts({ leases }));
    await Promise.all(publishers.map((publisher) => publisher.publishDue()));
    expect(await numbersOf('delta')).toEqual([2, 3]);
    expectAllAt(3n);
  });

  test('one that was paused past its lease records nothing', async () => {
    await revokeAndPublish();
    armFailpoints('crl-parts-after-sign:delay=300');
    const paused = parts().publishDue();
    while ((await signedDeltas()) < 2) await sleep(5);
    await world.db.pool.query(
      `UPDATE lease SET holder = 'other', fence = fence + 1, expires_at = now() + interval '1 minute' WHERE name = 'crl-parts-publication'`,
    );
    expect(device(await paused)).toMatchObject({ outcome: 'failed', error: { code: 'STATE_CONFLICT' } });
    expect(await numbersOf('delta')).toEqual([2]);
  });

  test('the one that yields brings the parts to the disk of its own host', async () => {
    const elsewhere = join(rooms.crlDir, 'other-host');
    mkdirSync(elsewhere);
    const holder = parts({ holder: 'elsewhere' });
    await holder.publishDue();
    offsetMs = 31_000;
    const idle = parts({ files: makeCrlDirectory(elsewhere), holder: 'idle', leases: noLease });
    const restored = (await idle.publishDue()).filter(({ outcome }) => outcome === 'file-restored');
    expect(restored.flatMap(({ parts: names }) => names).sort()).toEqual(expect.arrayContaining(PARTS));
    for (const part of PARTS)
      expect(readFileSync(join(elsewhere, `${LABEL}.${part}.crl`))).toEqual(readFileSync(file(`${LABEL}.${part}`)));
    expect(await numbersOf('delta')).toEqual([2]);
  });
});

const noLease = {
  acquire: async () => null,
  renew: async () => false,
  release: async () => undefined,
  check: async () => undefined,
};

async function signedDeltas(): Promise<number> {
  return world.signed.filter(({ name }) => name?.startsWith(`crl-part:${LABEL}:delta:`)).length;
}

describe('S5: a disk that takes no part', () => {
  test('the old parts stay whole, somebody is told, the complete CRL goes on, and with room the parts follow', async () => {
    const disk = makeCrlDirectory(rooms.crlDir);
    let isFull = true;
    const files: CrlFiles = {
      ...disk,
      publish: async (name, der) => {
        if (isFull) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
        return disk.publish(name, der);
      },
    };
    const publisher = parts({ files, holder: 'w' });
    await revokeAndPublish();
    expect(device(await publisher.publishDue())).toMatchObject({ outcome: 'failed' });
    for (const part of PARTS) expect(list(part).number).toBeLessThan(3n);
    await revokeAndPublish();
    expect(complete()).toMatchObject({ number: 4n, entryCount: 3 });
    isFull = false;
    offsetMs = 31_000;
    await publisher.publishDue();
    expectAllAt(4n);
  });
});

describe('T2: the clock, set back', () => {
  test('numbers of parts rise, and their times are those of the complete CRL, never below the last', async () => {
    const before = list('delta').thisUpdate;
    offsetMs = -7_200_000;
    await revokeAndPublish();
    await parts().publishDue();
    expectAllAt(3n);
    expect(list('delta').thisUpdate).toEqual(complete().thisUpdate);
    expect(list('delta').thisUpdate.getTime()).toBeGreaterThanOrEqual(before.getTime());
  });
});
