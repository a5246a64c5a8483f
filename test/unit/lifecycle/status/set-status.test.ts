import { describe, expect, test } from '@jest/globals';
import {
  type StatusRow,
  type StatusRowStore,
  type StatusState,
  setStatus,
} from '../../../../src/lifecycle/status/index.js';
import type { Transaction } from '../../../../src/platform/db/transaction.js';
import { crlEntry } from '../../../../src/x509/crl.js';

const tx: Transaction = { query: async () => ({ rows: [], rowCount: 0 }) };
const before = new Date('2026-11-20T00:00:00Z');
const at = new Date('2026-11-24T00:00:00Z');
const subject = { issuerId: 4, serial: Buffer.alloc(16, 1), notAfter: new Date('2026-12-01T00:00:00Z'), unitId: 7 };

function storeWith(state?: StatusState): StatusRowStore & { dirty: number[] } {
  const row: StatusRow | undefined = state && {
    ...subject,
    state,
    reason: 6,
    revokedAt: before,
    entryDer: Buffer.alloc(0),
    changedAt: before,
  };
  const dirty: number[] = [];
  return {
    dirty,
    lockRows: async () => (row ? [row] : []),
    writeRows: async (_tx, rows) => [...rows],
    addRows: async () => ({ added: 0, left: 0, issuerIds: [], unitIds: [], some: [] }),
    markDirty: async (_tx, ids) => void dirty.push(...ids),
  };
}

describe('how a status may change', () => {
  test.each<[StatusState | undefined, StatusState, boolean]>([
    [undefined, 'held', true],
    [undefined, 'revoked', true],
    [undefined, 'released', false],
    ['held', 'held', false],
    ['held', 'revoked', true],
    ['held', 'released', true],
    ['revoked', 'held', false],
    ['revoked', 'revoked', false],
    ['revoked', 'released', false],
    ['released', 'held', true],
    ['released', 'revoked', true],
    ['released', 'released', false],
  ])('%s to %s: %s', async (from, state, changes) => {
    const store = storeWith(from);
    const changed = await setStatus(store, tx, [subject], { state, reason: 'keyCompromise', at });
    expect(changed).toHaveLength(changes ? 1 : 0);
    expect(store.dirty).toEqual(changes ? [4] : []);
  });

  test('the entry is ready for a CRL, with the date from which the certificate was not to be trusted', async () => {
    const [held] = await setStatus(storeWith('held'), tx, [subject], { state: 'revoked', reason: 'keyCompromise', at });
    expect(held).toMatchObject({ revokedAt: before, reason: 1 });
    expect(
      held?.entryDer.equals(crlEntry({ serial: subject.serial, revokedAt: before, reason: 'keyCompromise' })),
    ).toBe(true);
    const [again] = await setStatus(storeWith('released'), tx, [subject], {
      state: 'held',
      reason: 'keyCompromise',
      at,
    });
    expect(again).toMatchObject({ revokedAt: at, reason: 6 }); // a hold is certificateHold, whatever is said
  });

  test('a copy that claims an earlier expiry does not shorten its stay on the CRL', async () => {
    const early = { ...subject, notAfter: at };
    const [row] = await setStatus(storeWith('held'), tx, [early], { state: 'revoked', reason: 'unspecified', at });
    expect(row?.notAfter).toEqual(subject.notAfter);
  });

  test('the same certificate twice in one set is one change', async () => {
    const changed = await setStatus(storeWith(), tx, [subject, subject], { state: 'held', reason: 'unspecified', at });
    expect(changed).toHaveLength(1);
  });
});
