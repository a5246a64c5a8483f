import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { StatusChangeKind, StatusChanges } from '../../../src/lifecycle/status/index.js';
import { statusChangeReader } from '../../../src/lifecycle/status/status-changes.pg.js';
import { ledger } from '../../../src/platform/ledger/ledger.pg.js';
import { openStatusRooms, type StatusRooms } from '../../support/status-rooms.js';
import { sequencerOf } from '../../support/status-sequencer.js';
import { type StatusWorld, startStatusWorld, type WorldCertificate } from '../../support/status-world.js';

let world: StatusWorld;
let rooms: StatusRooms;
let sequence: () => Promise<void>;

beforeAll(async () => {
  world = await startStatusWorld();
  rooms = openStatusRooms(world);
  sequence = await sequencerOf(world);
  await world.beat();
});
afterAll(async () => {
  rooms.remove();
  await world.close();
});

const KINDS: StatusChangeKind[] = [
  'certificate.issued',
  'certificate.revoked',
  'certificate.held',
  'certificate.released',
];
const why = { actor: 'person:kim', personId: null, reason: 'keyCompromise', note: 'stolen' } as const;

async function issueTo(unitId: number): Promise<WorldCertificate> {
  return world.issue({ unitId });
}
const changesAfter = (
  after: { epoch: number; seq: number },
  bounds: { numberedMax?: number; unnumberedMax?: number } = {},
) => statusChangeReader.changesAfter(world.transactor.read, { after, kinds: KINDS, ...bounds });
const end = async () => (await statusChangeReader.snapshot(world.transactor.read)).end;

function whole(changes: StatusChanges): Extract<StatusChanges, { kind: 'changes' }> {
  if (changes.kind !== 'changes') throw new Error(`resync: ${changes.reason}`);
  return changes;
}

describe('every change of status after a position, in one snapshot', () => {
  test('what is committed and not numbered yet is there, and comes again with its number', async () => {
    const after = await end();
    const unit = await world.addUnit();
    const { serial } = await issueTo(unit.id);
    await rooms.revocation.hold({ ...why, selection: { by: 'unit', unitId: unit.id } });
    const unnumbered = whole(await changesAfter(after));
    expect(unnumbered.position).toEqual(after);
    expect(unnumbered.isWhole).toBe(true);
    const [certificate] = unnumbered.certificates;
    expect(unnumbered.certificates).toHaveLength(1);
    expect(certificate).toMatchObject({ issuerId: world.deviceCa.id, serial, isIssued: true });
    expect(certificate?.row).toMatchObject({ state: 'held', reason: 6, unitId: unit.id });
    await sequence();
    const numbered = whole(await changesAfter(after));
    expect(numbered.certificates).toEqual(unnumbered.certificates);
    expect(numbered.position.seq).toBeGreaterThan(after.seq);
    expect(whole(await changesAfter(numbered.position)).certificates).toEqual([]);
  });

  test('the row is the newest of the snapshot, whatever its entries said', async () => {
    const after = await end();
    const unit = await world.addUnit();
    await issueTo(unit.id);
    const selection = { by: 'unit', unitId: unit.id } as const;
    await rooms.revocation.hold({ ...why, selection });
    await rooms.revocation.release({ ...why, unitId: unit.id });
    expect(whole(await changesAfter(after)).certificates[0]?.row?.state).toBe('released');
    await sequence();
    expect(whole(await changesAfter(after)).certificates[0]?.row?.state).toBe('released');
    await rooms.revocation.revoke({ ...why, selection });
    expect(whole(await changesAfter(after)).certificates[0]?.row?.state).toBe('revoked');
    await sequence();
  });

  test('the heartbeat is the one of the snapshot, and the primary says that it is one', async () => {
    const at = new Date('2026-05-01T12:00:00.000Z');
    await world.beat(at);
    const { snapshot } = whole(await changesAfter(await end()));
    expect(snapshot).toMatchObject({ heartbeatAt: at, isPrimary: true });
    await world.beat();
  });

  test('a transaction that commits late is not passed over', async () => {
    const after = await end();
    const unit = await world.addUnit();
    const late = await issueTo(unit.id);
    const client = await world.db.pool.connect();
    try {
      await client.query('BEGIN');
      const tx = {
        query: async <Row extends object>(sql: string, params: readonly unknown[] = []) => {
          const { rows, rowCount } = await client.query<Row>(sql, [...params]);
          return { rows, rowCount: rowCount ?? 0 };
        },
      };
      await rooms.revocation.setStatus(tx, [{ ...late, unitId: null }], {
        ...why,
        state: 'revoked',
        at: new Date(),
      });
      // Others commit and are numbered while it is open: its entries have lower inbox ids than theirs.
      const other = await issueTo(unit.id);
      await sequence();
      const early = whole(await changesAfter(after));
      expect(early.certificates.map(({ serial }) => serial.toString('hex')).sort()).toEqual(
        [late, other].map(({ serial }) => serial.toString('hex')).sort(),
      );
      expect(early.certificates.every(({ row }) => row === null)).toBe(true);
      await client.query('COMMIT');
      const inInbox = whole(await changesAfter(early.position));
      expect(inInbox.certificates.map(({ serial, row }) => [serial, row?.state])).toEqual([[late.serial, 'revoked']]);
      await sequence();
      const numbered = whole(await changesAfter(early.position));
      expect(numbered.certificates.map(({ serial, row }) => [serial, row?.state])).toEqual([[late.serial, 'revoked']]);
    } finally {
      client.release();
    }
  });

  test('pages are bounded, and only the last one of them says that it is whole', async () => {
    await sequence();
    const after = await end();
    for (let index = 0; index < 5; index += 1) await issueTo((await world.addUnit()).id);
    await sequence();
    const serials: string[] = [];
    let position = after;
    let pages = 0;
    for (let isWhole = false; !isWhole; pages += 1) {
      const page = whole(await changesAfter(position, { numberedMax: 2 }));
      expect(page.certificates.length).toBeLessThanOrEqual(2);
      serials.push(...page.certificates.map(({ serial }) => serial.toString('hex')));
      ({ position, isWhole } = page);
    }
    expect(pages).toBe(3);
    expect(new Set(serials).size).toBe(5);
    // The inbox is bounded too: a page that it filled claims nothing.
    for (let index = 0; index < 3; index += 1) await issueTo((await world.addUnit()).id);
    const full = whole(await changesAfter(position, { unnumberedMax: 3 }));
    expect(full.certificates).toHaveLength(3);
    expect(full.isWhole).toBe(false);
    expect(whole(await changesAfter(position, { unnumberedMax: 4 })).isWhole).toBe(true);
  });

  test('only the kinds that were asked for are told, and the others do not look like a gap', async () => {
    await sequence();
    const after = await end();
    const { serial } = await issueTo((await world.addUnit()).id);
    await sequence();
    const changes = await statusChangeReader.changesAfter(world.transactor.read, {
      after,
      kinds: ['certificate.revoked'],
    });
    expect(whole(changes).certificates).toEqual([]);
    expect(whole(changes).position).toEqual(await end());
    expect(whole(await changesAfter(after)).certificates[0]?.serial).toEqual(serial);
  });
});

describe('a position that means nothing here is a resync', () => {
  test.each([
    ['unknown-epoch', { epoch: 7, seq: 0 }],
    ['beyond-end', { epoch: 1, seq: 1_000_000 }],
  ])('%s', async (reason, after) => {
    expect(await changesAfter(after)).toMatchObject({ kind: 'resync', reason, to: await end() });
  });

  test('an entry that names no certificate: could mean any; before it has a number nothing is whole', async () => {
    const after = await end();
    await world.transactor.run((tx) =>
      ledger.append(tx, [{ kind: 'certificate.revoked', subject: 'issuer:x', at: new Date(), body: { serial: 'zz' } }]),
    );
    expect(whole(await changesAfter(after)).isWhole).toBe(false);
    await sequence();
    expect(await changesAfter(after)).toMatchObject({ kind: 'resync', reason: 'unreadable', to: await end() });
  });

  test('rows that are missing', async () => {
    const after = await end();
    await issueTo((await world.addUnit()).id);
    await sequence();
    await world.db.pool.query('ALTER TABLE ledger DISABLE TRIGGER ALL');
    await world.db.pool.query('DELETE FROM ledger WHERE seq > $1', [after.seq]);
    expect(await changesAfter(after)).toMatchObject({ kind: 'resync', reason: 'gap' });
  });
});
