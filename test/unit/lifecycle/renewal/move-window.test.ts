import { expect, test } from '@jest/globals';
import { moveWindow } from '../../../../src/lifecycle/renewal/index.js';
import type { LedgerEntry } from '../../../../src/platform/ledger/ledger.js';

const at = (day: number): Date => new Date(Date.parse('2026-11-20T00:00:00Z') + day * 86_400_000);
const tx = { query: () => Promise.reject(new Error('no database here')) };

function world(inUse = true) {
  const entries: LedgerEntry[] = [];
  const moved: unknown[] = [];
  const store = {
    admit: () => Promise.reject(new Error('not asked')),
    windowOf: async (_tx: unknown, slotId: number) =>
      slotId === 1
        ? { lineageId: 1, serialNumber: 'SHB-24-00817', notBefore: at(0), notAfter: at(10), renewUntil: at(8) }
        : null,
    moveWindows: async (_tx: unknown, moves: readonly { slotId: number }[]) => {
      moved.push(...moves);
      return inUse ? moves.map(({ slotId }) => slotId) : [];
    },
  };
  const ledger = { append: async (_tx: unknown, more: readonly LedgerEntry[]) => void entries.push(...more) };
  const move = (renewFrom: Date, renewUntil: Date, slotId = 1) =>
    moveWindow({ store, ledger }, tx, { slotId, renewFrom, renewUntil, actor: 'person:kim', at: at(1) });
  return { entries, moved, move };
}

test('a window inside 90 % of the life moves, and the ledger says by whom', async () => {
  const { move, entries, moved } = world();
  await move(at(0), at(9));
  expect(moved).toHaveLength(1);
  expect(entries).toMatchObject([{ kind: 'renewal.window-moved', body: { actor: 'person:kim' } }]);
});

test.each([
  ['a millisecond past 90 %', at(0), new Date(at(9).getTime() + 1)],
  ['reversed', at(3), at(2)],
  ['empty', at(3), at(3)],
])('%s is refused and changes nothing', async (_name, from, until) => {
  const { move, moved, entries } = world();
  await expect(move(from, until)).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  expect([moved, entries]).toEqual([[], []]);
});

test('an unknown slot is NOT_FOUND, one out of use STATE_CONFLICT', async () => {
  await expect(world().move(at(1), at(2), 2)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(world(false).move(at(1), at(2))).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
});
