import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type OperatorWorld, operatorWorld } from '../../support/operator-world.js';

let world: OperatorWorld;
beforeAll(async () => {
  world = await operatorWorld();
  await world.db.pool.query(
    `INSERT INTO installation (installation_id, operator, realm, mode, created_at)
     VALUES ('t', 'Hanbit Mobile', 'femto.hanbit.example', 'demo', now()) ON CONFLICT DO NOTHING`,
  );
});
afterAll(() => world.close());

const overview = async () => (await world.call('auditor', 'GET', '/overview')).json;

test('a model is frozen and thawed by itself, twice does no more, and everybody sees it with its reason', async () => {
  const freeze = { frozen: true, model: 'FC-200', reason: 'cloned units seen' };
  expect((await world.call('operator', 'POST', '/admission', freeze)).json).toEqual({ frozen: true, model: 'FC-200' });
  await world.call('operator', 'POST', '/admission', { ...freeze, reason: 'once more' });
  expect(await overview()).toMatchObject({
    installation: { admissionFrozen: false },
    frozenModels: [{ model: 'FC-200', reason: 'cloned units seen', frozenBy: 'person:operator' }],
  });
  await world.call('operator', 'POST', '/admission', { frozen: true, reason: 'whole fleet' });
  await world.call('operator', 'POST', '/admission', { ...freeze, frozen: false });
  expect(await overview()).toMatchObject({ installation: { admissionFrozen: true }, frozenModels: [] });
  const { rows } = await world.db.pool.query<{ kind: string; subject: string }>(
    `SELECT kind, subject FROM ledger_inbox WHERE kind LIKE 'admission.%' ORDER BY id`,
  );
  expect(rows).toEqual([
    { kind: 'admission.frozen', subject: 'model:FC-200' },
    { kind: 'admission.frozen', subject: 'model:FC-200' },
    { kind: 'admission.frozen', subject: 'installation' },
    { kind: 'admission.thawed', subject: 'model:FC-200' },
  ]);
});
