import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Requester } from '../../../src/lifecycle/revocation/index.js';
import { ledger } from '../../../src/platform/ledger/ledger.pg.js';
import { openStatusRooms, type StatusRooms } from '../../support/status-rooms.js';
import { type StatusWorld, startStatusWorld } from '../../support/status-world.js';

let world: StatusWorld;
let rooms: StatusRooms;
let kim: Requester;

beforeAll(async () => {
  world = await startStatusWorld();
  rooms = openStatusRooms(world);
  kim = { actor: 'person:kim', personId: await world.addPerson('kim') };
});
afterAll(async () => {
  rooms.remove();
  await world.close();
});

const why = { reason: 'keyCompromise', note: 'stolen from the van' } as const;

async function statuses(unitId: number): Promise<string[]> {
  const { rows } = await world.db.pool.query<{ state: string; reason: number }>(
    'SELECT state, reason FROM revoked_certificate WHERE unit_id = $1 ORDER BY serial',
    [unitId],
  );
  return rows.map(({ state, reason }) => `${state}:${reason}`);
}

async function unitRow(unitId: number): Promise<{ state: string; epoch: number; rework: boolean }> {
  const { rows } = await world.db.pool.query(
    'SELECT state, revocation_epoch AS epoch, rework_allowed AS rework FROM unit WHERE id = $1',
    [unitId],
  );
  return rows[0];
}

async function ledgerKinds(subject: string): Promise<string[]> {
  const { rows } = await world.db.pool.query<{ kind: string }>(
    'SELECT kind FROM ledger_inbox WHERE subject = $1 ORDER BY id',
    [subject],
  );
  return rows.map(({ kind }) => kind);
}

describe('REV-1: revoking and holding', () => {
  test('a hold suspends the unit, lists every unexpired certificate and what is being signed, and voids it', async () => {
    const unit = await world.addUnit();
    await world.issue({ unitId: unit.id, purpose: 'bootstrap', lifeSeconds: 86_400 * 300 });
    await world.issue({ unitId: unit.id, generation: 1 });
    await world.issue({ unitId: unit.id, state: 'signing' });
    await world.issue({ unitId: unit.id, notBefore: new Date(Date.now() - 86_400_000 * 40) }); // long expired
    const outcome = await rooms.revocation.hold({ ...kim, ...why, selection: { by: 'unit', unitId: unit.id } });
    expect(outcome).toEqual({ units: 1, certificates: 3, blockedKeys: 0 });
    expect(await statuses(unit.id)).toEqual(['held:6', 'held:6', 'held:6']);
    const row = await unitRow(unit.id);
    expect(row.state).toBe('SUSPENDED');
    expect(row.epoch).toBeGreaterThan(0);
    const kinds = await ledgerKinds(`unit:${unit.serialNumber}`);
    expect(kinds.filter((kind) => kind === 'certificate.held')).toHaveLength(3);
    expect(kinds).toContain('unit.state-changed');
  });

  test('the same again changes nothing and costs no budget', async () => {
    const unit = await world.addUnit();
    await world.issue({ unitId: unit.id });
    const request = { ...kim, ...why, selection: { by: 'unit', unitId: unit.id } } as const;
    await rooms.revocation.revoke(request);
    const before = await statuses(unit.id);
    expect(await rooms.revocation.revoke(request)).toEqual({ units: 0, certificates: 0, blockedKeys: 0 });
    const { rows: blocked } = await world.db.pool.query(
      'SELECT 1 FROM blocked_key b JOIN certificate c USING (spki_hash) WHERE c.unit_id = $1',
      [unit.id],
    );
    expect(blocked).toHaveLength(1); // keyCompromise blocks the key, whichever way it is said
    expect(await rooms.revocation.hold(request)).toEqual({ units: 0, certificates: 0, blockedKeys: 0 });
    expect(await statuses(unit.id)).toEqual(before);
    const { rows } = await world.db.pool.query(
      `SELECT count(*)::int AS n FROM restriction_use WHERE what = 'revoked by unit'`,
    );
    expect(rows[0].n).toBe(1);
  });

  test('a hold that becomes a revocation keeps the date from which the certificate was not to be trusted', async () => {
    const unit = await world.addUnit();
    await world.issue({ unitId: unit.id });
    const selection = { by: 'unit', unitId: unit.id } as const;
    await rooms.revocation.hold({ ...kim, ...why, selection });
    const held = await world.db.pool.query('SELECT revoked_at FROM revoked_certificate WHERE unit_id = $1', [unit.id]);
    await rooms.revocation.revoke({ ...kim, ...why, selection });
    const revoked = await world.db.pool.query(
      'SELECT revoked_at, state, reason FROM revoked_certificate WHERE unit_id = $1',
      [unit.id],
    );
    expect(revoked.rows[0]).toEqual({ revoked_at: held.rows[0].revoked_at, state: 'revoked', reason: 1 });
  });

  test('an expired head that could still renew is reached too', async () => {
    const unit = await world.addUnit();
    const notBefore = new Date(Date.now() - 86_400_000 * 20);
    await world.issue({ unitId: unit.id, generation: 1, notBefore });
    expect(
      (await rooms.revocation.revoke({ ...kim, ...why, selection: { by: 'unit', unitId: unit.id } })).certificates,
    ).toBe(1);
  });

  test('one certificate by serial, without touching the state of its unit', async () => {
    const unit = await world.addUnit();
    const { issuerId, serial } = await world.issue({ unitId: unit.id });
    await world.issue({ unitId: unit.id });
    const outcome = await rooms.revocation.revoke({
      ...kim,
      ...why,
      selection: { by: 'certificate', issuerId, serial },
    });
    expect(outcome).toMatchObject({ units: 1, certificates: 1 });
    expect((await unitRow(unit.id)).state).toBe('ACTIVE');
  });

  test('everything that one factory credential enrolled, and nothing of its neighbour', async () => {
    const [ours, theirs] = [await world.addUnit(), await world.addUnit()];
    const { rows } = await world.db.pool.query<{ id: number }>(
      `INSERT INTO factory_credential (maker_id, batch_id, name, site, kind, spki_hash, cidrs, quota, not_before, expires_at, created_by)
       SELECT 1, 1, 'line-' || n, 'hall', 'mtls', '\\x00', '{127.0.0.0/8}', 9, now(), now() + interval '1 hour', 'person:kim'
       FROM generate_series(1, 2) n RETURNING id`,
    );
    for (const [index, unit] of [ours, theirs].entries()) {
      await world.issue({ unitId: unit.id, purpose: 'bootstrap' });
      const credentialId = rows[index]?.id;
      const body = { credentialId };
      await world.transactor.run((tx) =>
        ledger.append(tx, [
          { kind: 'certificate.intended', subject: `unit:${unit.serialNumber}`, at: new Date(), body },
        ]),
      );
    }
    const selection = { by: 'factory-credential', credentialId: rows[0]?.id ?? 0 } as const;
    expect(await rooms.revocation.revoke({ ...kim, ...why, selection })).toMatchObject({ units: 1, certificates: 1 });
    expect((await unitRow(theirs.id)).state).toBe('ACTIVE');
  });

  test('what nobody knows is NOT_FOUND', async () => {
    const selection = { by: 'certificate', issuerId: 1, serial: Buffer.alloc(16, 9) } as const;
    await expect(rooms.revocation.revoke({ ...kim, ...why, selection })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(
      rooms.revocation.hold({ ...kim, ...why, selection: { by: 'unit', unitId: 999_999 } }),
    ).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  test('a reason for people is required', async () => {
    await expect(
      rooms.revocation.revoke({ ...kim, ...why, note: ' ', selection: { by: 'unit', unitId: 1 } }),
    ).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  });
});

describe('REV-5: a key that came into wrong hands', () => {
  test('every certificate with it is revoked, the key is blocked for ever, and whoever claims it meanwhile is seen', async () => {
    const [one, two] = [await world.addUnit(), await world.addUnit()];
    const key = world.newKey();
    await world.issue({ unitId: one.id, key });
    await world.issue({ unitId: two.id, key, state: 'signing' });
    const request = { ...kim, note: 'found on a forum', source: 'report 17', spkiHashes: [key.spki.spkiHash] };
    const first = await rooms.revocation.blockKeys(request);
    expect(first).toMatchObject({ units: 2, certificates: 2, blockedKeys: 1 });
    expect(first.keys).toEqual([
      {
        spkiHash: key.spki.spkiHash,
        isNew: true,
        certificates: 2,
        units: [one.serialNumber, two.serialNumber],
        firstOwner: null,
      },
    ]);
    expect(await rooms.revocation.blockKeys(request)).toMatchObject({ units: 0, certificates: 0, blockedKeys: 0 });
    expect((await unitRow(one.id)).state).toBe('SUSPENDED');
    const { rows } = await world.db.pool.query('SELECT source FROM blocked_key WHERE spki_hash = $1', [
      key.spki.spkiHash,
    ]);
    expect(rows).toEqual([{ source: 'report 17' }]);
    expect((await unitRow(two.id)).epoch).toBeGreaterThan(0);
  });

  test('a key never seen before is blocked all the same', async () => {
    const spkiHash = world.newKey().spki.spkiHash;
    const found = { note: 'published', source: 'report 18', spkiHashes: [spkiHash] };
    const outcome = await rooms.revocation.blockKeys({ ...kim, ...found });
    expect(outcome).toMatchObject({ units: 0, certificates: 0, blockedKeys: 1 });
  });

  test('what else its unit holds is on hold, as after the unit’s own keyCompromise; a vendor’s key suspends its unit too', async () => {
    const [one, other] = [await world.addUnit(), await world.addUnit({ state: 'BOOTSTRAPPED' })];
    const [key, vendorKey] = [world.newKey(), world.newKey()];
    await world.issue({ unitId: one.id, purpose: 'bootstrap' });
    await world.issue({ unitId: one.id, key });
    await world.db.pool.query('UPDATE unit SET vendor_spki_hash = $2 WHERE id = $1', [
      other.id,
      vendorKey.spki.spkiHash,
    ]);
    const spkiHashes = [key.spki.spkiHash, vendorKey.spki.spkiHash];
    const outcome = await rooms.revocation.blockKeys({ ...kim, note: 'flash dump', source: 'report 19', spkiHashes });
    expect(outcome).toMatchObject({ units: 2, certificates: 2, blockedKeys: 2 });
    expect((await statuses(one.id)).sort()).toEqual(['held:6', 'revoked:1']);
    expect([(await unitRow(one.id)).state, (await unitRow(other.id)).state]).toEqual(['SUSPENDED', 'SUSPENDED']);
  });

  test('the key of one of our own CAs is refused: that takes a ceremony', async () => {
    const spkiHash = world.deviceCa.key.spki.spkiHash;
    const innocent = world.newKey().spki.spkiHash;
    await expect(
      rooms.revocation.blockKeys({ ...kim, note: 'x', source: 'y', spkiHashes: [innocent, spkiHash] }),
    ).rejects.toMatchObject({ code: 'DENIED', message: expect.stringContaining('ceremony') });
    const { rows } = await world.db.pool.query('SELECT 1 FROM blocked_key WHERE spki_hash = $1', [innocent]);
    expect(rows).toEqual([]); // nothing of such a list
  });
});

describe('rules 8.1: more than a hundred a person and day', () => {
  test('many small requests are one large one; an approval lifts it; another person has a budget of their own', async () => {
    const lee: Requester = { actor: 'person:lee', personId: await world.addPerson('lee') };
    const units = [];
    for (let index = 0; index < 103; index += 1) units.push(await world.addUnit());
    const unitIds = units.map(({ id }) => id);
    const hold = (ids: number[], by: Requester) =>
      rooms.revocation.hold({ ...by, ...why, selection: { by: 'units', unitIds: ids } });
    expect((await hold(unitIds.slice(0, 60), lee)).units).toBe(60);
    expect((await hold(unitIds.slice(60, 100), lee)).units).toBe(40);
    await expect(hold(unitIds.slice(100), lee)).rejects.toMatchObject({
      code: 'APPROVAL_REQUIRED',
      facts: expect.objectContaining({ used: 100, units: 3 }),
    });
    expect((await unitRow(unitIds[100] ?? 0)).state).toBe('ACTIVE'); // rolled back as a whole
    await expect(hold(unitIds.slice(100), { ...lee, approvedBy: 'person:lee' })).rejects.toMatchObject({
      code: 'APPROVAL_REQUIRED',
    });
    expect((await hold(unitIds.slice(100, 101), { ...lee, approvedBy: 'person:park' })).units).toBe(1);
    const choi: Requester = { actor: 'person:choi', personId: await world.addPerson('choi') };
    expect((await hold(unitIds.slice(101), choi)).units).toBe(2);
  });
});

describe('LST-1: lost, and found', () => {
  const approved = { note: 'inspected', evidence: 'inspection 4711', approvedBy: 'person:park' } as const;

  test('a lost unit is denied at once, everything it holds is on hold, and a repeat changes nothing', async () => {
    const unit = await world.addUnit();
    await world.issue({ unitId: unit.id, purpose: 'bootstrap' });
    await world.issue({ unitId: unit.id, generation: 1 });
    expect(await rooms.revocation.reportLost({ ...kim, note: 'taken', unitId: unit.id })).toMatchObject({
      units: 1,
      certificates: 2,
    });
    expect((await unitRow(unit.id)).state).toBe('LOST');
    expect((await rooms.revocation.reportLost({ ...kim, note: 'taken', unitId: unit.id })).units).toBe(0);
  });

  test('found again: its lineage is revoked and closed, its keys blocked, and only a new activation helps', async () => {
    const unit = await world.addUnit();
    const bootstrap = await world.issue({ unitId: unit.id, purpose: 'bootstrap' });
    const operational = await world.issue({ unitId: unit.id, generation: 1 });
    await rooms.revocation.reportLost({ ...kim, note: 'taken', unitId: unit.id });
    const outcome = await rooms.revocation.release({ ...kim, ...approved, unitId: unit.id });
    expect(outcome).toEqual({ units: 1, certificates: 1, blockedKeys: 1, state: 'BOOTSTRAPPED' });
    const { rows } = await world.db.pool.query('SELECT serial, state FROM revoked_certificate WHERE unit_id = $1', [
      unit.id,
    ]);
    const stateOf = new Map(rows.map((row) => [row.serial.toString('hex'), row.state]));
    expect(stateOf.get(operational.serial.toString('hex'))).toBe('revoked');
    expect(stateOf.get(bootstrap.serial.toString('hex'))).toBe('released');
    const closed = await world.db.pool.query('SELECT state FROM lineage WHERE unit_id = $1', [unit.id]);
    expect(closed.rows).toEqual([{ state: 'closed' }]);
    expect((await unitRow(unit.id)).rework).toBe(false);
  });

  test('a unit whose keys lie in a file gets a new bootstrap key too', async () => {
    const unit = await world.addUnit({ keyProtection: 'file' });
    await world.issue({ unitId: unit.id, purpose: 'bootstrap' });
    await world.issue({ unitId: unit.id, generation: 1 });
    await rooms.revocation.reportLost({ ...kim, note: 'taken', unitId: unit.id });
    const outcome = await rooms.revocation.release({ ...kim, ...approved, unitId: unit.id });
    expect(outcome).toMatchObject({ certificates: 2, blockedKeys: 2 });
    expect((await unitRow(unit.id)).rework).toBe(true);
  });

  test('the same person cannot report and approve the return, nobody returns it alone, and not without an inspection', async () => {
    const unit = await world.addUnit();
    await rooms.revocation.reportLost({ ...kim, note: 'taken', unitId: unit.id });
    const refused = (request: object) =>
      expect(rooms.revocation.release({ ...kim, ...approved, unitId: unit.id, ...request })).rejects;
    await refused({ approvedBy: 'person:kim' }).toMatchObject({ code: 'APPROVAL_REQUIRED' });
    await refused({ actor: 'person:lee', personId: 2, approvedBy: 'person:kim' }).toMatchObject({
      code: 'APPROVAL_REQUIRED',
    });
    await refused({ approvedBy: undefined }).toMatchObject({ code: 'APPROVAL_REQUIRED' });
    await refused({ evidence: ' ' }).toMatchObject({ code: 'BAD_REQUEST' });
    expect((await unitRow(unit.id)).state).toBe('LOST');
  });
});

describe('ending a hold', () => {
  const approved = { note: 'false alarm', approvedBy: 'person:park' } as const;

  test('held certificates are good again and the unit is ACTIVE', async () => {
    const unit = await world.addUnit();
    await world.issue({ unitId: unit.id, purpose: 'bootstrap' });
    await world.issue({ unitId: unit.id, generation: 1 });
    await rooms.revocation.hold({ ...kim, ...why, selection: { by: 'unit', unitId: unit.id } });
    const outcome = await rooms.revocation.release({ ...kim, ...approved, unitId: unit.id });
    expect(outcome).toMatchObject({ certificates: 2, state: 'ACTIVE' });
    expect(await statuses(unit.id)).toEqual(['released:0', 'released:0']);
  });

  test('a revoked certificate never comes back: the unit is BOOTSTRAPPED and its lineage closed', async () => {
    const unit = await world.addUnit();
    await world.issue({ unitId: unit.id, generation: 1 });
    await rooms.revocation.revoke({ ...kim, ...why, selection: { by: 'unit', unitId: unit.id } });
    const outcome = await rooms.revocation.release({ ...kim, ...approved, unitId: unit.id });
    expect(outcome).toMatchObject({ certificates: 0, state: 'BOOTSTRAPPED' });
    expect(await statuses(unit.id)).toEqual(['revoked:1']);
  });

  test('leaving quarantine revokes both branches', async () => {
    const unit = await world.addUnit();
    await world.issue({ unitId: unit.id, generation: 1 });
    await world.issue({ unitId: unit.id, generation: 2 });
    await world.transactor.run((tx) =>
      rooms.revocation.quarantine(tx, {
        unitId: unit.id,
        actor: 'system:detection',
        note: 'FORK_HARD',
        at: new Date(),
      }),
    );
    expect((await unitRow(unit.id)).state).toBe('QUARANTINED');
    expect(await statuses(unit.id)).toEqual(['held:6', 'held:6']);
    await rooms.revocation.release({ ...kim, ...approved, unitId: unit.id });
    expect(await statuses(unit.id)).toEqual(['revoked:1', 'revoked:1']);
  });

  test('an active unit has no hold to end', async () => {
    const unit = await world.addUnit();
    await expect(rooms.revocation.release({ ...kim, ...approved, unitId: unit.id })).rejects.toMatchObject({
      code: 'STATE_CONFLICT',
      facts: { state: 'ACTIVE' },
    });
  });
});

describe('rules 5.7: a certificate of ours that the record does not know', () => {
  const by = { actor: 'machine:gw-1', at: new Date() };
  const unrecorded = (serial: Buffer, notAfter: Date) => ({
    issuerId: world.deviceCa.id,
    serial,
    notAfter,
    spkiHash: Buffer.alloc(32, 7),
  });

  test('is entered as revoked once; a recorded one is left alone', async () => {
    const serial = Buffer.concat([Buffer.from([1]), Buffer.alloc(15, 5)]);
    const notAfter = new Date(Date.now() + 86_400_000);
    const enter = () =>
      world.transactor.run((tx) => rooms.revocation.revokeUnrecorded(tx, unrecorded(serial, notAfter), by));
    expect(await enter()).toBe(true);
    expect(await enter()).toBe(false);
    const known = await world.issue({});
    const found = await world.transactor.run((tx) =>
      rooms.revocation.revokeUnrecorded(tx, unrecorded(known.serial, notAfter), by),
    );
    expect(found).toBe(false);
  });
});

describe('bulk', () => {
  test('a batch is one set: 10,000 units with two certificates each, and other revocations are not held up (A6)', async () => {
    const other = await startStatusWorld();
    const rooms2 = openStatusRooms(other);
    await other.db.pool.query(
      `INSERT INTO unit (maker_id, batch_id, serial_number, eui, hardware_id, fqdn, model, state, state_changed_at)
       SELECT 1, 1, 'B' || n, 'b' || n, 'b' || n, 'b' || n, 'FC-1', 'ACTIVE', now() FROM generate_series(1, 10000) n`,
    );
    await other.db.pool.query(
      `INSERT INTO certificate (not_after, issuer_id, serial, purpose, unit_id, spki_hash, not_before, attempt_id, issued_at, der)
       SELECT now() + interval '3 days', $1, decode('01' || lpad(to_hex(u.id), 20, '0') || lpad(to_hex(n), 10, '0'), 'hex'), 'operational', u.id,
         sha256((u.id || '-' || n)::bytea), now(), gen_random_uuid(), now(), '\\x00' FROM unit u, generate_series(1, 2) n`,
      [other.deviceCa.id],
    );
    const revoked = rooms2.revocation.revoke({
      actor: 'system:test',
      personId: null,
      ...why,
      selection: { by: 'batch', batchId: 1 },
    });
    const single = await other.addUnit();
    await other.issue({ unitId: single.id });
    await rooms2.revocation.hold({
      actor: 'system:test',
      personId: null,
      ...why,
      selection: { by: 'unit', unitId: single.id },
    });
    // The mark of the CRL is the one row both wait for, and a statement that waits 5 s fails.
    const outcome = await revoked;
    expect(outcome).toEqual({ units: 10000, certificates: 20000, blockedKeys: 20000 });
    const { rows } = await other.db.pool.query(`SELECT count(*)::int AS n FROM unit WHERE state = 'SUSPENDED'`);
    expect(rows[0].n).toBe(10_001);
    rooms2.remove();
    await other.close();
  });
});
