import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { wireCore } from '../../../src/apps/wire-core.js';
import { networkPolicyAct } from '../../../src/operator/api/network-policy-act.js';
import { transactorOf } from '../../../src/platform/db/transaction.pg.js';
import { freshDatabase, type TestDatabase } from '../../support/database.js';
import { type OperatorShell, operatorShell } from '../../support/operator-shell.js';
import { type OperatorWorld, operatorWorld } from '../../support/operator-world.js';

let world: OperatorWorld;
let shell: OperatorShell;
/** Behind the shell, which brings people of its own. */
let shellDb: TestDatabase;
beforeAll(async () => {
  world = await operatorWorld();
  shellDb = await freshDatabase();
  for (const { pool } of [world.db, shellDb]) await seed(pool);
  shell = await operatorShell(wireCore(transactorOf(shellDb.pool)), { dbUrl: shellDb.url, macKey: randomBytes(32) });
});
afterAll(async () => {
  await shell.close();
  await world.close();
  await shellDb.drop();
});

async function seed(pool: TestDatabase['pool']): Promise<void> {
  await pool.query(
    `INSERT INTO maker (name, manifest_key_spki, eui_prefixes, created_at) VALUES ('garam', '\\x00', '{02}', now())`,
  );
  await pool.query(
    `INSERT INTO batch (maker_id, name, model, firmware_sha256, state, manifest_sha256, manifest_jws, unit_count, submitted_at)
     VALUES (1, 'B-2411', 'FC-200', 'ff', 'open', '\\x00', 'x', 4, now())`,
  );
  await pool.query(`INSERT INTO line (name, region) SELECT 'L-' || n, 'seoul' FROM generate_series(1, 6) n`);
  await pool.query(
    `INSERT INTO unit (maker_id, batch_id, serial_number, eui, hardware_id, fqdn, model, state, state_changed_at, line_id)
     SELECT 1, 1, 'SHB-24-0000' || n, '02000000000' || n, 'h' || n, 'u' || n || '.femto.example', 'FC-200', 'ACTIVE', now(), n
     FROM generate_series(1, 4) n`,
  );
  // What gateways asked yesterday: three units from home, one of them from a hoster, too.
  await pool.query(
    `INSERT INTO decision (at, gateway_id, unit_id, stage, key_proved, verdict, reasons, address)
     SELECT now() - interval '1 hour', 1, n, 'ike', true, 'permit', '{}'::text[], ('198.51.100.' || n)::inet
     FROM generate_series(1, 3) n, generate_series(1, 2)
     UNION ALL SELECT now() - interval '2 hours', 1, 3, 'ike', true, 'permit', '{}', '203.0.113.200'::inet
     UNION ALL SELECT now() - interval '3 days', 1, 4, 'ike', true, 'permit', '{}', '203.0.113.201'::inet`,
  );
}

const HOSTER = { name: 'hoster', action: 'deny', cidr: '203.0.113.128/25' };
const EVERYBODY = { name: 'stop', action: 'deny', cidr: '0.0.0.0/0', model: 'FC-200' };

async function propose(...rules: object[]): Promise<{ version: number; ruleCount: number; documentSha256: string }> {
  const { status, json } = await world.call('operator', 'POST', '/network-policies', { rules, reason: 'a test' });
  expect(status).toBe(200);
  return json as never;
}
const activate = (version: number, more: object = {}) =>
  world.call('operator', 'POST', `/network-policies/${version}/activate`, { reason: 'a test', ...more });
const active = async () => (await world.call('auditor', 'GET', '/network-policies/active')).json?.['version'] ?? null;

/** The operator asks, the approver agrees; the id of what both signed. */
async function approved(version: Parameters<typeof networkPolicyAct>[0]): Promise<number> {
  const act = networkPolicyAct(version);
  const asked = await world.call('operator', 'POST', '/approvals', {
    ...act,
    signature: world.signAs('operator', act, 'requester'),
  });
  const id = Number(asked.json['id']);
  await world.call('approver', 'POST', `/approvals/${id}/approve`, {
    signature: world.signAs('approver', act, 'approver'),
  });
  return id;
}

describe('a network policy, from a proposal to a rollback (NET-1)', () => {
  test('a proposal changes nothing; activating one that only tightens needs one person and is in the ledger', async () => {
    const version = await propose(HOSTER);
    expect(await active()).toBeNull();
    expect(await activate(version.version)).toMatchObject({ status: 200, json: { state: 'active', unitsHit: 1 } });
    expect(await active()).toBe(version.version);
    const { rows } = await world.db.pool.query<{ kind: string; body: string }>(
      `SELECT kind, body FROM ledger_inbox WHERE subject = 'network-policy:' || $1 ORDER BY id`,
      [version.version],
    );
    expect(rows.map(({ kind }) => kind)).toEqual(['network-policy.proposed', 'network-policy.activated']);
    expect(JSON.parse(rows[1]?.body ?? '')).toMatchObject({
      actor: 'person:operator',
      reason: 'a test',
      documentSha256: version.documentSha256,
      approvedBy: null,
    });
  });

  test('a dry run lists who would have been hit, and how far it looked back', async () => {
    const dry = (body: object) => world.call('operator', 'POST', '/network-policies/dry-run', body);
    const document = { rules: [HOSTER, { name: 'home', action: 'restrict', cidr: '198.51.100.2/32' }] };
    const { json } = await dry({ document });
    expect(json).toMatchObject({ isWhole: true, unitsPermitted: 3, unitsHit: 2, changesTotal: 1 });
    expect(json['changes']).toEqual([
      expect.objectContaining({
        unit: 'SHB-24-00002',
        address: '198.51.100.2',
        attempts: 2,
        before: 'allow',
        after: 'restrict',
        reasons: ['NET_CIDR'],
        rules: ['home'],
      }),
    ]);
    expect((await dry({ document, hours: 96 })).json).toMatchObject({ unitsPermitted: 4, unitsHit: 3 });
    expect((await dry({ document, version: 1 })).json['code']).toBe('BAD_REQUEST');
    expect((await dry({ document, hours: 200 })).json['code']).toBe('BAD_REQUEST');
  });

  test('locking a model out takes the typed phrase and a second person, who signed exactly these rules', async () => {
    const version = await propose(HOSTER, EVERYBODY);
    const before = await active();
    const unsaid = await activate(version.version);
    expect(unsaid.json).toMatchObject({
      code: 'STATE_CONFLICT',
      facts: { phrase: 'lock out model FC-200', unitsHit: 3 },
    });
    const confirm = 'lock out model FC-200';
    expect((await activate(version.version, { confirm: 'lock out all' })).json['code']).toBe('STATE_CONFLICT');
    expect((await activate(version.version, { confirm })).json['code']).toBe('APPROVAL_REQUIRED');
    const other = await propose(HOSTER);
    const forAnother = await approved(other);
    expect((await activate(version.version, { confirm, approval: forAnother })).json['code']).toBe('APPROVAL_REQUIRED');
    expect(await active()).toBe(before);
    const approval = await approved(version);
    expect(await activate(version.version, { confirm, approval })).toMatchObject({
      status: 200,
      json: { state: 'active', approvedBy: 'person:approver' },
    });
    expect((await activate(version.version, { confirm, approval })).json['code']).toBe('APPROVAL_REQUIRED');
  });

  test('half of yesterday’s units is a lock-out, too, though no rule is for everybody', async () => {
    const rules = [EVERYBODY, { name: 'two', action: 'deny', cidr: '198.51.100.0/30' }];
    const { json } = await activate((await propose(HOSTER, ...rules.slice(1))).version);
    expect(json).toMatchObject({ code: 'STATE_CONFLICT', facts: { phrase: 'lock out 3 of 3 units' } });
  });

  test('loosening takes two people; a rollback is a new version with the old rules', async () => {
    const rollback = await world.call('operator', 'POST', '/network-policies/1/rollback', {
      reason: 'customers call',
    });
    expect(rollback.json['code']).toBe('APPROVAL_REQUIRED');
    const { json } = await world.call('auditor', 'GET', '/network-policies?limit=1');
    const [copy] = json as unknown as {
      version: number;
      copiedFrom: number;
      state: string;
      ruleCount: number;
      documentSha256: string;
    }[];
    expect(copy).toMatchObject({ copiedFrom: 1, state: 'proposed' });
    if (copy === undefined) throw new Error('no copy');
    const done = await activate(copy.version, { approval: await approved(copy) });
    expect(done.json).toMatchObject({ state: 'active', version: copy.version });
    const shown = await world.call('auditor', 'GET', `/network-policies/${copy.version}`);
    expect(shown.json).toMatchObject({ document: { rules: [HOSTER] } });
  });

  test('what was active before cannot be activated again, nor what is not there', async () => {
    expect((await activate(1)).json).toMatchObject({ code: 'STATE_CONFLICT' });
    expect((await activate(999)).json).toMatchObject({ code: 'NOT_FOUND' });
    expect((await world.call('operator', 'GET', '/network-policies/x')).json).toMatchObject({ code: 'NOT_FOUND' });
  });

  test('two who activate at once follow each other: one version is active', async () => {
    const versions = await Promise.all(
      ['a', 'b', 'c'].map((name) => propose(HOSTER, { ...HOSTER, name, cidr: '203.0.113.0/24' })),
    );
    const done = await Promise.all(versions.map(({ version }) => activate(version)));
    expect(done.map(({ status }) => status)).toEqual([200, 200, 200]);
    const { rows } = await world.db.pool.query(`SELECT count(*)::int AS n FROM network_policy WHERE state = 'active'`);
    expect(rows).toEqual([{ n: 1 }]);
  });
});

describe('the commands people type', () => {
  const run = promisify(execFile);
  const femtopki = async (...args: string[]) => {
    const { stdout } = await run(join(shell.binDir, 'femtopki'), [...args, '-o', 'json']);
    // biome-ignore lint/suspicious/noExplicitAny: a test reads whatever a command prints
    return JSON.parse(stdout) as any;
  };

  test('network-policy: propose a file, look, dry-run, activate', async () => {
    const file = join(shell.binDir, 'rules.yaml');
    const rules = [
      'rules:',
      '  - { name: hoster, action: deny, cidr: 203.0.113.128/25 }',
      '  - { name: rest, action: deny, cidr: 203.0.113.0/24 }',
    ];
    writeFileSync(
      file,
      `${rules.join('\n')}\n  - { name: abroad, action: deny, country: ZZ, events: [ike] }\nwhenUnknown: { config: restrict }\n`,
    );
    const before = await femtopki('network-policy', 'list');
    expect(
      await femtopki('network-policy', 'propose', '--file', file, '--reason', 'as agreed', '--dry-run'),
    ).toMatchObject({
      unitsPermitted: 3,
    });
    expect(await femtopki('network-policy', 'list')).toEqual(before);
    const proposed = await femtopki('network-policy', 'propose', '--file', file, '--reason', 'as agreed');
    expect(proposed).toMatchObject({
      state: 'proposed',
      rules: [{ name: 'hoster' }, { name: 'rest' }, { name: 'abroad' }],
    });
    const version = String(proposed.version);
    expect(await femtopki('network-policy', 'show', version)).toMatchObject({ locksOut: [], loosens: false });
    expect(await femtopki('network-policy', 'dry-run', version, '--hours', '96')).toMatchObject({ unitsPermitted: 4 });
    expect(await femtopki('network-policy', 'activate', version, '--reason', 'now', '--dry-run')).toMatchObject({
      isWhole: true,
    });
    expect(await femtopki('network-policy', 'activate', version, '--reason', 'now')).toMatchObject({ state: 'active' });
    expect(await femtopki('network-policy', 'show')).toMatchObject({ version: proposed.version });
  });

  test('relocation: order, list, withdraw', async () => {
    const order = ['relocation', 'order', 'SHB-24-00001', '--line', 'L-5', '--reason', 'moves house', '--hours', '48'];
    expect(await femtopki(...order)).toMatchObject({ state: 'open', lineName: 'L-5' });
    await expect(femtopki(...order)).rejects.toMatchObject({ stderr: expect.stringContaining('STATE_CONFLICT') });
    expect(await femtopki('relocation', 'withdraw', 'SHB-24-00001')).toMatchObject({ state: 'withdrawn' });
    expect(await femtopki('relocation', 'list', '--unit', 'SHB-24-00001')).toMatchObject([{ state: 'withdrawn' }]);
  });

  test('unknown-alarm: list, show with members, acknowledge once', async () => {
    const { rows } = await shellDb.pool.query<{ id: number }>(
      `INSERT INTO unknown_alarm (state, opened_at, last_at, attempts) VALUES ('open', now(), now(), 1) RETURNING id`,
    );
    const id = String(rows[0]?.id);
    await shellDb.pool.query(
      `INSERT INTO decision (at, gateway_id, serial, stage, key_proved, verdict, reasons, address, alarm_id)
       VALUES (now(), 1, '\\x0102', 'ike', true, 'deny', '{UNKNOWN_ISSUER}', '203.0.113.9', $1)`,
      [id],
    );
    expect(await femtopki('unknown-alarm', 'list')).toMatchObject([{ state: 'open', attempts: 1 }]);
    expect(await femtopki('unknown-alarm', 'show', id)).toMatchObject({
      members: [{ address: '203.0.113.9', serial: '0102', reasons: ['UNKNOWN_ISSUER'] }],
    });
    expect(await femtopki('unknown-alarm', 'acknowledge', id)).toMatchObject({ state: 'acknowledged' });
    await expect(femtopki('unknown-alarm', 'acknowledge', id)).rejects.toMatchObject({
      stderr: expect.stringContaining('STATE_CONFLICT'),
    });
  });

  test('alarm and evidence: what traffic showed, the decisions that show it, and what is held against a unit', async () => {
    const { pool } = shellDb;
    await pool.query(
      `INSERT INTO decision (at, gateway_id, unit_id, stage, key_proved, verdict, reasons, address, cell)
       VALUES ('2026-11-24T23:59:59.123456Z', 1, 2, 'registration', true, 'deny', '{CELL_MISMATCH}', '198.51.100.2', '00101-9')`,
    );
    const { rows } = await pool.query<{ id: number }>(
      `INSERT INTO traffic_alarm (rule, subject, unit_id, grade, day, first_at, last_at, words, facts, decision_at, decision_id)
       SELECT 'CELL_CONFLICT', 'unit:SHB-24-00002', 2, 'strong', at::date, at, at, 'two on one cell', '{"cells":["00101-9"]}',
         ARRAY[at], ARRAY[id] FROM decision WHERE cell = '00101-9' RETURNING id`,
    );
    await pool.query(
      `INSERT INTO evidence (at, code, grade, unit_id, subject, facts)
       VALUES (now(), 'CELL_CONFLICT', 'strong', 2, 'unit:SHB-24-00002', '{"gateways":["segw-1"]}')`,
    );
    const id = Number(rows[0]?.id);
    const alarm = {
      id,
      rule: 'CELL_CONFLICT',
      subject: 'unit:SHB-24-00002',
      grade: 'strong',
      words: 'two on one cell',
    };
    expect(await femtopki('alarm', 'list', '--unit', 'SHB-24-00002')).toMatchObject([alarm]);
    expect(await femtopki('alarm', 'list', '--rule', 'CELL_CONFLICT')).toMatchObject([alarm]);
    expect(await femtopki('alarm', 'list', '--rule', 'MOBILE_USE')).toEqual([]);
    expect(await femtopki('alarm', 'list', '--unit', 'SHB-24-00001')).toEqual([]);
    expect(await femtopki('alarm', 'show', String(id))).toMatchObject({
      ...alarm,
      facts: { cells: ['00101-9'] },
      decisions: [{ cell: '00101-9', address: '198.51.100.2', reasons: ['CELL_MISMATCH'], keyProved: true }],
    });
    expect(await femtopki('evidence', 'list', 'SHB-24-00002')).toMatchObject([
      { code: 'CELL_CONFLICT', grade: 'strong', caseId: null, facts: { gateways: ['segw-1'] } },
    ]);
    // Where it was last, for whoever reports it lost; and the silent ones of a region (LST-1, LST-2).
    expect(await femtopki('unit', 'show', 'SHB-24-00002')).toMatchObject({
      lastContacts: expect.arrayContaining([expect.objectContaining({ address: '198.51.100.2', verdict: 'deny' })]),
    });
    await pool.query(`UPDATE unit SET state = 'SUSPENDED', state_reason = 'silent for 90 days' WHERE id = 4`);
    expect(await femtopki('unit', 'list', '--state', 'SUSPENDED', '--region', 'seoul')).toMatchObject([
      { serialNumber: 'SHB-24-00004', region: 'seoul', stateReason: 'silent for 90 days' },
    ]);
    expect(await femtopki('unit', 'list', '--state', 'SUSPENDED', '--region', 'busan')).toEqual([]);
    for (const wrong of [
      ['alarm', 'show', '999'],
      ['evidence', 'list', 'SHB-24-09999'],
    ])
      await expect(femtopki(...wrong)).rejects.toMatchObject({ stderr: expect.stringContaining('NOT_FOUND') });
  });
});
