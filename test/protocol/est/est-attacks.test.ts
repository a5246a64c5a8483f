import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { CurlCredential } from '../../support/curl-unit.js';
import { type DeviceWorld, startDeviceWorld, type WorldUnit } from '../../support/device-world.js';
import { estUnit } from '../../support/est-unit.js';

let world: DeviceWorld;
let unit: ReturnType<typeof estUnit>;

beforeAll(async () => {
  world = await startDeviceWorld();
  unit = estUnit(world.dir, world.port);
});
afterAll(() => world.close());

async function activeUnit(): Promise<WorldUnit & { op: CurlCredential }> {
  const who = await world.addUnit();
  const { op } = await unit.enroll('simpleenroll', { as: who, code: await world.grant(who) });
  return { ...who, op: must(op) };
}

function must<T>(value: T | null): T {
  if (value === null) throw new Error('nothing was issued');
  return value;
}

/** First use of a certificate: over EST there is none, so a unit that has a gateway is confirmed there; here by `/v1`. */
const confirm = (as: CurlCredential) => unit.rest('POST', '/v1/confirm', { as });
const stateOf = async (who: WorldUnit): Promise<string> =>
  (await world.db.pool.query('SELECT state FROM unit WHERE id = $1', [who.id])).rows[0].state;
const certificatesOf = async (who: WorldUnit): Promise<number> =>
  (await world.db.pool.query('SELECT count(*)::int AS n FROM lineage_slot WHERE unit_id = $1', [who.id])).rows[0].n;
const forks = async (who: WorldUnit) =>
  (await world.ledger(who, 'lineage.forked')).map(({ grade, row }) => [grade, row]);
const grantOf = async (who: WorldUnit) =>
  (await world.db.pool.query('SELECT state, tries FROM activation_grant WHERE unit_id = $1 ORDER BY id DESC', [who.id]))
    .rows[0];

async function selfSigned(commonName: string): Promise<CurlCredential> {
  const keyFile = await unit.newKey();
  const pemFile = unit.file('self.pem');
  await unit.openssl(
    'req',
    '-x509',
    '-new',
    '-key',
    keyFile,
    '-subj',
    `/CN=${commonName}`,
    '-days',
    '2',
    '-out',
    pemFile,
  );
  return { keyFile, pemFile };
}

describe('the code without the unit’s bootstrap key (rules 3.2, 3.3)', () => {
  test('alone, with a self-signed certificate of the unit’s name, or with the stolen certificate and another key', async () => {
    const victim = await world.addUnit();
    const code = await world.grant(victim);
    const forged = await selfSigned(victim.fqdn);
    for (const path of ['simpleenroll', 'simplereenroll']) {
      expect((await unit.enroll(path, { code })).status).toBe(401);
      expect((await unit.enroll(path, { as: forged, code })).status).toBe(403);
    }
    // Without the key no handshake ends: curl does not even get to ask.
    const stolen = { pemFile: victim.pemFile, keyFile: forged.keyFile };
    await expect(unit.enroll('simpleenroll', { as: stolen, code })).rejects.toThrow(/unable to set private key/);
    expect([await certificatesOf(victim), await stateOf(victim)]).toEqual([0, 'BOOTSTRAPPED']);
    expect(await grantOf(victim)).toEqual({ state: 'open', tries: 0 });
  });

  test('with another unit’s bootstrap or operational certificate: nothing is issued, and the owner still activates', async () => {
    const [victim, thief, active] = [await world.addUnit(), await world.addUnit(), await activeUnit()];
    const code = await world.grant(victim);
    await world.grant(thief);
    for (const as of [thief, active.op]) expect((await unit.enroll('simpleenroll', { as, code })).status).toBe(403);
    expect((await unit.enroll('simplereenroll', { as: thief, code })).status).toBe(403);
    // The tries are the thief's own.
    expect(await grantOf(victim)).toEqual({ state: 'open', tries: 0 });
    expect(await grantOf(thief)).toEqual({ state: 'open', tries: 2 });
    expect([await certificatesOf(victim), await certificatesOf(thief)]).toEqual([0, 0]);
    expect((await unit.enroll('simpleenroll', { as: victim, code })).status).toBe(200);
    for (const each of [victim, thief, active]) expect(await stateOf(each)).not.toBe('QUARANTINED');
  });

  test('a request overheard from another unit is not carried over', async () => {
    const [victim, thief] = [await activeUnit(), await activeUnit()];
    const body = await unit.request(victim.op.keyFile);
    expect((await unit.call('simplereenroll', { as: thief.op, body })).status).toBe(403);
    expect((await world.ledger(thief, 'request.refused')).map(({ code }) => code)).toEqual(['KEY_IN_USE']);
    expect([await stateOf(victim), await stateOf(thief)]).toEqual(['ACTIVE', 'ACTIVE']);
  });
});

describe('renew forks (rules section 4)', () => {
  test('head−1 with another key while the head is pending: one soft replacement, and a second within the hour waits', async () => {
    const who = await activeUnit();
    const lost = must((await unit.enroll('simplereenroll', { as: who.op })).op);
    const second = await unit.enroll('simplereenroll', { as: who.op });
    expect(second.status).toBe(200);
    const third = await unit.enroll('simplereenroll', { as: who.op });
    expect(third.status).toBe(202);
    const wait = Number(/^retry-after: (\d+)\r$/im.exec(third.headers)?.[1]);
    expect([wait > 3_500, wait <= 3_600]).toEqual([true, true]);
    expect((await forks(who))[0]).toEqual(['soft', 'head-1, other key, head pending']);
    expect(await stateOf(who)).toBe('ACTIVE');
    // The displaced key, proved again, says that two hold the lineage.
    expect((await unit.enroll('simplereenroll', { as: lost })).status).toBe(403);
    expect(await stateOf(who)).toBe('QUARANTINED');
  });

  test('head−1 with another key after the head was confirmed: both are held', async () => {
    const who = await activeUnit();
    const thief = must((await unit.enroll('simplereenroll', { as: who.op })).op);
    expect((await confirm(thief)).status).toBe(200);
    const genuine = await unit.enroll('simplereenroll', { as: who.op });
    expect([genuine.status, genuine.text.slice(0, 7)]).toEqual([403, 'DENIED:']);
    expect(await forks(who)).toEqual([['hard', 'head-1, other key, head confirmed']]);
    expect(await stateOf(who)).toBe('QUARANTINED');
    for (const as of [thief, who.op]) expect((await unit.enroll('simplereenroll', { as })).status).toBe(403);
  });

  test('an older key than head−1 is a hard fork, too', async () => {
    const who = await activeUnit();
    const second = must((await unit.enroll('simplereenroll', { as: who.op })).op);
    await unit.enroll('simplereenroll', { as: second });
    expect((await unit.enroll('simplereenroll', { as: who.op })).status).toBe(403);
    expect(await forks(who)).toEqual([['hard', 'older than head-1']]);
    expect(await stateOf(who)).toBe('QUARANTINED');
  });

  test('the bootstrap certificate and its spent code again, after the first certificate was confirmed: both are held', async () => {
    const who = await world.addUnit();
    const code = await world.grant(who);
    const first = must((await unit.enroll('simpleenroll', { as: who, code })).op);
    expect((await confirm(first)).status).toBe(200);
    expect((await unit.enroll('simplereenroll', { as: who })).status).toBe(403);
    expect(await stateOf(who)).toBe('ACTIVE');
    expect((await unit.enroll('simplereenroll', { as: who, code })).status).toBe(403);
    expect(await stateOf(who)).toBe('QUARANTINED');
  });
});
