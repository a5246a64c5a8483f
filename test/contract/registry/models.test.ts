import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type Core, wireCore } from '../../../src/apps/wire-core.js';
import type { ModelChange } from '../../../src/lifecycle/registry/index.js';
import { transactorOf } from '../../../src/platform/db/transaction.pg.js';
import { freshDatabase, type TestDatabase } from '../../support/database.js';

const MAKER = 'garam';
const actor = 'person:kim';
let db: TestDatabase;
let core: Core;
beforeAll(async () => {
  db = await freshDatabase();
  core = wireCore(transactorOf(db.pool));
  await db.pool.query(
    `INSERT INTO maker (name, manifest_key_spki, eui_prefixes, created_at)
     VALUES ($1, '\\x00', '{02}', now()), ('nuribom', '\\x01', '{06}', now())`,
    [MAKER],
  );
});
afterAll(async () => {
  await db.drop();
});

const set = (change: Partial<ModelChange>) => core.models.set({ makerName: MAKER, model: 'FC-200', actor, ...change });
const modelOf = (model: string) => core.registry.modelOf(core.transactor.read, { makerId: 1, model });
const changes = async () =>
  (
    await db.pool.query<{ body: string }>(`SELECT body FROM ledger_inbox WHERE kind = 'model.changed' ORDER BY id`)
  ).rows.map(({ body }) => JSON.parse(body) as Record<string, unknown>);

test('a model that nobody configured has no exception', async () => {
  expect(await modelOf('FC-1')).toEqual({
    makerId: 1,
    model: 'FC-1',
    label: null,
    tolerances: new Set(),
    macAllowed: false,
  });
});

test('each change keeps what it does not name, and is an entry with what was before', async () => {
  await set({ label: 'garam-fc200', tolerate: ['sender-null-dn', 'extra-certs-absent'] });
  await set({ macAllowed: true });
  const model = await set({ noTolerate: ['sender-null-dn'] });
  expect(model).toMatchObject({ label: 'garam-fc200', macAllowed: true, tolerances: new Set(['extra-certs-absent']) });
  expect(await modelOf('FC-200')).toEqual(model);
  expect(await core.registry.modelByLabel(core.transactor.read, 'garam-fc200')).toEqual(model);
  expect((await changes()).at(-1)).toMatchObject({
    model: 'FC-200',
    tolerances: ['extra-certs-absent'],
    before: { tolerances: ['extra-certs-absent', 'sender-null-dn'], macAllowed: true },
    actor,
  });
  expect(await core.models.list()).toMatchObject([{ makerName: MAKER, model: 'FC-200', changedBy: actor }]);
});

test('setting what is so already changes nothing and writes nothing', async () => {
  const before = (await changes()).length;
  await set({ label: 'garam-fc200', tolerate: ['extra-certs-absent'] });
  expect(await changes()).toHaveLength(before);
});

test('a label is one model’s, one path segment, and no EST operation; null takes it away', async () => {
  await expect(set({ makerName: 'nuribom', label: 'garam-fc200' })).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
  for (const label of ['simpleenroll', 'cacerts', '..', 'a/b', 'Garam', '']) {
    await expect(set({ label })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  }
  await set({ label: null });
  expect(await core.registry.modelByLabel(core.transactor.read, 'garam-fc200')).toBeNull();
  await set({ makerName: 'nuribom', label: 'garam-fc200' });
});

test('two who configure one model at once both count', async () => {
  await Promise.all([
    set({ model: 'FC-9', tolerate: ['sender-null-dn'] }),
    set({ model: 'FC-9', tolerate: ['extra-certs-absent'] }),
    set({ model: 'FC-9', macAllowed: true }),
  ]);
  expect(await modelOf('FC-9')).toMatchObject({
    tolerances: new Set(['extra-certs-absent', 'sender-null-dn']),
    macAllowed: true,
  });
});

test('a model of a maker that is not registered cannot be configured', async () => {
  await expect(set({ makerName: 'nobody' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(set({ model: 'FC/200' })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
});
