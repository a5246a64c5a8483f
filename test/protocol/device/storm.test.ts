import { randomUUID } from 'node:crypto';
import { cpSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { requestBody } from '../../support/cmp-request.js';
import { followUp, holderOf, talkTo, wish } from '../../support/cmp-talk.js';
import { type CmpReplica, type CmpWorld, startCmpWorld } from '../../support/cmp-world.js';
import type { CurlCredential } from '../../support/curl-unit.js';
import type { WorldUnit } from '../../support/device-world.js';
import { estUnit } from '../../support/est-unit.js';

let cmp: CmpWorld;
let replica: CmpReplica;
let unit: ReturnType<typeof estUnit>;

beforeAll(async () => {
  cmp = await startCmpWorld();
  const lane = { perSecond: 1_000, sourceShare: 0.5, patienceMs: 1_000 };
  replica = await cmp.addReplica({ storm: { renewals: lane, activations: lane } });
  // A directory of its own: each kind of unit numbers its files for itself.
  const dir = mkdtempSync(join(cmp.world.dir, 'units-'));
  cpSync(join(cmp.world.dir, 'services-root.pem'), join(dir, 'services-root.pem'));
  unit = estUnit(dir, replica.device.port);
});
afterAll(() => cmp.close());
beforeEach(() => setRate('open', 'renewal', 'activation'));

/** What another server's storm leaves: nothing, or an ordinary day. */
async function setRate(to: 'open' | 'used up', ...lanes: ('renewal' | 'activation')[]): Promise<void> {
  // A grant that this server still holds lapses within a second.
  await new Promise((done) => setTimeout(done, to === 'open' ? 0 : 1_100));
  for (const lane of lanes) {
    await cmp.world.db.pool.query(
      `INSERT INTO storm_rate VALUES ($1, $2, 0, now()) ON CONFLICT (lane) DO UPDATE SET tokens = $2`,
      [lane, to === 'open' ? 0 : -1e9],
    );
  }
}

async function renew(as: CurlCredential) {
  const nonce = await unit.nonce(as);
  const csr = await unit.csr(await unit.newKey(), nonce);
  return unit.rest('POST', '/v1/renew', {
    as,
    json: {
      csr: await unit.base64(csr),
      predecessorSignature: await unit.predecessorSignature(as.keyFile, nonce, csr),
    },
    headers: [`Idempotency-Key: ${randomUUID()}`],
  });
}

async function generations({ id }: WorldUnit): Promise<number> {
  const { rowCount } = await cmp.world.db.pool.query('SELECT 1 FROM lineage_slot WHERE unit_id = $1', [id]);
  return rowCount ?? 0;
}

describe('a storm whose rate is used up (REN-7)', () => {
  test('REST says 503, EST 202 (RFC 7030 section 4.2.3) and CMP waiting (RFC 9483 section 4.4), each with a moment', async () => {
    const { unit: who, op } = await cmp.activeUnit();
    await setRate('used up', 'renewal');

    const rest = await renew(op);
    expect(rest.status).toBe(503);
    expect(rest.body).toMatchObject({ code: 'RETRY_LATER' });
    expect(Number(/^retry-after: (\d+)/im.exec(rest.headers)?.[1])).toBeGreaterThanOrEqual(1);

    const overEst = await unit.enroll('simplereenroll', { as: op });
    expect(overEst.status).toBe(202);
    expect(Number(/^retry-after: (\d+)/im.exec(overEst.headers)?.[1])).toBeGreaterThanOrEqual(1);

    const talk = talkTo(cmp);
    const holder = holderOf(op);
    const kup = await talk.send(talk.message(holder, requestBody.kur(wish())), { replica });
    expect(kup.said).toBe('kup waiting');
    const poll = (last: typeof kup) => talk.message(holder, requestBody.pollReq(0), followUp(last));
    const pollRep = await talk.send(poll(kup), { replica });
    expect(pollRep.said).toBe('pollRep');

    expect(await generations(who)).toBe(1);
    await setRate('open', 'renewal');
    expect((await talk.send(poll(pollRep), { replica })).said).toBe('kup accepted');
    expect(await generations(who)).toBe(2);
  });

  test('who is told to come again is counted and fills no ledger', async () => {
    const { unit: who, op } = await cmp.activeUnit();
    const before = await cmp.world.ledgerKinds(who);
    await setRate('used up', 'renewal');
    expect((await renew(op)).status).toBe(503);
    expect(await cmp.world.ledgerKinds(who)).toEqual(before);
  });

  test('activations have a rate of their own, and renewals theirs', async () => {
    const { op } = await cmp.activeUnit();
    const [first, second] = [await cmp.world.addUnit(), await cmp.world.addUnit()];
    for (const fresh of [first, second]) await cmp.order(fresh);
    await setRate('used up', 'renewal');
    expect((await unit.enroll('simpleenroll', { as: cmp.bootstrapOf(first) })).status).toBe(200);
    await setRate('used up', 'activation');
    await setRate('open', 'renewal');
    expect((await unit.enroll('simpleenroll', { as: cmp.bootstrapOf(second) })).status).toBe(202);
    expect((await renew(op)).status).toBe(200);
  });

  test('revocation has no gate: a unit revokes itself while nothing is admitted', async () => {
    const { unit: who, op } = await cmp.activeUnit();
    await setRate('used up', 'renewal', 'activation');
    const { code, text } = await cmp.openssl('rr', {
      as: op,
      replica,
      flags: ['-oldcert', op.pemFile, '-revreason', '1'],
    });
    expect([code, text]).toEqual([0, expect.stringContaining('revocation accepted')]);
    const { rows } = await cmp.world.db.pool.query('SELECT state FROM unit WHERE id = $1', [who.id]);
    expect(rows).toEqual([{ state: 'SUSPENDED' }]);
  });
});

test('an ordinary day: nobody waits, whoever comes', async () => {
  const units = await Promise.all([1, 2, 3].map(() => cmp.activeUnit()));
  const answers = await Promise.all(units.map(({ op }) => renew(op)));
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
});
