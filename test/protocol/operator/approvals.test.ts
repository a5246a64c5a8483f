import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { spendApproval } from '../../../src/operator/people/approvals.js';
import { type OperatorWorld, operatorWorld } from '../../support/operator-world.js';

let world: OperatorWorld;
beforeAll(async () => {
  world = await operatorWorld();
});
afterAll(async () => {
  await world.close();
});

const act = { kind: 'unit.release', request: { unit: 'SHB-24-00817', state: 'LOST' }, selectionCount: 1 };

describe('an act of two people (rules 8.1)', () => {
  test('requested by one, approved by another, spent once', async () => {
    const id = await requested();
    await expectCode(spend(id), 'APPROVAL_REQUIRED');
    const approved = await world.call('approver', 'POST', `/approvals/${id}/approve`, {
      signature: world.signAs('approver', act, 'approver'),
    });
    expect(approved.json['state']).toBe('approved');
    expect(await spend(id)).toEqual({ requestedBy: 'operator', approvedBy: 'approver' });
    await expectCode(spend(id), 'APPROVAL_REQUIRED');
  });

  test('the requester’s own signature is no approval, nor is the right text signed by the wrong person', async () => {
    const id = await requested();
    for (const signature of [world.signAs('operator', act, 'approver'), world.signAs('approver', act, 'requester')]) {
      const { json } = await world.call('approver', 'POST', `/approvals/${id}/approve`, { signature });
      expect(json['code']).toBe('DENIED');
    }
    const own = await world.call('operator', 'POST', `/approvals/${id}/approve`, {
      signature: world.signAs('operator', act, 'approver'),
    });
    expect(own.json['code']).toBe('DENIED');
  });

  test('a changed act does not fit the approval', async () => {
    const id = await requested();
    await world.call('approver', 'POST', `/approvals/${id}/approve`, {
      signature: world.signAs('approver', act, 'approver'),
    });
    const other = { ...act, request: { ...act.request, unit: 'SHB-24-00818' } };
    await expectCode(
      world.deps.db.run((tx) => spendApproval(world.deps, tx, other, id)),
      'APPROVAL_REQUIRED',
    );
  });

  test('a row written by hand proves nothing: the signatures are checked again', async () => {
    const id = await requested();
    await world.db.pool.query(
      `UPDATE approval SET state = 'approved', approval_signature = request_signature,
         approved_by = (SELECT id FROM person WHERE name = 'approver') WHERE id = $1`,
      [id],
    );
    await expectCode(spend(id), 'DENIED');
  });
});

async function requested(): Promise<number> {
  const { json } = await world.call('operator', 'POST', '/approvals', {
    ...act,
    signature: world.signAs('operator', act, 'requester'),
  });
  return Number(json['id']);
}

function spend(id: number): Promise<unknown> {
  return world.deps.db.run((tx) => spendApproval(world.deps, tx, act, id));
}

async function expectCode(promise: Promise<unknown>, code: string): Promise<void> {
  await expect(promise).rejects.toMatchObject({ code });
}
