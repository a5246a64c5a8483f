import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { run } from '../../support/command.js';
import { type FleetWorld, startFleetWorld } from '../../support/fleet-world.js';

let world: FleetWorld;
let dir: string;
beforeAll(async () => {
  world = await startFleetWorld();
  dir = mkdtempSync(join(tmpdir(), 'fp-fleet-'));
});
afterAll(async () => {
  rmSync(dir, { recursive: true });
  await world.close();
});

const why = ['--reason', 'found on a forum'];

describe('REV-1: many units at once, with the command', () => {
  test('the preview of a batch is its outcome, and a repeat finds everything revoked already', async () => {
    await world.addBatch('B40', 40);
    const act = ['fleet', 'revoke', '--batch', 'B40', ...why, '-o', 'json'];
    const preview = (await world.femtopki(...act, '--dry-run')).json;
    expect(preview).toMatchObject({
      units: 40,
      changing: { units: 40, certificates: 40 },
      already: 0,
      byState: [{ state: 'ACTIVE', units: 40, changing: 40 }],
      byCa: [{ ca: 'device-ca-1', certificates: 40, changing: 40 }],
      needsApproval: false,
    });
    expect(await world.statuses('B40')).toEqual({}); // a preview changes nothing
    expect((await world.femtopki(...act)).json).toMatchObject({
      state: 'done',
      units: 40,
      certificates: 40,
      already: 0,
    });
    expect(await world.statuses('B40')).toEqual({ 'revoked 0': 40 });
    expect(await world.states('B40')).toEqual({ SUSPENDED: 40 });
    expect(await world.ledgerCount('certificate.revoked', 'B40')).toBe(40);

    const again = await world.femtopki(...act);
    expect(again.json).toMatchObject({ state: 'done', units: 0, certificates: 0, already: 40 });
    expect(await world.ledgerCount('certificate.revoked', 'B40')).toBe(40);
  });

  test('a file of serial numbers, as CSV or NDJSON; one that nobody has is named before anything happens', async () => {
    await world.addBatch('CSV', 3);
    const csv = join(dir, 'units.csv');
    writeFileSync(csv, '\ufeffname;serialNumber\r\nfirst;CSV-000001\r\nsecond;csv-000002\r\n\r\nthird;CSV-999999\r\n');
    const hold = ['fleet', 'hold', ...why, '-o', 'json'];
    const refused = await world.femtopki(...hold, '--file', csv);
    expect([refused.code, refused.text]).toEqual([3, expect.stringContaining('CSV-999999')]);
    expect(await world.statuses('CSV')).toEqual({});
    const held = await world.femtopki(...hold, '--file', csv, '--skip-unknown');
    expect(held.json).toMatchObject({ units: 2, certificates: 2 });
    const ndjson = join(dir, 'units.ndjson');
    writeFileSync(ndjson, '{"serialNumber":"CSV-000002"}\n"CSV-000003"\n');
    expect((await world.femtopki(...hold, '--file', ndjson)).json).toMatchObject({
      units: 1,
      certificates: 1,
      already: 1,
    });
    expect(await world.statuses('CSV')).toEqual({ 'held 6': 3 });
    writeFileSync(ndjson, 'CSV-000001\n{"unit": 7}\n');
    expect((await world.femtopki(...hold, '--file', ndjson)).text).toContain('Line 2 has no member serialNumber');
  });

  test('a model with one firmware, and not with another', async () => {
    await world.addBatch('FW', 2);
    const of = (firmware: string) => [
      ...['fleet', 'hold', '--model', 'FC-FW', '--firmware', firmware, ...why, '-o', 'json'],
    ];
    expect((await world.femtopki(...of('cd'.repeat(32)))).code).toBe(3);
    expect((await world.femtopki(...of('ab'.repeat(32)))).json).toMatchObject({ units: 2 });
  });
});

test('the same with curl and openssl, as docs/revocation.md says; sent twice it is one order', async () => {
  await world.addBatch('CURL', 2);
  const select = { by: 'batch', batch: 'CURL' };
  const post = async (path: string, body: object) =>
    JSON.parse((await world.curl('approver', path, JSON.stringify(body))).text) as Record<string, unknown>;
  const { listSha256, units } = await post('/fleet-orders/preview', { act: 'hold', select });
  const nonce = 'ab'.repeat(16);
  const until = new Date(Date.now() + 3_600_000).toISOString();
  const text =
    `{"kind":"fleet.hold","request":{"code":"unspecified","list":{"count":${units},"sha256":"${listSha256}"},"reason":"by hand",` +
    `"secondPerson":false,"select":{"batch":"CURL","by":"batch"}},"selectionCount":${units},"nonce":"${nonce}","until":"${until}"}`;
  const hash = createHash('sha256').update(text).digest('hex');
  writeFileSync(join(dir, 'text'), `femtopki-approval-v1\n${hash}\nrequester\n`);
  const signed = (key: string) => {
    const args = ['dgst', '-sha256', '-sign', join(world.shell.binDir, 'secrets', `person-${key}.key`)];
    run('openssl', [...args, '-out', join(dir, 'sig'), join(dir, 'text')]);
    return readFileSync(join(dir, 'sig')).toString('base64');
  };
  const order = { select, reason: 'by hand', listSha256, count: units, nonce, until };
  expect(await post('/fleet-orders/hold', { ...order, signature: signed('operator') })).toMatchObject({
    code: 'DENIED',
  });
  const first = await post('/fleet-orders/hold', { ...order, signature: signed('approver') });
  expect(first).toMatchObject({ state: 'done', units: 2, certificates: 2 });
  expect(await post('/fleet-orders/hold', { ...order, signature: signed('approver') })).toEqual(first);
});

describe('rules 8.1: more than a hundred take two people', () => {
  test('alone it is refused with the next step; with two signatures it is carried out as signed, and once', async () => {
    await world.addBatch('B150', 150);
    const act = ['fleet', 'revoke', '--batch', 'B150', '--code', 'keyCompromise', ...why, '-o', 'json'];
    expect((await world.femtopki(...act)).text).toContain('repeat with --confirm "revoke 150 units"');
    const alone = await world.femtopki(...act, '--confirm', 'revoke 150 units');
    expect([alone.code, alone.text]).toEqual([4, expect.stringContaining('APPROVAL_REQUIRED')]);
    expect(alone.text).toContain('repeat with --ask, then let somebody else approve it');

    const asked = await world.femtopki(...act, '--confirm', 'revoke 150 units', '--ask');
    const { id, approval } = asked.json as { id: number; approval: number };
    expect(asked.text).toContain(`femtopki approval approve ${approval} --as <approver>`);
    expect((await world.femtopki('fleet', 'execute', String(id))).text).toContain('APPROVAL_REQUIRED');
    expect((await world.femtopki('approval', 'approve', String(approval))).text).toContain('DENIED'); // one's own
    expect(await world.statuses('B150')).toEqual({});

    // What is on the signed list and selected no more is passed over; what came later was never signed.
    await world.db.pool.query(`UPDATE unit SET batch_id = 1 WHERE serial_number = 'B150-000007'`);
    const approved = await world.femtopki('approval', 'approve', String(approval), '--as', 'approver');
    expect(approved.text).toContain('You approve: {"kind":"fleet.revoke"');
    const done = await world.femtopki('fleet', 'execute', String(id), '-o', 'json');
    expect(done.json).toMatchObject({ state: 'done', count: 150, units: 149, certificates: 149, passedOver: 1 });
    expect(done.json).toMatchObject({ blockedKeys: 149 });
    expect(await world.statuses('B150')).toEqual({ 'revoked 1': 149 });

    const again = await world.femtopki('fleet', 'execute', String(id), '-o', 'json');
    expect(again.json).toMatchObject({ state: 'done', units: 149 });
    const { rows } = await world.db.pool.query(
      `SELECT kind, body::json->>'approvedBy' AS approved FROM ledger_inbox WHERE kind IN ('approval.spent', 'fleet-order.started')
       AND body::json->>'approvedBy' IS NOT NULL ORDER BY id`,
    );
    expect(rows).toEqual([
      { kind: 'approval.spent', approved: 'approver' },
      { kind: 'fleet-order.started', approved: 'person:approver' },
    ]);
  });

  test('rows alone prove nothing: none of these edits carries anything out', async () => {
    await world.addBatch('ROWS', 130);
    const edits: [string, string, string][] = [
      [
        'an approval by hand',
        `UPDATE approval SET state = 'approved', approval_signature = request_signature,
          approved_by = (SELECT id FROM person WHERE name = 'approver') WHERE id = $2 AND $1::bigint > 0`,
        'DENIED',
      ],
      [
        'no approval at all',
        `UPDATE fleet_order SET state = 'running', approval_id = NULL WHERE id = $1 AND $2::bigint > 0`,
        'DENIED',
      ],
      ['a started order', `UPDATE fleet_order SET state = 'running' WHERE id = $1 AND $2::bigint > 0`, 'DENIED'],
      [
        'another text',
        `WITH a AS (UPDATE approval SET request = replace(request, 'hold', 'revoke') WHERE id = $2)
          UPDATE fleet_order SET request = replace(request, 'fleet.hold', 'fleet.revoke') WHERE id = $1`,
        'DENIED',
      ],
    ];
    for (const [what, sql, code] of edits) {
      const { id, approval } = await ask('hold', 'ROWS', 130);
      await world.db.pool.query(sql, [id, approval]);
      const { text } = await world.femtopki('fleet', 'execute', String(id));
      expect([what, text]).toEqual([what, expect.stringContaining(code)]);
      await world.db.pool.query(`UPDATE fleet_order SET state = 'waiting' WHERE id = $1`, [id]);
    }
    expect(await world.statuses('ROWS')).toEqual({});
  });

  test('a list that is not the signed one, and a finished order that was set back, are refused', async () => {
    await world.addBatch('LIST', 120);
    await world.addBatch('VICTIM', 1);
    const { id, approval } = await ask('hold', 'LIST', 120);
    await world.femtopki('approval', 'approve', String(approval), '--as', 'approver');
    const swap = (from: string, to: string) =>
      world.db.pool.query(
        'UPDATE fleet_order SET serial_numbers = array_replace(serial_numbers, $2, $3) WHERE id = $1',
        [id, from, to],
      );
    await swap('LIST-000001', 'VICTIM-000001');
    const { text } = await world.femtopki('fleet', 'execute', String(id));
    expect(text).toContain('The list of this order is not the one that was signed');
    expect([await world.statuses('LIST'), await world.statuses('VICTIM')]).toEqual([{}, {}]);
    await swap('VICTIM-000001', 'LIST-000001');
    expect((await world.femtopki('fleet', 'execute', String(id), '-o', 'json')).json).toMatchObject({ units: 120 });

    await world.db.pool.query(`UPDATE fleet_order SET state = 'running', done_count = 0 WHERE id = $1`, [id]);
    expect((await world.femtopki('fleet', 'execute', String(id))).text).toContain('The ledger says');
    expect(await world.ledgerCount('certificate.held', 'LIST')).toBe(120);
  });

  test('an approval whose act failed is not spent', async () => {
    await world.addBatch('FAIL', 101);
    const { id, approval } = await ask('hold', 'FAIL', 101);
    await world.femtopki('approval', 'approve', String(approval), '--as', 'approver');
    await world.db.pool.query(
      `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'disk full'; END $$;
       CREATE TRIGGER refuse BEFORE INSERT ON restriction_use EXECUTE FUNCTION refuse()`,
    );
    const stateOf = async () =>
      (await world.db.pool.query('SELECT state FROM approval WHERE id = $1', [approval])).rows[0]?.state;
    expect((await world.femtopki('fleet', 'execute', String(id))).code).toBe(1);
    expect(await stateOf()).toBe('approved');
    await world.db.pool.query('DROP TRIGGER refuse ON restriction_use');
    expect((await world.femtopki('fleet', 'execute', String(id), '-o', 'json')).json).toMatchObject({ units: 101 });
    expect(await stateOf()).toBe('executed');
  });

  test('a release takes two people for one unit even, gives back holds only, and a lost unit stays lost', async () => {
    await world.addBatch('REL', 3);
    await world.femtopki('fleet', 'hold', '--batch', 'REL', ...why, '--ask');
    const orders = await world.db.pool.query<{ id: number; approval_id: number }>(
      'SELECT id, approval_id FROM fleet_order ORDER BY id DESC LIMIT 1',
    );
    const held = orders.rows[0];
    await world.femtopki('approval', 'approve', String(held?.approval_id), '--as', 'approver');
    await world.femtopki('fleet', 'execute', String(held?.id));
    await world.db.pool.query(`UPDATE unit SET state = 'LOST' WHERE serial_number = 'REL-000002'`);
    const release = ['fleet', 'release', '--batch', 'REL', '--reason', 'false alarm', '-o', 'json'];
    expect((await world.femtopki(...release)).text).toContain('Trust is given back by two people');
    const { id, approval, changing } = { ...(await world.femtopki(...release, '--ask')).json } as Record<
      string,
      number
    >;
    expect(changing).toBeUndefined();
    await world.femtopki('approval', 'approve', String(approval), '--as', 'approver');
    const done = (await world.femtopki('fleet', 'execute', String(id), '-o', 'json')).json;
    expect(done).toMatchObject({ state: 'done', units: 2, certificates: 2, already: 1 });
    expect(await world.statuses('REL')).toEqual({ 'released 0': 2, 'held 6': 1 });
  });
});

async function ask(act: string, batch: string, count: number): Promise<{ id: number; approval: number }> {
  const confirm = `${act} ${count} units`;
  const { json, text } = await world.femtopki(
    ...['fleet', act, '--batch', batch, ...why, '--confirm', confirm, '--ask', '-o', 'json'],
  );
  if (json['approval'] === undefined) throw new Error(text);
  return json as { id: number; approval: number };
}
