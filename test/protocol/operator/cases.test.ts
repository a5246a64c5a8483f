import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { caseStore } from '../../../src/lifecycle/incident/case-store.pg.js';
import { makeCaseClock, makeCaseDesk } from '../../../src/lifecycle/incident/index.js';
import { owedDutyReader } from '../../../src/lifecycle/incident/owed-duties.pg.js';
import { transactorOf } from '../../../src/platform/db/transaction.pg.js';
import { ledger } from '../../../src/platform/ledger/ledger.pg.js';
import { type OperatorWorld, operatorWorld } from '../../support/operator-world.js';

const HOUR_MS = 3_600_000;

let world: OperatorWorld;
beforeAll(async () => {
  world = await operatorWorld();
});
afterAll(() => world.close());

const desk = makeCaseDesk({ store: caseStore, ledger });
let units = 0;
/** A case as detection opens it. */
const opened = async (grade: 'strong' | 'hard', at = new Date()): Promise<number> => {
  units += 1;
  const report = { unitId: 1_000 + units, subject: `unit:T-${units}`, kind: 'lineage-fork', grade, at } as const;
  return (await transactorOf(world.db.pool).run((tx) => desk.file(tx, report))).caseId;
};
const shown = async (id: number) => (await world.call('auditor', 'GET', `/cases/${id}`)).json;
/** The worker's look at the clock, at another time. */
const clockAt = (now: () => Date) => {
  const alarms: Record<string, unknown>[] = [];
  const look = makeCaseClock({
    db: transactorOf(world.db.pool),
    clock: { now },
    cases: desk,
    duties: owedDutyReader,
    alarm: (what, facts) => alarms.push({ what, ...facts }),
  });
  return { look, alarms };
};

describe('a case', () => {
  test('says where its unit was seen: gateways, addresses, the cells that it claimed and their districts', async () => {
    const { pool } = world.db;
    const id = await opened('strong', new Date(Date.now() - HOUR_MS));
    const { unitId } = await shown(id);
    const seenAt = (body: object) =>
      pool.query(
        `INSERT INTO evidence (at, code, grade, unit_id, subject, facts) VALUES (now(), 'DEVICE_LOST', 'soft', $1, 'x', $2)`,
        [unitId, JSON.stringify(body)],
      );
    await pool.query(`INSERT INTO line (name, region) VALUES ('seen-line', 'busan')`);
    const place = { gateway: 'segw-gangnam-1', address: '203.0.113.166', line: null };
    await seenAt(place);
    await seenAt({ ...place, cell: '001-01-0000777' });
    await seenAt({ ...place, cell: '001-01-0000777' });
    await seenAt({ ...place, address: '192.0.2.66', line: 'seen-line', cell: '001-01-0000778' });
    expect((await shown(id))['seen']).toEqual([
      expect.objectContaining({ address: '203.0.113.166', cell: null, district: null, times: 1 }),
      expect.objectContaining({ address: '203.0.113.166', cell: '001-01-0000777', district: null, times: 2 }),
      expect.objectContaining({ address: '192.0.2.66', cell: '001-01-0000778', district: 'busan', times: 1 }),
    ]);
  });

  test('taking it over starts every time; reports are owed one by one, and only then may it be closed', async () => {
    const id = await opened('hard');
    expect((await world.call('operator', 'POST', `/cases/${id}/facts`, { fact: 'too early' })).status).toBe(409);
    await world.call('operator', 'POST', `/cases/${id}/acknowledge`, {});
    await world.call('operator', 'POST', `/cases/${id}/facts`, { fact: 'the key was seen at two gateways' });
    const owed = (await shown(id))['owed'] as { duty: string; dueAt: string; late: string | null }[];
    expect(owed.map(({ duty }) => duty)).toEqual([
      'network-initial',
      'network-supplementary',
      'privacy-authority',
      'user-notice',
    ]);
    expect(owed.every(({ late }) => late === null)).toBe(true);
    const early = await world.call('operator', 'POST', `/cases/${id}/close`, { reason: 'done' });
    expect([early.status, early.json['detail']]).toEqual([409, expect.stringContaining('network-initial')]);
    for (const { duty } of owed)
      expect(
        (await world.call('operator', 'POST', `/cases/${id}/reports`, { duty, receipt: `R-${duty}` })).status,
      ).toBe(200);
    const twice = await world.call('operator', 'POST', `/cases/${id}/reports`, { duty: 'user-notice', receipt: 'R-2' });
    expect(twice.status).toBe(404);
    expect((await world.call('approver', 'POST', `/cases/${id}/close`, { reason: 'both cut off' })).status).toBe(200);
    expect((await world.call('operator', 'POST', `/cases/${id}/facts`, { fact: 'too late' })).status).toBe(409);
    const { timeline } = await shown(id);
    expect((timeline as { kind: string }[]).map(({ kind }) => kind)).toEqual([
      ...['opened', 'acknowledged', 'aware', 'fact', 'reported', 'reported', 'reported', 'reported', 'closed'],
    ]);
    const { rows } = await world.db.pool.query<{ kind: string }>(
      `SELECT kind FROM ledger_inbox WHERE subject = $1 ORDER BY id`,
      [`case:${id}`],
    );
    expect(rows.map(({ kind }) => kind)).toEqual([
      ...['case.acknowledged', 'case.aware', 'case.fact'],
      ...['case.reported', 'case.reported', 'case.reported', 'case.reported', 'case.closed'],
    ]);
  });

  test('hard evidence that nobody looks at makes the operator aware after four hours; less than hard does not', async () => {
    const start = Date.now() - 10 * HOUR_MS;
    const [hard, strong] = [await opened('hard', new Date(start)), await opened('strong', new Date(start))];
    const young = await opened('hard', new Date());
    const { look, alarms } = clockAt(() => new Date());
    await look();
    expect(await shown(hard)).toMatchObject({
      state: 'open',
      awareAt: new Date(start + 4 * HOUR_MS).toISOString(),
      awareBy: 'system:awareness',
    });
    expect((await shown(strong))['awareAt']).toBeNull();
    expect((await shown(young))['awareAt']).toBeNull();
    expect(alarms).toContainEqual(expect.objectContaining({ caseId: hard }));
    // Whoever takes it over now does not move the time.
    await world.call('operator', 'POST', `/cases/${hard}/acknowledge`, {});
    expect((await shown(hard))['awareAt']).toBe(new Date(start + 4 * HOUR_MS).toISOString());
    alarms.length = 0;
    await look();
    expect(alarms).toEqual([]);
  });

  test('people are told at 12, 4 and 1 hours left and when it is late, once each, and lateness is shown', async () => {
    const id = await opened('hard');
    await world.call('operator', 'POST', `/cases/${id}/acknowledge`, {});
    const [first] = (await shown(id))['owed'] as { dueAt: string }[];
    const dueMs = Date.parse(first?.dueAt ?? '');
    let hoursLeft = 13;
    const { look, alarms } = clockAt(() => new Date(dueMs - hoursLeft * HOUR_MS));
    const heard: unknown[] = [];
    for (hoursLeft of [13, 12, 11, 4, 3.5, 1, 0.5, -1, -2]) {
      alarms.length = 0;
      await look();
      heard.push(alarms.filter((one) => one['caseId'] === id && one['duty'] === 'network-initial').length);
    }
    expect(heard).toEqual([0, 1, 0, 1, 0, 1, 0, 1, 0]);
    const said = await world.call('operator', 'POST', `/cases/${id}/reports`, {
      duty: 'network-initial',
      receipt: 'receipt 2026-7',
    });
    expect((said.json['owed'] as object[])[0]).toMatchObject({ receipt: 'receipt 2026-7', late: null });
    await world.db.pool.query(
      `UPDATE case_duty SET due_at = now() - interval '65 minutes' WHERE case_id = $1 AND duty = 'user-notice'`,
      [id],
    );
    const owed = (await shown(id))['owed'] as { duty: string; late: string | null }[];
    expect(owed.find(({ duty }) => duty === 'user-notice')?.late).toBe('1:05');
  });

  test.each([
    ['the case', 'DELETE FROM incident_case'],
    ['what was done about it', `UPDATE case_event SET note = 'nothing'`],
    ['an event', 'DELETE FROM case_event'],
    ['what is owed', 'DELETE FROM case_duty'],
    ['since when somebody knew', `UPDATE incident_case SET aware_at = now() WHERE aware_at IS NOT NULL`],
  ])('%s cannot be taken out or told otherwise, not even in the database', async (_, sql) => {
    await expect(world.db.pool.query(sql)).rejects.toThrow(/refused/);
  });

  test('a number that names none, and a subscriber’s identity in a fact, are refused', async () => {
    expect((await world.call('auditor', 'GET', '/cases/999999')).status).toBe(404);
    expect((await world.call('auditor', 'GET', '/cases/abc')).status).toBe(404);
    const id = await opened('hard');
    await world.call('operator', 'POST', `/cases/${id}/acknowledge`, {});
    const fact = 'IMSI 450081234567890 was listened to';
    expect((await world.call('operator', 'POST', `/cases/${id}/facts`, { fact })).status).toBe(400);
  });
});
