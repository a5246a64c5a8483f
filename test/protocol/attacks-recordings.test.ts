/**
 * Messages of an unmodified openssl that fell into other hands: sent and recorded, or held back and never delivered. Who
 * has them has no key; nothing they do with them may cost a certificate, hold anybody, or leave the unit stuck.
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readPkiMessage as readHeader } from '../../src/x509/cmp/index.js';
import { requestBody } from '../support/cmp-request.js';
import { holderOf, type Talk, talkTo, wish } from '../support/cmp-talk.js';
import { type CmpWorld, startCmpWorld } from '../support/cmp-world.js';
import { runClient } from '../support/command.js';
import type { CurlCredential } from '../support/curl-unit.js';
import type { WorldUnit } from '../support/device-world.js';
import { type Life, openLife } from '../support/life-world.js';
import { freePorts } from '../support/ports.js';
import { cmpArguments, type UnitProtocol, unitProtocols } from '../support/unit-protocols.js';

let cmp: CmpWorld;
let life: Life;
let talk: Talk;
let openssl: UnitProtocol;
let nowhere = 0;

beforeAll(async () => {
  cmp = await startCmpWorld();
  life = await openLife(cmp.world);
  talk = talkTo(cmp);
  const { dir, port } = cmp.world;
  const target = { dir, port, cmpPort: cmp.first.plainPort, useAtGateway: life.useAtGateway };
  openssl = unitProtocols(target).CMP;
  [nowhere = 0] = await freePorts(1);
});
afterAll(() => cmp.close());

interface HeldBack {
  readonly der: Buffer;
  readonly file: string;
  readonly keyFile: string;
}

/** What openssl would have sent, had there been anybody: the unit gives up, and the message is in the thief's hands. */
async function heldBack(command: 'ir' | 'kur', as: CurlCredential): Promise<HeldBack> {
  const [keyFile, file] = [await cmp.newKey(), cmp.file('held')];
  const { code } = await runClient('openssl', [
    ...cmpArguments({ dir: cmp.world.dir, cmpPort: nowhere }, command, as),
    ...['-newkey', keyFile, '-certout', cmp.file('none'), '-reqout', file],
  ]);
  expect(code).not.toBe(0);
  return { der: readFileSync(file), file, keyFile };
}

/** Through both replicas, twice. */
async function play(der: Buffer): Promise<Set<string>> {
  second ??= await cmp.addReplica();
  const said = new Set<string>();
  for (const replica of [cmp.first, second, cmp.first]) said.add((await talk.send(der, { replica })).said);
  return said;
}
let second: Awaited<ReturnType<CmpWorld['addReplica']>> | undefined;

async function nextOf(op: CurlCredential): Promise<CurlCredential> {
  const outcome = await openssl.renew(op);
  if (outcome.kind !== 'issued') throw new Error(JSON.stringify(outcome));
  return outcome.op;
}

/** Numbers and states of all certificates, and what stays of every fork. */
const stands = async (unit: WorldUnit) => ({
  slots: await life.generations(unit),
  forks: await life.forks(unit),
  state: await life.stateOf(unit),
});

describe('a kur that was recorded', () => {
  test('is worth its own answer while that is kept, then nothing, and after 40 days it waits for a proof that never comes', async () => {
    const { unit, op } = await cmp.activeUnit();
    const { sent, hasCertificate, certFile } = await cmp.openssl('kur', {
      as: op,
      flags: ['-newkey', await cmp.newKey(), '-disable_confirm'],
    });
    expect(hasCertificate).toBe(true);
    const recorded = sent[0] as Buffer;
    // The unit lost it, and came again with another key, which it uses.
    const used = await nextOf(op);
    const before = await stands(unit);
    expect(before).toEqual({ slots: ['1 confirmed', '2 displaced', '2 confirmed'], forks: ['soft'], state: 'ACTIVE' });

    expect(await play(recorded)).toEqual(new Set(['kup accepted']));
    // The certificate in that answer is the displaced one, of a key that the thief has not.
    expect(readFileSync(certFile, 'utf8')).not.toBe(readFileSync(used.pemFile, 'utf8'));
    await cmp.world.db.pool.query('UPDATE cmp_transaction SET response = NULL, request = NULL');
    expect(await play(recorded)).toEqual(new Set(['error rejection transactionIdInUse']));
    await cmp.world.db.pool.query('DELETE FROM cmp_transaction');
    expect(await play(recorded)).toEqual(new Set(['kup waiting']));

    expect(await stands(unit)).toEqual(before);
    await life.work();
    await nextOf(used);
    expect(await life.stateOf(unit)).toBe('ACTIVE');
  });
});

describe('kurs that were held back', () => {
  test('played one by one at every turn of the unit’s life: at most one soft displacement, no fork, never stuck', async () => {
    const { unit, op } = await cmp.activeUnit();
    const [one, two, three] = [await heldBack('kur', op), await heldBack('kur', op), await heldBack('kur', op)];
    // 1. Nobody spoke since: the request is the unit's own, so it is served, for the unit's own key.
    expect(await play(one.der)).toEqual(new Set(['kup accepted']));
    expect(await life.generations(unit)).toEqual(['1 confirmed', '2 pending']);
    // 2. The unit never heard of it, and comes with another key; the thief adds the next message.
    const [, renewed] = await Promise.all([talk.send(two.der), openssl.renew(op)]);
    expect(renewed.kind).toBe('issued');
    expect(await life.generations(unit)).toEqual(['1 confirmed', '2 displaced', '2 confirmed']);
    // 3. After its confirmation, and after the next generation: the old key is not proved by an old message.
    for (const { der } of [two, three]) expect(await play(der)).toEqual(new Set(['kup waiting']));
    const second = (renewed as { op: CurlCredential }).op;
    const late = await heldBack('kur', second);
    const third = await nextOf(second);
    for (const { der } of [one, two, three, late]) await play(der);
    await life.work();
    expect(await stands(unit)).toEqual({
      slots: ['1 confirmed', '2 displaced', '2 confirmed', '3 confirmed'],
      forks: ['soft'],
      state: 'ACTIVE',
    });
    await nextOf(third);
    expect((await life.ask(third)).verdict).toBe('permit');
  });
});

describe('an ir that was held back', () => {
  test('neither contests the activation that came after it, nor takes over from it under a grant that two people gave since', async () => {
    const unit = await cmp.world.addUnit();
    await cmp.order(unit);
    const held = await heldBack('ir', unit);
    const activated = await openssl.activate(unit);
    if (activated.kind !== 'issued') throw new Error(JSON.stringify(activated));
    expect(await play(held.der)).toEqual(new Set(['ip waiting']));

    // A worse moment: the unit is to be replaced, and an order for it is open.
    await cmp.world.rooms.enrolment.createGrant({
      unitId: unit.id,
      kind: 'order',
      lineId: unit.lineId,
      createdBy: 'person:kim',
      approvedBy: 'person:lee',
      lifeSeconds: 86_400,
    });
    await cmp.world.db.pool.query('DELETE FROM cmp_transaction');
    expect(await play(held.der)).toEqual(new Set(['ip waiting']));
    await life.work();
    expect(await stands(unit)).toEqual({ slots: ['1 confirmed'], forks: [], state: 'ACTIVE' });
    expect((await life.ask(activated.op)).verdict).toBe('permit');
    await nextOf(activated.op);
  });
});

describe('a transactionID that was squatted', () => {
  test('before, while and after its owner uses it: openssl sends its very message and gets and confirms its certificate', async () => {
    const [victim, thief] = [await cmp.activeUnit(), await cmp.activeUnit()];
    const held = await heldBack('kur', victim.op);
    const { transactionId = null, senderNonce = null } = readHeader(held.der);
    const by = holderOf(thief.op);
    const squat = (body: Buffer, recipNonce: Buffer | null = null) =>
      talk.send(talk.message(by, body, { transactionId, recipNonce }));
    // The thief's own exchange under the victim's name, open and waiting for its certConf.
    expect((await squat(requestBody.kur(wish()))).said).toBe('kup accepted');
    expect((await squat(requestBody.pollReq(0), senderNonce)).said).toContain('kup accepted');

    const flags = ['-newkey', held.keyFile, '-reqin', held.file, '-disable_confirm'];
    const run = await cmp.openssl('kur', { as: victim.op, flags });
    expect(run).toMatchObject({ code: 0, hasCertificate: true });
    // The victim's answer was overheard, too: its nonce and certificate under the thief's protection confirm nothing.
    const kup = readHeader(run.received[0] as Buffer);
    const certificateDer = holderOf({ pemFile: run.certFile, keyFile: held.keyFile }).der;
    await squat(requestBody.certConf({ certificateDer, status: 0 }), kup.senderNonce ?? null);
    await squat(requestBody.certConf({ certificateDer, status: 2 }), kup.senderNonce ?? null);
    expect(await life.generations(victim.unit)).toEqual(['1 confirmed', '2 pending']);

    const again = await openssl.renew(victim.op, { keyFile: held.keyFile });
    expect(again.kind).toBe('issued');
    await life.work();
    expect(await stands(victim.unit)).toEqual({ slots: ['1 confirmed', '2 confirmed'], forks: [], state: 'ACTIVE' });
    expect(await life.stateOf(thief.unit)).toBe('ACTIVE');
  });
});
