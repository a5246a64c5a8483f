import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Transaction } from '../../../src/platform/db/transaction.js';
import { FemtoError } from '../../../src/platform/errors.js';
import { checkIssuance } from '../../support/check-issuance.js';
import { type IssuanceWorld, operational, startIssuanceWorld } from '../../support/issuance-world.js';

let world: IssuanceWorld;
beforeAll(async () => {
  world = await startIssuanceWorld();
}, 120_000);
afterAll(async () => {
  await world?.close();
});

describe('a flush', () => {
  test('runs hooks together where they may, and undoes none but the one that throws', async () => {
    const units = await world.addUnits(6);
    const [refused, lost] = [units[1]?.serialNumber, units[4]?.serialNumber];
    const write = async (tx: Transaction, serialNumber: string, text: string): Promise<void> =>
      void (await tx.query('UPDATE unit SET state_reason = state_reason || $2 WHERE serial_number = $1', [
        serialNumber,
        text,
      ]));
    let sharing = 0;
    const outcomes = await world.issuance.issueMany(
      units.map((unit) =>
        operational(unit, {
          hooksTogether: true,
          withIntent: async (tx) => {
            if (tx.isCommon === true) sharing += 1;
            await write(tx, unit.serialNumber, 'intended,');
            if (unit.serialNumber === refused) throw new FemtoError('GRANT_BAD', 'The code is spent.');
          },
          withIssued: async (tx) => {
            await write(tx, unit.serialNumber, 'issued');
            // The neighbours' statements fail with it: the transaction is broken until its savepoint.
            if (unit.serialNumber === lost) await tx.query('SELECT 1/0');
          },
        }),
      ),
    );
    expect(sharing).toBeGreaterThanOrEqual(units.length);
    const codes = outcomes.map((outcome) => (outcome.ok ? 'ok' : outcome.error.code));
    expect(codes).toEqual(['ok', 'GRANT_BAD', 'ok', 'ok', 'INTERNAL', 'ok']);
    const { rows } = await world.db.pool.query<{ reason: string }>(
      'SELECT state_reason AS reason FROM unit WHERE id = ANY($1) ORDER BY id',
      [units.map(({ id }) => id)],
    );
    const both = 'intended,issued';
    expect(rows.map(({ reason }) => reason)).toEqual([both, '', both, both, 'intended,', both]);
    const held = await world.db.pool.query('SELECT unit_id FROM certificate WHERE unit_id = ANY($1) ORDER BY unit_id', [
      units.map(({ id }) => id),
    ]);
    expect(held.rowCount).toBe(4);
    expect(await checkIssuance(world)).toEqual([]);
  });

  test('never runs the hooks of two requests for one unit side by side', async () => {
    const unit = await world.addUnit();
    const counts: number[] = [];
    const counted = async (tx: Transaction): Promise<void> => {
      const { rows } = await tx.query<{ length: number }>(
        'SELECT length(state_reason) AS length FROM unit WHERE id = $1',
        [unit.id],
      );
      counts.push(rows[0]?.length ?? -1);
      await tx.query(`UPDATE unit SET state_reason = state_reason || '.' WHERE id = $1`, [unit.id]);
    };
    const bootstrap = () =>
      operational(unit, { purpose: 'bootstrap', successor: null, hooksTogether: true, withIssued: counted });
    const outcomes = await world.issuance.issueMany([bootstrap(), bootstrap()]);
    expect(outcomes.map(({ ok }) => ok)).toEqual([true, true]);
    expect(counts).toEqual([0, 1]);
  });
});
