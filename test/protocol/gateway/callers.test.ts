import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decisionStore } from '../../../src/lifecycle/admission/decision-store.pg.js';
import type { AdmissionDeps } from '../../../src/lifecycle/admission/index.js';
import { cursors } from '../../../src/platform/ledger/cursors.pg.js';
import { makeGatewayHandler } from '../../../src/protocol/gateway/authorise-handler.js';
import { type CurlCredential, curlUnit } from '../../support/curl-unit.js';
import { type DeviceWorld, startDeviceWorld } from '../../support/device-world.js';

let world: DeviceWorld;
let server: Server;
let client: ReturnType<typeof curlUnit>;
const internal: unknown[] = [];

beforeAll(async () => {
  world = await startDeviceWorld();
  const { core } = world;
  const admission: AdmissionDeps = {
    ...core,
    db: core.transactor,
    decisions: decisionStore,
    reader: { ...core.certificates, ledgerPosition: cursors.end },
  };
  const handler = makeGatewayHandler({
    admission,
    issuers: core.issuers,
    machines: core.machines,
    sign: () => ({ signature: Buffer.alloc(8), certificatePem: '' }),
    onInternal: (error) => internal.push(error),
  });
  server = createServer({ ...world.identity, requestCert: true, rejectUnauthorized: false }, handler);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  client = curlUnit(world.dir, (server.address() as AddressInfo).port);
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
  await world.close();
});

const ask = (as?: CurlCredential) =>
  client.call('POST', '/v1/authorise', { ...(as === undefined ? {} : { as }), json: { stage: 'ike' } });

describe('who asks at the gateway port', () => {
  test('a unit, or nobody, hears DENIED and no reason', async () => {
    const unit = await world.addUnit();
    for (const as of [undefined, unit]) {
      const { status, body } = await ask(as);
      expect([status, body.code, body.facts]).toEqual([403, 'DENIED', undefined]);
      expect(body.detail).not.toMatch(/gateway|Services CA/);
    }
    expect(internal).toEqual([]);
  });

  test('a unit that was entered as a gateway’s row is still no gateway: the key is under another CA', async () => {
    const unit = await world.addUnit();
    const { spkiHash } = unit.bootstrap;
    await world.db.pool.query(
      `INSERT INTO machine (kind, name, state, spki_der, spki_hash, requested_by, created_at)
       VALUES ('gateway', 'segw-unit', 'approved', '\\x00', $1, 'test', now())`,
      [spkiHash],
    );
    expect((await ask(unit)).status).toBe(403);
  });
});
