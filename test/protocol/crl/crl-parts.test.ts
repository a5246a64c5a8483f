import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { crlPartsLife } from '../../../src/apps/doctor-crl.js';
import { housekeeping } from '../../../src/jobs/housekeeping.pg.js';
import { crlStore } from '../../../src/lifecycle/status/crl-store.pg.js';
import type { CrlPartsPublisher, CrlPublisher } from '../../../src/lifecycle/status/index.js';
import { makeCrlShelf } from '../../../src/protocol/crl/crl-shelf.js';
import { crlEntries, readCrl } from '../../../src/x509/crl.js';
import { shardOfSerial } from '../../../src/x509/crl-part.js';
import { type JudgingSigner, judgingSigner } from '../../support/judging-signer.js';
import { openStatusRooms, type StatusRooms } from '../../support/status-rooms.js';
import { type StatusWorld, startStatusWorld } from '../../support/status-world.js';

let world: StatusWorld;
let rooms: StatusRooms;
let signer: JudgingSigner;
let crls: CrlPublisher;
let parts: CrlPartsPublisher;
let offsetMs = 0;
const clock = { now: () => new Date(Date.now() + offsetMs) };

beforeEach(async () => {
  offsetMs = 0;
  world = await startStatusWorld({ clock });
  rooms = openStatusRooms(world, clock);
  signer = judgingSigner(world, () => clock.now().getTime());
  crls = rooms.publisher({ signer, freshestCrlUrlOf: (label) => `http://127.0.0.1:8080/crl/${label}.delta.crl` });
  parts = rooms.partsPublisher({ signer, deltas: true, shards: 4 });
});
afterEach(async () => {
  rooms.remove();
  await world.close();
});

const kim = { actor: 'person:kim', personId: null, reason: 'keyCompromise', note: 'stolen' } as const;
const file = (part: string) => join(rooms.crlDir, `device-ca-1${part}.crl`);
const list = (part = '') => readCrl(readFileSync(file(part)));
const said = (part: string) =>
  [...crlEntries(list(part))].map(({ serial, reason }) => `${serial.toString('hex')} ${reason}`).sort();

async function newUnit(): Promise<{ id: number; hex: string; serial: Buffer }> {
  const { id } = await world.addUnit();
  const { serial } = await world.issue({ unitId: id, generation: 1 });
  return { id, hex: serial.toString('hex'), serial };
}
const of = ({ id }: { id: number }) => ({ ...kim, selection: { by: 'unit', unitId: id } as const });

/** As the worker looks: complete CRLs, then their parts. */
async function look() {
  const published = await crls.publishDue();
  return { published, parts: await parts.publishDue() };
}

describe('deltas that follow the complete CRLs', () => {
  test('a delta lists what was revoked, held and let go since a base that a cache may still hold', async () => {
    const [early, stolen, held, briefly] = [await newUnit(), await newUnit(), await newUnit(), await newUnit()];
    await rooms.revocation.hold(of(early));
    await look();
    expect(existsSync(file('.delta'))).toBe(false);
    expect(list().freshestCrlUrls).toEqual(['http://127.0.0.1:8080/crl/device-ca-1.delta.crl']);

    await rooms.revocation.revoke(of(stolen));
    await rooms.revocation.hold(of(held));
    await rooms.revocation.hold(of(briefly));
    await look();
    expect(list('.delta')).toMatchObject({ number: 2n, deltaBase: 1n, thisUpdate: list().thisUpdate });
    expect(said('.delta')).toEqual(
      [`${stolen.hex} keyCompromise`, `${held.hex} certificateHold`, `${briefly.hex} certificateHold`].sort(),
    );

    // One that the base lists, and one that only a CRL after the base did: both are taken away again.
    await rooms.revocation.release({ ...kim, unitId: early.id });
    await rooms.revocation.release({ ...kim, unitId: briefly.id });
    await rooms.revocation.revoke(of(held));
    await look();
    expect(list('.delta')).toMatchObject({ number: 3n, deltaBase: 1n });
    expect(said('.delta')).toEqual(
      [
        `${stolen.hex} keyCompromise`,
        `${held.hex} keyCompromise`,
        `${early.hex} removeFromCRL`,
        `${briefly.hex} removeFromCRL`,
      ].sort(),
    );
    expect(signer.refusals).toEqual([]);
  });

  test('a half-spent base gives way to the newest complete CRL', async () => {
    await look();
    offsetMs = 3.5 * 3_600_000;
    await look();
    expect(list('.delta')).toMatchObject({ number: 2n, deltaBase: 1n });
    offsetMs += 3_700_000;
    await look();
    expect(list('.delta')).toMatchObject({ number: 3n, deltaBase: 2n });
    expect(signer.refusals).toEqual([]);
  });

  test('an answer that was lost is asked for again, and a signer that says no keeps no complete CRL back', async () => {
    await look();
    await rooms.revocation.revoke(of(await newUnit()));
    await crls.publishDue();
    signer.loseAnswers(true);
    expect(await parts.publishDue()).toMatchObject([{ issuer: 'device-ca-1', outcome: 'failed' }]);
    signer.loseAnswers(false);
    offsetMs += 6_000;
    expect(await parts.publishDue()).toMatchObject([{ issuer: 'device-ca-1', outcome: 'published', number: 2 }]);

    world.breakSigner(true);
    await rooms.revocation.revoke(of(await newUnit()));
    world.breakSigner(false);
    await crls.publishDue();
    world.breakSigner(true);
    expect((await parts.publishDue())[0]).toMatchObject({ outcome: 'failed', error: { code: 'HSM_UNAVAILABLE' } });
    world.breakSigner(false);
    expect(list()).toMatchObject({ number: 3n, entryCount: 2 });
    // A newer complete CRL in between: the parts follow that one.
    await rooms.revocation.revoke(of(await newUnit()));
    offsetMs += 6_000;
    await look();
    expect(list('.delta')).toMatchObject({ number: 4n, entryCount: 3 });
  });
});

describe('shards beside the complete CRL', () => {
  test('the shards together list what the complete CRL lists, each serial in its own; an unchanged one waits', async () => {
    const units = [await newUnit(), await newUnit(), await newUnit(), await newUnit(), await newUnit()];
    for (const unit of units) await rooms.revocation.revoke(of(unit));
    const first = await look();
    expect(first.parts).toMatchObject([{ issuer: 'device-ca-1', parts: [0, 1, 2, 3].map((n) => `shard-4-${n}`) }]);
    for (const index of [0, 1, 2, 3]) {
      const mine = units.filter(({ serial }) => shardOfSerial(serial, 4) === index);
      expect(said(`.shard-4-${index}`)).toEqual(mine.map(({ hex }) => `${hex} keyCompromise`).sort());
      const { distributionPoint } = list(`.shard-4-${index}`);
      expect(distributionPoint?.urls).toEqual([`http://127.0.0.1:8080/crl/device-ca-1.shard-4-${index}.crl`]);
    }
    const one = await newUnit();
    await rooms.revocation.revoke(of(one));
    const index = shardOfSerial(one.serial, 4);
    expect((await look()).parts).toMatchObject([{ parts: ['delta', `shard-4-${index}`] }]);
    offsetMs = 3_700_000;
    expect((await look()).parts[0]?.parts).toEqual(['delta', ...[0, 1, 2, 3].map((n) => `shard-4-${n}`)]);
    expect(signer.refusals).toEqual([]);
  });

  test('a part whose file has gone is put back, and other CAs than Device CAs have no shards', async () => {
    await look();
    rmSync(file('.shard-4-2'));
    offsetMs = 31_000;
    expect((await look()).parts).toMatchObject([{ outcome: 'file-restored', parts: ['shard-4-2'] }]);
    expect(list('.shard-4-2').number).toBe(1n);
    expect(existsSync(join(rooms.crlDir, 'services-ca.shard-4-0.crl'))).toBe(false);
  });

  test('a shard that lies under the complete CRL’s name is never served, nor is a delta', async () => {
    await rooms.revocation.revoke(of(await newUnit()));
    await look();
    await rooms.revocation.revoke(of(await newUnit()));
    await look();
    const troubles: unknown[] = [];
    const shelf = makeCrlShelf({
      directories: [rooms.crlDir],
      newerCrls: async () => [],
      certificates: async () => [],
      onTrouble: (error) => troubles.push(error),
    });
    await shelf.refresh();
    const whole = readFileSync(file(''));
    expect(shelf.crl('device-ca-1')?.body).toEqual(whole);
    expect(shelf.crl('device-ca-1.delta')?.body).toEqual(readFileSync(file('.delta')));
    offsetMs = 7_200_000;
    await look();
    for (const part of ['.shard-4-0', '.delta']) {
      writeFileSync(file(''), readFileSync(file(part)));
      await shelf.refresh();
      expect(shelf.crl('device-ca-1')?.body).toEqual(whole);
    }
    expect(troubles.map(String).join()).toContain('is of another kind than its name says');
  });
});

test('doctor misses shards that were promised and a delta that does not follow, and names what has ended', async () => {
  const seen = (status: { crlDeltas: boolean; crlShards: number }) =>
    crlPartsLife(rooms.crlDir, ['device-ca-1'], status);
  const on = { crlDeltas: true, crlShards: 4 };
  // Long enough ago for a part to be late.
  offsetMs = -7_200_000;
  expect((await seen(on)).severity).toBe('critical');
  await look();
  await rooms.revocation.revoke(of(await newUnit()));
  await look();
  expect(await seen(on)).toMatchObject({ severity: 'ok', evidence: '5 parts lie published' });
  await rooms.revocation.revoke(of(await newUnit()));
  await crls.publishDue();
  expect(await seen(on)).toMatchObject({
    severity: 'critical',
    evidence: expect.stringContaining('device-ca-1.delta'),
  });
  await parts.publishDue();
  rmSync(file('.shard-4-1'));
  expect(await seen(on)).toMatchObject({
    severity: 'critical',
    evidence: expect.stringContaining('shard-4-1 missing'),
  });
});

test('parts that were switched off are told when they end, and their bytes go a day later; the rows stay', async () => {
  offsetMs = -48 * 3_600_000;
  await look();
  await rooms.revocation.revoke(of(await newUnit()));
  await look();
  const off = { crlDeltas: false, crlShards: 0 };
  expect(await crlPartsLife(rooms.crlDir, ['device-ca-1'], off)).toMatchObject({
    severity: 'warning',
    evidence: expect.stringContaining('ended and nothing follows them'),
  });
  const partRows = () => world.db.pool.query('SELECT part, number, tbs_sha256, sha256 FROM crl_part ORDER BY 1, 2');
  const before = (await partRows()).rows;
  const removed = await housekeeping.purge(world.transactor.read);
  expect(removed).toMatchObject({ 'crl_part.der': 5, 'crl_parts_state.base_der': 3 });
  expect((await partRows()).rows).toEqual(before);
  const { rows } = await world.db.pool.query('SELECT 1 FROM crl_part WHERE der IS NOT NULL');
  expect(rows).toEqual([]);
  // Switched on again it goes on, with a new base.
  offsetMs = 0;
  await look();
  await rooms.revocation.revoke(of(await newUnit()));
  await look();
  expect(list('.delta')).toMatchObject({ number: 4n, deltaBase: 3n });
  expect(signer.refusals).toEqual([]);
});

test('without the settings there are no parts, and `crl` never holds one', async () => {
  await look();
  await rooms.revocation.revoke(of(await newUnit()));
  await look();
  const { rows } = await world.db.pool.query('SELECT number FROM crl WHERE issuer_id = $1 ORDER BY 1', [
    world.deviceCa.id,
  ]);
  expect(rows.map(({ number }) => number)).toEqual([1, 2]);
  const der = await crlStore.der(world.transactor.read, { issuerId: world.deviceCa.id, number: 2 });
  expect(readCrl(der ?? Buffer.alloc(0))).toMatchObject({ deltaBase: undefined, distributionPoint: undefined });
  const off = rooms.partsPublisher({ signer });
  offsetMs = 7_200_000;
  await crls.publishDue();
  expect((await off.publishDue()).filter(({ outcome }) => outcome === 'published')).toEqual([]);
});
