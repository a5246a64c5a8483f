import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { openStatusRooms, type StatusRooms } from '../../support/status-rooms.js';
import { type StatusWorld, startStatusWorld } from '../../support/status-world.js';

let world: StatusWorld;
let rooms: StatusRooms;
beforeAll(async () => {
  world = await startStatusWorld();
  rooms = openStatusRooms(world);
});
afterAll(async () => {
  rooms.remove();
  await world.close();
});

const by = { actor: 'person:kim "K"', personId: null, note: 'she said: "\u00e9\\"' } as const;
const at = new Date('2026-11-24T10:20:30.405Z');

describe('what the database writes by itself is what this process would write', () => {
  test('status row, CRL entry and entry in the ledger, byte for byte but for the serial', async () => {
    const [fast, careful] = [await world.addUnit(), await world.addUnit()];
    const of = async (unitId: number) => world.issue({ unitId, notBefore: new Date('2026-11-24T09:00:00Z') });
    const [one, other] = [await of(fast.id), await of(careful.id)];
    for (const state of ['held', 'revoked'] as const) {
      const change = { state, reason: 'privilegeWithdrawn', actor: by.actor, note: by.note, at } as const;
      await world.db.pool.query('DELETE FROM revoked_certificate');
      await world.db.pool.query('DELETE FROM ledger_inbox');
      await world.db.pool.query(`UPDATE unit SET state = 'ACTIVE'`);
      const request = { ...by, reason: change.reason, selection: { by: 'unit', unitId: fast.id } } as const;
      await (state === 'held' ? rooms.revocation.hold(request) : rooms.revocation.revoke(request));
      await world.transactor.run((tx) => rooms.revocation.setStatus(tx, [other], change));
      const { rows } = await world.db.pool.query<{
        entry: Buffer;
        body: string;
        serial: Buffer;
        rest: string;
        at: Date;
      }>(
        `SELECT r.entry_der AS entry, r.serial, r.revoked_at AS at, r.state || r.reason || (r.changed_at = r.revoked_at) AS rest,
           (SELECT kind || body FROM ledger_inbox WHERE body LIKE '%' || encode(r.serial, 'hex') || '%') AS body
         FROM revoked_certificate r ORDER BY r.unit_id`,
      );
      const [a, b] = rows;
      if (!a || !b) throw new Error('two rows were expected');
      const same = (text: string, serial: Buffer, unitId: number) =>
        text.replaceAll(serial.toString('hex'), 'SERIAL').replace(`"unitId":${unitId}`, '"unitId":UNIT');
      expect(same(a.body, one.serial, fast.id)).toBe(same(b.body, other.serial, careful.id));
      expect(a.rest).toBe(b.rest);
      const withoutTime = ({ entry, serial }: typeof a) =>
        entry
          .toString('hex')
          .replace(serial.toString('hex'), 'SERIAL')
          .replace(/170d[0-9a-f]{26}/, 'TIME');
      expect(withoutTime(a)).toBe(withoutTime(b));
      expect(withoutTime(a)).toContain('SERIALTIME');
    }
  });

  test('a unit of which one certificate is held and one has no status: both are revoked, the held one since its hold', async () => {
    const unit = await world.addUnit();
    const held = await world.issue({ unitId: unit.id });
    await world.issue({ unitId: unit.id });
    const heldSince = new Date('2026-11-01T00:00:00Z');
    const hold = { state: 'held', reason: 'certificateHold', actor: 'x', at: heldSince } as const;
    await world.transactor.run((tx) => rooms.revocation.setStatus(tx, [held], hold));
    const selection = { by: 'unit', unitId: unit.id } as const;
    expect(await rooms.revocation.revoke({ ...by, reason: 'keyCompromise', selection })).toEqual({
      units: 1,
      certificates: 2,
      blockedKeys: 2,
    });
    const { rows } = await world.db.pool.query(
      'SELECT state, revoked_at = $2 AS since FROM revoked_certificate WHERE unit_id = $1 ORDER BY revoked_at',
      [unit.id, heldSince],
    );
    expect(rows).toEqual([
      { state: 'revoked', since: true },
      { state: 'revoked', since: false },
    ]);
  });
});

describe('growth', () => {
  test('revoking one unit looks at its own rows only, by index, whatever was revoked before', async () => {
    const unit = await world.addUnit();
    await world.issue({ unitId: unit.id });
    const plans: string[] = [];
    const planned = {
      query: async <Row extends object>(sql: string, params: readonly unknown[] = []) => {
        if (/revoked_certificate|FROM unit|certificate c/.test(sql) && !/^EXPLAIN/.test(sql)) {
          const { rows } = await world.db.pool.query<{ 'QUERY PLAN': string }>(`EXPLAIN ${sql}`, [...params]);
          plans.push(rows.map((row) => row['QUERY PLAN']).join('\n'));
        }
        const { rows, rowCount } = await world.db.pool.query<Row>(sql, [...params]);
        return { rows, rowCount: rowCount ?? 0 };
      },
    };
    await world.db.pool.query(
      `INSERT INTO revoked_certificate SELECT $1, decode('01' || left(md5(n::text), 30), 'hex'), now() + interval '1 day', NULL, 'revoked',
         1, now(), '\\x00', now() FROM generate_series(1, 50000) n`,
      [world.deviceCa.id],
    );
    await world.db.pool.query(
      `INSERT INTO unit (maker_id, batch_id, serial_number, eui, hardware_id, fqdn, model, state, state_changed_at)
       SELECT 1, 1, 'G' || n, 'g' || n, 'g' || n, 'g' || n, 'FC-1', 'ACTIVE', now() FROM generate_series(1, 50000) n`,
    );
    await world.db.pool.query('ANALYZE');
    const transactor = {
      ...world.transactor,
      read: planned,
      run: async <T>(work: (tx: typeof planned) => Promise<T>) => work(planned),
    };
    const one = openStatusRooms({ ...world, transactor });
    expect(
      await one.revocation.revoke({ ...by, reason: 'keyCompromise', selection: { by: 'unit', unitId: unit.id } }),
    ).toMatchObject({ certificates: 1 });
    one.remove();
    expect(plans.length).toBeGreaterThanOrEqual(3);
    expect(plans.join('\n')).not.toMatch(/Seq Scan on (?:unit|revoked_certificate)/);
    expect(plans.join('\n')).toMatch(/unit_pkey/);
  });
});
