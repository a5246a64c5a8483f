import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type OperatorWorld, operatorWorld } from '../../support/operator-world.js';

let world: OperatorWorld;
beforeAll(async () => {
  world = await operatorWorld();
  await world.db.pool.query(
    `INSERT INTO maker (name, manifest_key_spki, eui_prefixes, created_at) VALUES ('garam', '\\x00', '{02}', now())`,
  );
  await world.db.pool.query(
    `INSERT INTO batch (maker_id, name, model, firmware_sha256, state, manifest_sha256, manifest_jws, unit_count, submitted_at)
     VALUES (1, 'b1', 'FC-1', 'ff', 'open', '\\x00', 'x', 1, now())`,
  );
});
afterAll(async () => {
  await world.close();
});

let count = 0;
async function addUnit(keyProtection = 'file'): Promise<string> {
  count += 1;
  const serialNumber = `SHB-24-${String(count).padStart(5, '0')}`;
  const eui = `02${count.toString(16).padStart(10, '0')}`;
  await world.db.pool.query(
    `INSERT INTO unit (maker_id, batch_id, serial_number, eui, hardware_id, fqdn, model, profile, state, state_changed_at,
       key_protection)
     VALUES (1, 1, $1, $2, $1, $3, 'FC-1', 'operational-7d', 'BOOTSTRAPPED', now(), $4)`,
    [serialNumber, eui, `${eui}.femto.hanbit.example`, keyProtection],
  );
  return serialNumber;
}

const unitRow = async (serialNumber: string) =>
  (
    await world.db.pool.query('SELECT state, rework_allowed AS rework FROM unit WHERE serial_number = $1', [
      serialNumber,
    ])
  ).rows[0];
const lost = (serialNumber: string) =>
  world.call('operator', 'POST', `/units/${serialNumber}/lost`, { reason: 'reported by its owner' });
const release = (serialNumber: string, body: Record<string, unknown>) =>
  world.call('operator', 'POST', `/units/${serialNumber}/release`, { reason: 'found again', ...body });

/** An approval by both people of exactly this request. */
async function approved(request: Record<string, unknown>): Promise<number> {
  const act = { kind: 'unit.release', request, selectionCount: 1 };
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

describe('giving trust back (rules 8.1 and section 4)', () => {
  const evidence = 'inspection 2026-118';

  test('a lost unit comes back with its inspection record, approved by another person; its bootstrap key does not', async () => {
    const unit = await addUnit();
    await lost(unit);
    const approval = await approved({ unit, state: 'LOST', evidence });
    expect((await release(unit, { approval, evidence })).json).toMatchObject({ state: 'BOOTSTRAPPED' });
    expect(await unitRow(unit)).toEqual({ state: 'BOOTSTRAPPED', rework: true });
    expect((await release(unit, { approval, evidence })).json['code']).toBe('APPROVAL_REQUIRED');
  });

  test('what the second person did not sign is not done: other evidence, or keeping the copied bootstrap key', async () => {
    const unit = await addUnit();
    await lost(unit);
    const approval = await approved({ unit, state: 'LOST', evidence });
    for (const body of [{ evidence: 'none at all' }, {}, { evidence, replaceBootstrap: false }]) {
      expect((await release(unit, { approval, ...body })).json['code']).toBe('APPROVAL_REQUIRED');
    }
    expect(await unitRow(unit)).toMatchObject({ state: 'LOST' });
  });

  test('a key in a file is replaced even where both people would keep it', async () => {
    const unit = await addUnit();
    await lost(unit);
    const approval = await approved({ unit, state: 'LOST', evidence, replaceBootstrap: false });
    await release(unit, { approval, evidence, replaceBootstrap: false });
    expect(await unitRow(unit)).toEqual({ state: 'BOOTSTRAPPED', rework: true });
  });

  test('an approved end of a hold does not end a loss that was reported since', async () => {
    const unit = await addUnit();
    await world.call('operator', 'POST', `/units/${unit}/hold`, { reason: 'moving house' });
    const approval = await approved({ unit, state: 'SUSPENDED' });
    await lost(unit);
    expect((await release(unit, { approval })).json['code']).toBe('APPROVAL_REQUIRED');
    const unitId = (await world.db.pool.query('SELECT id FROM unit WHERE serial_number = $1', [unit])).rows[0].id;
    // Reported in the moment between the look and the lock.
    const late = world.deps.revocation.release({
      unitId,
      note: 'found again',
      evidence,
      actor: 'person:operator',
      personId: 1,
      approvedBy: 'person:approver',
      approvedState: 'SUSPENDED',
    });
    await expect(late).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    expect(await unitRow(unit)).toMatchObject({ state: 'LOST' });
  });
});
