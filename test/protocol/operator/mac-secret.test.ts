import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type OperatorWorld, operatorWorld } from '../../support/operator-world.js';

const PATH = '/units/SHB-24-00817/mac-secret';
let world: OperatorWorld;
beforeAll(async () => {
  world = await operatorWorld();
  await world.db.pool.query(
    `INSERT INTO maker (name, manifest_key_spki, eui_prefixes, created_at) VALUES ('Garam Celltech', '', '{00005e}', now())`,
  );
  await world.db.pool.query(
    `INSERT INTO batch (maker_id, name, model, firmware_sha256, state, manifest_sha256, manifest_jws, unit_count, submitted_at)
     SELECT id, 'B-1', 'FC-100', '', 'open', '', '', 1, now() FROM maker`,
  );
  await world.db.pool.query(
    `INSERT INTO unit (maker_id, batch_id, serial_number, eui, hardware_id, fqdn, model, state, state_changed_at)
     SELECT maker_id, id, 'SHB-24-00817', '00005e005317', 'HW-1', '00005e005317.femto.hanbit.example', 'FC-100', 'MANIFESTED', now() FROM batch`,
  );
});
afterAll(() => world.close());

test('a MAC secret is for models that may, is shown once, and its use is for enrol-server alone', async () => {
  const refused = await world.call('operator', 'POST', PATH, {});
  expect([refused.status, refused.json['code']]).toEqual([409, 'STATE_CONFLICT']);
  await world.db.pool.query(
    `INSERT INTO unit_model (maker_id, model, mac_allowed, changed_by, changed_at) SELECT id, 'FC-100', true, 'test', now() FROM maker`,
  );
  const made = await world.call('operator', 'POST', PATH, { lifeHours: 2 });
  expect(made.status).toBe(200);
  expect(made.json).toEqual({
    unit: 'SHB-24-00817',
    reference: expect.stringMatching(/^[A-Za-z0-9_-]{22}$/),
    secret: expect.stringMatching(/^[A-Za-z0-9_-]{43}$/),
    expiresAt: expect.any(String),
  });
  expect((Date.parse(String(made.json['expiresAt'])) - Date.now()) / 3_600_000).toBeCloseTo(2, 1);
  const shown = JSON.stringify((await world.call('auditor', 'GET', '/units/SHB-24-00817')).json);
  expect(shown).not.toContain(String(made.json['secret']));
  const { rows } = await world.db.pool.query<{ body: string }>('SELECT body FROM ledger_inbox');
  expect(rows.filter(({ body }) => body.includes(String(made.json['secret'])))).toEqual([]);
  expect(rows.filter(({ body }) => body.includes(String(made.json['reference'])))).toHaveLength(1);
});

test('another life than 1 to 168 hours, and a unit that does not exist, are refused', async () => {
  expect((await world.call('operator', 'POST', PATH, { lifeHours: 169 })).json['code']).toBe('BAD_REQUEST');
  expect((await world.call('operator', 'POST', '/units/NOBODY-1/mac-secret', {})).json['code']).toBe('NOT_FOUND');
});
