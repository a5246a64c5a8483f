import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { barKey } from '../../../src/platform/hsm/barred-keys.js';
import { run } from '../../support/command.js';
import type { CurlCredential } from '../../support/curl-unit.js';
import { type RolloverWorld, startRolloverWorld } from '../../support/rollover-world.js';
import { leafRequest } from '../../support/tbs.js';

let rollover: RolloverWorld;
let gateway: CurlCredential & { name: string };
beforeAll(async () => {
  rollover = await startRolloverWorld();
  gateway = await rollover.world.addGateway('segw-1');
}, 60_000);
afterAll(() => rollover.close());

const sha256 = (label: string) => rollover.world.token.entry(label).certificateSha256;
const office = () => rollover.world.core.caOffice;
const alone = async (): Promise<string> => 'person:approver';

/** openssl's verdict with the CRL of the issuing CA, of the root, and nothing else to trust. */
function verified({ pemFile }: CurlCredential, ca: string): string {
  const { world, crlDir } = rollover;
  const file = (name: string, text: string): string => {
    writeFileSync(join(world.dir, name), text);
    return join(world.dir, name);
  };
  const pemOfCrl = (path: string) => run('openssl', ['crl', '-inform', 'DER', '-in', path]).text;
  const crls = [join(crlDir, `${ca}.crl`), join(world.token.dataDir, 'ca', 'access-root.crl')].map(pemOfCrl).join('');
  const untrusted = file('untrusted.pem', world.token.entry(ca).certificatePem);
  const trust = ['-CAfile', join(world.dir, 'access-root.pem'), '-untrusted', untrusted];
  return run('openssl', ['verify', '-crl_check_all', '-CRLfile', file('crls.pem', crls), ...trust, pemFile]).text;
}

/** CAs of new units, until as many are seen; which unit has which follows from its id. */
async function issuersOf(units: number, wanted: number): Promise<string[]> {
  const found = new Set<string>();
  for (let at = 0; at < units && found.size < wanted; at += 1) {
    found.add(rollover.issuerOf((await rollover.activeUnit()).op));
  }
  return [...found].sort();
}

/** Something under this CA is revoked, and a CRL says so. */
async function nextCrl(label: string): Promise<Buffer> {
  const { core } = rollover.world;
  const issuer = (await core.issuers.all()).find((one) => one.label === label);
  const notAfter = new Date(Date.now() + 86_400_000);
  const serial = Buffer.concat([Buffer.from([1]), randomBytes(15)]);
  const revoked = { issuerId: issuer?.id ?? 0, serial, notAfter, spkiHash: randomBytes(32) };
  await core.transactor.run((tx) =>
    core.revocation.revokeUnrecorded(tx, revoked, { actor: 'test', at: core.clock.now() }),
  );
  await rollover.publish();
  return readFileSync(join(rollover.crlDir, `${label}.crl`));
}

describe('a spare Device CA (HSM-4, H11)', () => {
  let old: { id: number; op: CurlCredential };
  let oldByCmp: { id: number; op: CurlCredential };

  test('is not taken into use before its CRL is published and every gateway has acknowledged it', async () => {
    old = await rollover.activeUnit();
    oldByCmp = await rollover.activeUnit(rollover.cmp);
    const activate = () => office().activate({ label: 'device-ca-2', actor: 'person:operator' }, alone);
    await expect(activate()).rejects.toMatchObject({ code: 'STATE_CONFLICT', message: expect.stringContaining('CRL') });
    await rollover.publish();
    const refusal = { code: 'STATE_CONFLICT', message: expect.stringContaining('device-ca-2: segw-1') };
    await expect(activate()).rejects.toMatchObject(refusal);
    expect(await rollover.acknowledge(gateway, sha256('services-ca'))).toBe(404);
    expect(await rollover.acknowledge(gateway, sha256('access-root'))).toBe(200);
    await expect(activate()).rejects.toMatchObject(refusal);
    const { rows } = await rollover.world.db.pool.query(`SELECT state FROM issuer WHERE label = 'device-ca-2'`);
    expect(rows).toEqual([{ state: 'spare' }]);
  });

  test('comes into use by two people while everything runs, and takes its share of new certificates', async () => {
    const shown = await rollover.world.client.call('GET', '/v1/anchors', { as: gateway });
    const spare = shown.body.cas.find(({ label }: { label: string }) => label === 'device-ca-2');
    expect(spare).toMatchObject({ state: 'spare', sha256: sha256('device-ca-2') });
    expect(await rollover.acknowledge(gateway, spare.sha256)).toBe(200);
    await expect(
      rollover.femtopki('operator', 'ca', 'activate', 'device-ca-2', '--reason', 'because I want it'),
    ).rejects.toThrow('APPROVAL_REQUIRED');
    expect(JSON.parse(await rollover.byTwo('activate', 'device-ca-2'))).toMatchObject({ state: 'active' });
    expect(await issuersOf(12, 2)).toEqual(['device-ca-1', 'device-ca-2']);
    const { rows } = await rollover.world.db.pool.query<{ body: string }>(
      `SELECT body FROM ledger_inbox WHERE kind IN ('ca.acknowledged', 'ca.activated') AND subject = 'issuer:device-ca-2' ORDER BY id`,
    );
    expect(rows.map(({ body }) => JSON.parse(body))).toMatchObject([
      { gateway: 'segw-1', actor: 'machine:segw-1' },
      { actor: 'person:operator', approvedBy: 'person:approver' },
    ]);
  }, 60_000);

  test('retired, a CA issues nothing: the next generation of its units comes from another', async () => {
    await expect(
      office().retire({ label: 'bootstrap-ca', reason: 'no other', actor: 'x' }, alone),
    ).rejects.toMatchObject({
      code: 'STATE_CONFLICT',
    });
    const [before] = (await office().list()).filter(({ label }) => label === 'device-ca-1');
    expect(before).toMatchObject({ state: 'active', lastCertificateEndsAt: null });
    await office().retire({ label: 'device-ca-1', reason: 'ends in spring', actor: 'person:operator' }, alone);
    expect(await issuersOf(3, 2)).toEqual(['device-ca-2']);
    expect(rollover.issuerOf(old.op)).toBe('device-ca-1');
    for (const [protocol, { op }] of [
      [rollover.rest, old],
      [rollover.cmp, oldByCmp],
    ] as const) {
      expect([protocol.name, rollover.issuerOf(op)]).toEqual([protocol.name, 'device-ca-1']);
      const renewed = await protocol.renew(op);
      if (renewed.kind !== 'issued') throw new Error(JSON.stringify(renewed));
      expect([protocol.name, rollover.issuerOf(renewed.op)]).toEqual([protocol.name, 'device-ca-2']);
    }
  });

  test('its certificates and its CRL go on, openssl verifies both CAs’ leaves, and the table says until when', async () => {
    const before = readFileSync(join(rollover.crlDir, 'device-ca-1.crl'));
    expect(await nextCrl('device-ca-1')).not.toEqual(before);
    const young = await rollover.activeUnit();
    expect(verified(old.op, 'device-ca-1')).toContain(': OK');
    expect(verified(young.op, 'device-ca-2')).toContain(': OK');
    const shown = JSON.parse(await rollover.femtopki('operator', 'ca', 'list', '-o', 'json')) as Record<
      string,
      string
    >[];
    const closing = shown.find(({ label }) => label === 'device-ca-1');
    const { rows: last } = await rollover.world.db.pool.query<{ end: Date }>(
      `SELECT max(not_after) AS "end" FROM certificate
       WHERE issuer_id = (SELECT id FROM issuer WHERE label = 'device-ca-1')`,
    );
    expect(closing).toMatchObject({ state: 'closing', lastCertificateEndsAt: last[0]?.end.toISOString() });
    expect(await office().settleClosing()).toEqual([]);
  });

  test('never issues again: not by an act, not by an edited row, and not at the signer once its key is barred', async () => {
    const { world } = rollover;
    const activate = office().activate({ label: 'device-ca-1', actor: 'person:operator' }, alone);
    await expect(activate).rejects.toMatchObject({ code: 'UNKNOWN_ISSUER' });
    await expect(world.db.pool.query(`UPDATE issuer SET state = 'active' WHERE label = 'device-ca-1'`)).rejects.toThrow(
      'cannot become active',
    );
    const enrol = world.token.connect('enrol');
    const rollback = () => enrol.sign([leafRequest({ issuer: world.token.entry('device-ca-1') })]);
    expect(await rollback()).toMatchObject([{ ok: true }]);
    barKey(join(world.token.dataDir, 'signer'), 'device-ca-1');
    expect(await rollback()).toMatchObject([{ ok: false, code: 'UNKNOWN_ISSUER' }]);
    expect(await enrol.sign([leafRequest({ issuer: world.token.entry('device-ca-2') })])).toMatchObject([{ ok: true }]);
    const before = readFileSync(join(rollover.crlDir, 'device-ca-1.crl'));
    expect(await nextCrl('device-ca-1')).not.toEqual(before);
  });

  test('becomes retired when its last certificate has ended, and the ledger says so once', async () => {
    const { db } = rollover.world;
    await db.pool.query(`UPDATE issuer SET closed_at = now() - interval '2 minutes' WHERE label = 'device-ca-1'`);
    await db.pool.query(
      `DELETE FROM revoked_certificate WHERE issuer_id = (SELECT id FROM issuer WHERE label = 'device-ca-1')`,
    );
    await db.pool.query(
      `DELETE FROM certificate WHERE issuer_id = (SELECT id FROM issuer WHERE label = 'device-ca-1') AND not_after > now()`,
    );
    expect(await office().settleClosing()).toEqual(['device-ca-1']);
    const { rows } = await db.pool.query(`SELECT count(*)::int AS n FROM ledger_inbox WHERE kind = 'ca.retired'`);
    expect(rows).toEqual([{ n: 1 }]);
  });
});
