import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { makeNetworkGate } from '../../../src/lifecycle/registry/index.js';
import { networkPolicyStore } from '../../../src/lifecycle/registry/network-store.pg.js';
import { NO_GEO } from '../../../src/platform/net/geo-databases.js';
import { activatePolicy } from '../../support/active-policy.js';
import { type CurlCredential, curlUnit } from '../../support/curl-unit.js';
import { type DeviceWorld, startDeviceWorld, type WorldUnit } from '../../support/device-world.js';

let world: DeviceWorld;
let unit: ReturnType<typeof curlUnit>;

beforeAll(async () => {
  world = await startDeviceWorld({
    networkOf: ({ clock }) => makeNetworkGate({ policies: networkPolicyStore, geo: NO_GEO, clock, versionKnownMs: 0 }),
  });
  unit = curlUnit(world.dir, world.port);
});
beforeEach(async () => {
  await activatePolicy(world.db, null);
  world.alarms.length = 0;
});
afterAll(() => world.close());

const post = (path: string, as: CurlCredential, json: object) =>
  unit.call('POST', path, { as, json, headers: [`Idempotency-Key: ${randomUUID()}`] });

async function activate(who: WorldUnit) {
  const keyFile = await unit.newKey();
  const csr = await unit.csr(keyFile, await unit.nonce(who));
  const answer = await post('/v1/activate', who, { csr: await unit.base64(csr), code: await world.grant(who) });
  return { status: answer.status, keyFile, certificate: answer.body.certificate as string };
}

async function active(): Promise<WorldUnit & { op: CurlCredential }> {
  const who = await world.addUnit();
  const { keyFile, certificate } = await activate(who);
  const op = { keyFile, pemFile: unit.store('op.pem', certificate) };
  expect((await post('/v1/confirm', op, {})).status).toBe(200);
  return { ...who, op };
}

async function renew(as: CurlCredential) {
  const keyFile = await unit.newKey();
  const nonce = await unit.nonce(as);
  const csr = await unit.csr(keyFile, nonce);
  const json = {
    csr: await unit.base64(csr),
    predecessorSignature: await unit.predecessorSignature(as.keyFile, nonce, csr),
  };
  const { status, body } = await post('/v1/renew', as, json);
  return {
    status,
    code: body.code as string,
    op: { keyFile, pemFile: status === 200 ? unit.store('n.pem', body.certificate) : '' },
  };
}

const LOOPBACK = { cidr: '127.0.0.0/8' } as const;

describe('the network policy where a unit gets certificates (NET-1, NET-3)', () => {
  test('a renewal from where it is denied is refused and recorded; it is not taken when the policy has gone', async () => {
    const { op, ...who } = await active();
    await activatePolicy(world.db, { rules: [{ name: 'abroad', action: 'deny', ...LOOPBACK, events: ['renewal'] }] });
    expect(await renew(op)).toMatchObject({ status: 403, code: 'DENIED' });
    expect(await world.ledger(who, 'request.refused')).toEqual([expect.objectContaining({ code: 'NET_CIDR' })]);
    await activatePolicy(world.db, null);
    expect(await renew(op)).toMatchObject({ status: 200 });
  });

  test('a fork is a fork wherever it comes from: the policy hides no evidence', async () => {
    const { op, ...who } = await active();
    const next = await renew(op);
    expect((await post('/v1/confirm', next.op, {})).status).toBe(200);
    await activatePolicy(world.db, { rules: [{ name: 'abroad', action: 'deny', ...LOOPBACK }] });
    expect(await renew(op)).toMatchObject({ status: 403, code: 'DENIED' });
    expect((await world.ledger(who, 'lineage.forked')).map(({ grade }) => grade)).toEqual(['hard']);
  });

  test('without a database a renewal goes on and a person is told; an activation is refused', async () => {
    const { op, ...who } = await active();
    const newcomer = await world.addUnit();
    await activatePolicy(world.db, { rules: [{ name: 'zz', action: 'deny', country: 'ZZ' }] });
    expect(await renew(op)).toMatchObject({ status: 200 });
    expect(world.alarms).toEqual([
      { what: 'an address cannot be placed', facts: { unit: who.serialNumber, address: '127.0.0.1', before: 0 } },
    ]);
    expect(await activate(newcomer)).toMatchObject({ status: 403 });
    const [refused] = await world.ledger(newcomer, 'request.refused');
    expect(refused).toMatchObject({ code: 'NET_UNKNOWN' });
  });

  test('where a unit may only be repaired, renewal and activation are its repair', async () => {
    const { op } = await active();
    await activatePolicy(world.db, { rules: [{ name: 'repair', action: 'restrict', ...LOOPBACK }] });
    expect(await renew(op)).toMatchObject({ status: 200 });
    expect(await activate(await world.addUnit())).toMatchObject({ status: 200 });
  });
});
