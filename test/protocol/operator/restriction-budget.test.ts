import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type OperatorWorld, operatorWorld } from '../../support/operator-world.js';

let world: OperatorWorld;
beforeAll(async () => {
  world = await operatorWorld();
  await world.db.pool.query(
    `INSERT INTO maker (name, manifest_key_spki, eui_prefixes, created_at) VALUES ('Garam Celltech', '', '{00005e}', now())`,
  );
  await world.db.pool.query(
    `INSERT INTO batch (maker_id, name, model, firmware_sha256, state, manifest_sha256, manifest_jws, unit_count, submitted_at)
     SELECT id, 'B-1', 'FC-200', '', 'open', '', '', 1, now() FROM maker`,
  );
  await world.db.pool.query(
    `INSERT INTO unit (maker_id, batch_id, serial_number, eui, hardware_id, fqdn, model, state, state_changed_at)
     SELECT maker_id, id, 'SHB-24-00817', '00005e005317', 'HW-1', '00005e005317.femto.hanbit.example', 'FC-200', 'BOOTSTRAPPED', now() FROM batch`,
  );
  await world.db.pool.query(
    `INSERT INTO restriction_use (person_id, at, units, what) SELECT id, now(), 100, 'test' FROM person WHERE name = 'operator'`,
  );
});
afterAll(async () => {
  await world.close();
});

test('the 101st unit in a day needs a second person, and with one it is reported lost (rules 8.1)', async () => {
  const act = { kind: 'unit.lost', request: { unit: 'SHB-24-00817', state: 'BOOTSTRAPPED' }, selectionCount: 1 };
  const lost = (approval?: number) =>
    world.call('operator', 'POST', '/units/SHB-24-00817/lost', {
      reason: 'burglary',
      ...(approval === undefined ? {} : { approval }),
    });
  expect((await lost()).json['code']).toBe('APPROVAL_REQUIRED');
  const { json } = await world.call('operator', 'POST', '/approvals', {
    ...act,
    signature: world.signAs('operator', act, 'requester'),
  });
  const id = Number(json['id']);
  expect((await lost(id)).json['code']).toBe('APPROVAL_REQUIRED');
  await world.call('approver', 'POST', `/approvals/${id}/approve`, {
    signature: world.signAs('approver', act, 'approver'),
  });
  expect((await lost(id)).status).toBe(200);
  const { rows } = await world.db.pool.query(`SELECT state FROM unit`);
  expect(rows).toEqual([{ state: 'LOST' }]);
});
