import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { CurlCredential } from '../../support/curl-unit.js';
import { type GatewayWorld, startGatewayWorld } from '../../support/gateway-world.js';

let world: GatewayWorld;
beforeAll(async () => {
  world = await startGatewayWorld();
});
afterAll(async () => {
  await world.close();
});

const ask = (as?: CurlCredential) =>
  world.client.call('POST', '/v1/authorise', { ...(as === undefined ? {} : { as }), json: { stage: 'ike' } });

describe('who asks at the gateway port', () => {
  test('a unit, or nobody, hears DENIED and no reason', async () => {
    const unit = await world.addUnit();
    for (const as of [undefined, unit]) {
      const { status, body } = await ask(as);
      expect([status, body.code, body.facts]).toEqual([403, 'DENIED', undefined]);
      expect(body.detail).not.toMatch(/gateway|Services CA/);
    }
    expect(world.internal).toEqual([]);
  });

  test('a path that is no path is refused like any other that is not there', async () => {
    for (const path of ['//', '/v1/feed/', '/v1/authorise?x', '/v1/feed/acks']) {
      const { status, body } = await world.client.call('GET', path, { flags: ['--path-as-is'] });
      expect([path, status, body.code]).toEqual([path, 400, 'BAD_REQUEST']);
    }
    expect(world.internal).toEqual([]);
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
