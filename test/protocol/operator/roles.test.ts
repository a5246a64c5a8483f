import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { operatorRoutes } from '../../../src/operator/api/server.js';
import { PERSON_ROLES } from '../../../src/operator/people/person.js';
import { keptAnywhere } from '../../support/kept-anywhere.js';
import { type OperatorWorld, operatorWorld } from '../../support/operator-world.js';

let world: OperatorWorld;
beforeAll(async () => {
  world = await operatorWorld();
});
afterAll(async () => {
  await world.close();
});

describe('every role at every endpoint (ADM-1)', () => {
  test('nobody without a credential gets further than DENIED', async () => {
    for (const route of operatorRoutes(world.deps)) {
      const { status, json } = await world.call(
        null,
        route.method,
        concrete(route.path),
        route.method === 'POST' ? {} : undefined,
      );
      expect([route.path, status, json['code']]).toEqual([route.path, 403, 'DENIED']);
    }
  });

  test('a role that is not in the table of routes is refused before its body is read', async () => {
    for (const route of operatorRoutes(world.deps)) {
      for (const role of PERSON_ROLES.filter((name) => !route.roles.includes(name))) {
        const { status, json } = await world.call(
          role,
          route.method,
          concrete(route.path),
          route.method === 'POST' ? { junk: 1 } : undefined,
        );
        expect([role, route.path, status, json['code']]).toEqual([role, route.path, 403, 'DENIED']);
      }
    }
  });

  test('a role in the table is not refused for its role, and junk in the body is a BAD_REQUEST', async () => {
    for (const route of operatorRoutes(world.deps).filter(({ body }) => body !== undefined)) {
      const [role] = route.roles;
      if (!role) throw new Error(`${route.path} has no role`);
      const { json } = await world.call(role, route.method, concrete(route.path), { junk: 1 });
      expect([route.path, json['code']]).toEqual([route.path, 'BAD_REQUEST']);
    }
  });

  test('an auditor may read and can change nothing', () => {
    const writable = operatorRoutes(world.deps).filter(
      ({ method, roles }) => method === 'POST' && roles.includes('auditor'),
    );
    expect(writable.map(({ path }) => path)).toEqual([]);
  });
});

test('a foreign Host header is refused, so that a page elsewhere cannot reach the API by a name of its own', async () => {
  const { request } = await import('node:http');
  const status = await new Promise<number>((done, fail) => {
    const url = new URL(`${world.url}/api/v1/me`);
    request(
      { host: url.hostname, port: url.port, path: url.pathname, headers: { host: 'attacker.example' } },
      (response) => {
        response.resume();
        done(response.statusCode ?? 0);
      },
    )
      .on('error', fail)
      .end();
  });
  expect(status).toBe(403);
});

test('a 15-digit subscriber identity in a reason is refused and stored nowhere (ADM-3)', async () => {
  const { status, json } = await world.call('operator', 'POST', '/admission', {
    frozen: true,
    reason: 'IMSI 450081234567890 complained',
  });
  expect([status, json['code']]).toEqual([400, 'BAD_REQUEST']);
  const { rows } = await world.db.pool.query('SELECT admission_frozen FROM installation');
  expect(rows.every((row: { admission_frozen: boolean }) => !row.admission_frozen)).toBe(true);
});

test('at no door of people is a subscriber’s number taken, in whatever member it stands (ADM-3)', async () => {
  for (const number of ['450081234567890', '450-08-1234567890', '+82 10 1234 5678', '010-1234-5678']) {
    for (const [path, body] of [
      ['/makers', { name: `Garam ${number}`, manifestKeyPem: 'x', euiPrefixes: ['02'] }],
      ['/lines', { name: number, region: 'Seoul' }],
      ['/lines', { name: 'line-1', region: number }],
      ['/cells', { id: number, segwAddress: 'segw.example' }],
      ['/units/SHB-24-00817/hold', { reason: `of ${number}` }],
      ['/units/SHB-24-00817/lost', { reason: `told by ${number}` }],
      ['/network-policies', { rules: [{ name: number, action: 'deny', asn: 1 }], reason: 'a test' }],
      ['/machines', { kind: 'gateway', name: number, csrPem: 'x' }],
    ] as const) {
      const { status, json } = await world.call('operator', 'POST', path, body);
      expect([path, number, status === 400 || status === 404]).toEqual([path, number, true]);
      expect(JSON.stringify(json)).not.toContain(number);
    }
    expect([number, await keptAnywhere(world.db, number)]).toEqual([number, []]);
  }
  // What no schema of ours refuses is refused all the same, and the answer names the member alone.
  const taken = await world.call('operator', 'POST', '/lines', { name: 'line 010-1234-5678', region: 'Seoul' });
  expect([taken.status, taken.json['code']]).toEqual([400, 'BAD_REQUEST']);
  expect((await world.call('operator', 'POST', '/lines', { name: 'line-1', region: 'Seoul' })).status).toBe(200);
});

function concrete(path: string): string {
  return path
    .replace(':serialNumber', 'SHB-24-00817')
    .replace(':serial', '01'.repeat(16))
    .replace(':id', '1')
    .replace(':name', 'nobody');
}
