import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type OperatorWorld, operatorWorld } from '../../support/operator-world.js';

const PATH = '/units/SHB-24-00817/grants';
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
     SELECT maker_id, id, 'SHB-24-00817', '00005e005317', 'HW-1', '00005e005317.femto.hanbit.example', 'FC-100',
       'BOOTSTRAPPED', now() FROM batch`,
  );
  await world.db.pool.query(`INSERT INTO line (name) VALUES ('L-1'), ('L-2')`);
});
afterAll(() => world.close());

test('a grant for the wrong line is withdrawn, and another is made; what is over cannot be withdrawn', async () => {
  const order = (line: string) => world.call('operator', 'POST', PATH, { kind: 'order', line });
  const withdraw = () => world.call('operator', 'POST', `${PATH}/withdraw`);
  expect((await withdraw()).json['code']).toBe('NOT_FOUND');
  const wrong = await order('L-1');
  expect(wrong.status).toBe(200);
  const second = await order('L-2');
  expect([second.status, second.json['code']]).toEqual([409, 'STATE_CONFLICT']);
  expect(String(second.json['detail'])).toContain('femtopki grant withdraw');
  expect((await world.call('auditor', 'POST', `${PATH}/withdraw`)).status).toBe(403);
  expect((await withdraw()).json).toEqual({
    grantId: wrong.json['grantId'],
    unit: 'SHB-24-00817',
    state: 'withdrawn',
  });
  expect((await order('L-2')).status).toBe(200);
  const { rows } = await world.db.pool.query<{ state: string }>('SELECT state FROM activation_grant ORDER BY id');
  expect(rows.map(({ state }) => state)).toEqual(['withdrawn', 'open']);
  await world.db.pool.query(`UPDATE activation_grant SET state = 'spent' WHERE state = 'open'`);
  expect((await withdraw()).json['code']).toBe('STATE_CONFLICT');
});
