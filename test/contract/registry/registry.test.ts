import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { makeIssuerDirectory } from '../../../src/lifecycle/registry/index.js';
import { issuerStore } from '../../../src/lifecycle/registry/issuer-store.pg.js';
import { placeStore } from '../../../src/lifecycle/registry/place-store.pg.js';
import { systemClock } from '../../../src/platform/system-clock.js';
import { type FactoryWorld, requestFor, startFactoryWorld } from '../../support/factory-world.js';

const actor = 'person:kim';
const at = new Date();

describe('registry', () => {
  let world: FactoryWorld;
  beforeAll(async () => {
    world = await startFactoryWorld();
  });
  afterAll(async () => {
    await world.close();
  });

  const historyOf = (unitId: number) => world.registry.history(world.transactor.read, unitId);

  describe('state', () => {
    test('a change writes state, history with actor and reason, and a ledger entry in one commit', async () => {
      const { id, serialNumber } = await world.addUnit({ state: 'ACTIVE' });
      const change = {
        unitId: id,
        to: 'SUSPENDED',
        actor,
        reason: 'asked by its owner',
        evidence: 'case:7',
        at,
      } as const;
      const unit = await world.transactor.run((tx) => world.registry.changeState(tx, change));
      expect(unit.state).toBe('SUSPENDED');
      expect(await historyOf(id)).toEqual([
        { from: 'ACTIVE', to: 'SUSPENDED', actor, reason: 'asked by its owner', evidence: 'case:7', at },
      ]);
      const entries = await world.entries('unit.state-changed');
      expect(entries.at(-1)).toMatchObject({
        subject: `unit:${serialNumber}`,
        body: { from: 'ACTIVE', to: 'SUSPENDED', actor },
      });
    });

    test('an illegal transition is refused with the current state and leaves no trace', async () => {
      const { id } = await world.addUnit({ state: 'RETIRED' });
      const change = { unitId: id, to: 'ACTIVE', actor, reason: 'please', at } as const;
      await expect(world.transactor.run((tx) => world.registry.changeState(tx, change))).rejects.toMatchObject({
        code: 'STATE_CONFLICT',
        facts: { state: 'RETIRED' },
      });
      expect(await historyOf(id)).toEqual([]);
    });

    test('of ten people who decide on the same state at once one wins and nine see the new state', async () => {
      const { id } = await world.addUnit({ state: 'ACTIVE' });
      const attempts = Array.from({ length: 10 }, (_, n) =>
        world.transactor.run((tx) =>
          world.registry.changeState(tx, {
            unitId: id,
            from: 'ACTIVE',
            to: n % 2 === 0 ? 'SUSPENDED' : 'LOST',
            actor: `person:p${n}`,
            reason: 'race',
            at,
          }),
        ),
      );
      const outcomes = await Promise.allSettled(attempts);
      const won = outcomes.filter((outcome) => outcome.status === 'fulfilled');
      expect(won).toHaveLength(1);
      const state = won[0]?.value.state;
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected')
          expect(outcome.reason).toMatchObject({ code: 'STATE_CONFLICT', facts: { state } });
      }
      expect(await historyOf(id)).toHaveLength(1);
    });

    test('epochs of overlapping sets rise once each, without deadlock', async () => {
      const units = await Promise.all(Array.from({ length: 6 }, () => world.addUnit()));
      const ids = units.map(({ id }) => id);
      await Promise.all(
        Array.from({ length: 8 }, (_, n) =>
          world.transactor.run((tx) => world.registry.raiseRevocationEpoch(tx, n % 2 === 0 ? ids : [...ids].reverse())),
        ),
      );
      for (const id of ids) {
        expect(await world.registry.unitById(world.transactor.read, id)).toMatchObject({ revocationEpoch: 8 });
      }
    });

    test('last contact moves forward only, a minute at a time', async () => {
      const { id } = await world.addUnit();
      const contact = async () =>
        (await world.db.pool.query('SELECT last_contact_at AS at FROM unit WHERE id = $1', [id])).rows[0].at as Date;
      const touch = (time: string) =>
        world.transactor.run((tx) => world.registry.touchContact(tx, id, new Date(`2026-11-24T${time}Z`)));
      await touch('10:00:00');
      await touch('10:00:30');
      await touch('09:00:00');
      expect(await contact()).toEqual(new Date('2026-11-24T10:00:00Z'));
      await touch('10:01:00');
      expect(await contact()).toEqual(new Date('2026-11-24T10:01:00Z'));
    });
  });

  describe('lines', () => {
    const lineAt = (address: string, when = new Date()) => world.registry.lineAt(world.transactor.read, address, when);
    beforeAll(async () => {
      await world.office.registerLine({ name: 'home', region: 'Seoul', prefixes: [{ prefix: '198.51.100.7' }], actor });
      // The wider one is the newer one: length decides, not age.
      const validFrom = new Date(Date.now() + 1);
      const prefixes = [{ prefix: '198.51.100.0/24', authoritative: false, validFrom }];
      await world.office.registerLine({ name: 'wide', prefixes, actor });
      await world.office.registerLine({ name: 'six', prefixes: [{ prefix: '2001:db8:7::/48' }], actor });
    });

    test('the most specific prefix wins, and says whether it is authoritative', async () => {
      expect(await lineAt('198.51.100.7')).toMatchObject({ name: 'home', authoritative: true });
      expect(await lineAt('198.51.100.8')).toMatchObject({ name: 'wide', authoritative: false });
      expect(await lineAt('2001:db8:7::9')).toMatchObject({ name: 'six' });
    });

    test('an IPv4-mapped address is its IPv4 line; unknown and malformed addresses are none', async () => {
      expect(await lineAt('::ffff:198.51.100.7')).toMatchObject({ name: 'home' });
      for (const text of ['203.0.113.1', 'unknown', '', '198.51.100.7:443', '198.051.100.7'])
        expect(await lineAt(text)).toBeNull();
    });

    test('a prefix that moves belongs to each line in its own time', async () => {
      const moved = new Date(Date.now() + 3_600_000);
      await world.office.assignPrefix({ prefix: '198.51.100.7', lineName: 'six', validFrom: moved, actor });
      expect(await lineAt('198.51.100.7')).toMatchObject({ name: 'home' });
      expect(await lineAt('198.51.100.7', moved)).toMatchObject({ name: 'six' });
      expect(await lineAt('198.51.100.7', new Date(0))).toBeNull();
    });

    test('a prefix with bits behind its length, or backwards in time, is refused', async () => {
      const add = (prefix: string, more = {}) => world.office.assignPrefix({ prefix, lineName: 'six', actor, ...more });
      await expect(add('198.51.100.7/24')).rejects.toMatchObject({ code: 'BAD_REQUEST' });
      await expect(add('::ffff:198.51.100.0/120')).rejects.toMatchObject({ code: 'BAD_REQUEST' });
      await expect(add('192.0.2.0/24', { validTo: new Date(0) })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    });
  });

  describe('bindings', () => {
    const line = async (name: string) => (await world.office.registerLine({ name, actor })).id;
    const bindLine = (unitId: number, lineId: number) =>
      world.transactor.run((tx) => world.registry.bindLine(tx, { unitId, lineId, actor, at }));
    const bindCell = (unitId: number, cellId: string) =>
      world.transactor.run((tx) => world.registry.bindCell(tx, { unitId, cellId, actor, at }));

    test('a line is on one unit and a unit on one line, until released; history keeps both', async () => {
      const [a, b] = [await world.addUnit(), await world.addUnit()];
      const [one, two] = [await line('bind-1'), await line('bind-2')];
      await bindLine(a.id, one);
      expect(await bindLine(a.id, one)).toMatchObject({ lineId: one });
      await expect(bindLine(b.id, one)).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
      await expect(bindLine(a.id, two)).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
      await world.transactor.run((tx) => world.registry.releaseLine(tx, { unitId: a.id, actor, at }));
      expect(await bindLine(b.id, one)).toMatchObject({ lineId: one });
      const bindings = await placeStore.bindings(world.transactor.read, a.id);
      expect(bindings.map(({ value, action }) => `${value} ${action}`)).toEqual(['bind-1 bound', 'bind-1 released']);
    });

    test('twenty units that want one cell at once: one gets it', async () => {
      const units = await Promise.all(Array.from({ length: 20 }, () => world.addUnit()));
      await world.office.registerCell({ id: '45008-race', segwAddress: '192.0.2.1', actor });
      const outcomes = await Promise.allSettled(units.map(({ id }) => bindCell(id, '45008-race')));
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'STATE_CONFLICT' });
      }
    });

    test('two units that swap lines over and over never share one', async () => {
      const units = [(await world.addUnit()).id, (await world.addUnit()).id] as const;
      const lines = [await line('swap-1'), await line('swap-2')] as const;
      await bindLine(units[0], lines[0]);
      await bindLine(units[1], lines[1]);
      const move = (unitId: number, lineId: number) =>
        world.transactor.run(async (tx) => {
          await world.registry.releaseLine(tx, { unitId, actor, at });
          await world.registry.bindLine(tx, { unitId, lineId, actor, at });
        });
      for (let round = 0; round < 5; round++) {
        const [x, y] = round % 2 === 0 ? [lines[1], lines[0]] : [lines[0], lines[1]];
        const outcomes = await Promise.allSettled([move(units[0], x), move(units[1], y)]);
        for (const outcome of outcomes) {
          if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'STATE_CONFLICT' });
        }
        const { rows } = await world.db.pool.query<{ n: number }>(
          'SELECT count(*)::int AS n FROM unit WHERE line_id = ANY($1) GROUP BY line_id',
          [lines],
        );
        expect(rows.every(({ n }) => n === 1)).toBe(true);
      }
    });

    test('two activations at once take two different free cells', async () => {
      await world.office.registerCell({ id: 'aa-free-1', segwAddress: '192.0.2.1', actor });
      await world.office.registerCell({ id: 'aa-free-2', segwAddress: '192.0.2.1', actor });
      const take = async () => {
        const { id } = await world.addUnit();
        return world.transactor.run(async (tx) => {
          const cell = await world.registry.freeCell(tx);
          return (await world.registry.bindCell(tx, { unitId: id, cellId: cell?.id ?? '', actor, at })).id;
        });
      };
      expect((await Promise.all([take(), take()])).sort()).toEqual(['aa-free-1', 'aa-free-2']);
    });

    test('a retired unit gets no line', async () => {
      const { id } = await world.addUnit({ state: 'RETIRED' });
      await expect(bindLine(id, await line('retired-1'))).rejects.toMatchObject({ facts: { state: 'RETIRED' } });
    });
  });

  describe('makers, names', () => {
    test('a range inside another maker’s is refused, even when both come at once', async () => {
      const register = (name: string, prefix: string) =>
        world.office.registerMaker({
          name,
          manifestKeySpki: world.newKey().spki.spkiDer,
          euiPrefixes: [prefix],
          actor,
        });
      await expect(register('inside', '02110')).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
      await expect(register('around', '0211')).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
      const outcomes = await Promise.allSettled([register('twin-a', '0699'), register('twin-b', '069901')]);
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    });

    test('a name that is a subscriber number, or that a page or a sheet would run, is refused', async () => {
      for (const name of ['450081234567890', '45008-1234567890', '<b>', '=1+1', 'a\nb', '']) {
        await expect(world.office.registerLine({ name, actor })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
      }
    });
  });

  describe('issuers', () => {
    test('a certificate is ours only by the exact key, not by issuer name and key identifier', async () => {
      const directory = makeIssuerDirectory({ transactor: world.transactor, issuers: issuerStore, clock: systemClock });
      const { der } = await world.issue({ purpose: 'bootstrap', unitId: (await world.addUnit()).id });
      expect(await directory.bySpkiOrSignature({ der })).toMatchObject({ label: 'bootstrap-ca', kind: 'bootstrap-ca' });
      const forgedCa = { ...world.bootstrapCa, key: world.newKey() };
      const forged = await world.issue({ purpose: 'bootstrap', ca: forgedCa, unitId: (await world.addUnit()).id });
      expect(await directory.bySpkiOrSignature(forged)).toBeNull();
    });

    test('a CA that appears after the first read is found without a restart', async () => {
      let nowMs = Date.now();
      const clock = { now: () => new Date(nowMs) };
      const directory = makeIssuerDirectory({ transactor: world.transactor, issuers: issuerStore, clock });
      expect(await directory.byId(32_000)).toBeNull();
      expect(await directory.byKind('device-ca')).toHaveLength(1);
      await world.db.pool.query(`UPDATE issuer SET state = 'spare' WHERE kind = 'device-ca'`);
      nowMs += 10_001;
      expect(await directory.byKind('device-ca')).toEqual([]);
      await world.db.pool.query(`UPDATE issuer SET state = 'active' WHERE kind = 'device-ca'`);
    });
  });

  describe('machines', () => {
    test('a requested machine has no role; an approved one has; a disabled one has none again', async () => {
      const { key, csrDer } = requestFor('segw-1');
      const { machines } = world;
      await machines.request({ kind: 'gateway', name: 'segw-1', dnsName: 'segw-1.example', csrDer, actor });
      expect(await machines.bySpkiHash(key.spki.spkiHash)).toBeNull();
      expect(await machines.awaitingCertificate(10)).toEqual([]);
      const personId = await world.addPerson('lee');
      await machines.approve({ name: 'segw-1', personId, actor: 'person:lee' });
      expect(await machines.bySpkiHash(key.spki.spkiHash)).toMatchObject({ kind: 'gateway', name: 'segw-1' });
      const [waiting] = await machines.awaitingCertificate(10);
      expect(waiting).toMatchObject({ name: 'segw-1' });
      await world.transactor.run((tx) =>
        machines.recordCertificate(tx, waiting?.id ?? 0, {
          issuerId: world.servicesCa.id,
          serial: Buffer.alloc(16, 1),
          notAfter: at,
          spkiHash: key.spki.spkiHash,
        }),
      );
      expect(await machines.awaitingCertificate(10)).toEqual([]);
      await machines.askRenewal({ name: 'segw-1', actor: 'machine:segw-1' });
      expect(await machines.awaitingCertificate(10)).toHaveLength(1);
      await machines.disable({ name: 'segw-1', actor, reason: 'moved' });
      expect(await machines.bySpkiHash(key.spki.spkiHash)).toBeNull();
      expect(await machines.awaitingCertificate(10)).toEqual([]);
    });

    test('a second machine with the same key, a forged request, and a gateway’s new key are refused', async () => {
      const { key, csrDer } = requestFor('segw-2');
      const { machines } = world;
      await machines.request({ kind: 'gateway', name: 'segw-2', csrDer, actor });
      await expect(machines.request({ kind: 'gateway', name: 'segw-3', csrDer, actor })).rejects.toMatchObject({
        code: 'KEY_IN_USE',
      });
      const forged = Buffer.from(csrDer);
      forged.writeUInt8(forged.readUInt8(forged.length - 1) ^ 1, forged.length - 1);
      await expect(machines.request({ kind: 'gateway', name: 'segw-4', csrDer: forged, actor })).rejects.toMatchObject({
        code: 'POP_FAIL',
      });
      await machines.approve({ name: 'segw-2', personId: await world.addPerson('park'), actor });
      const other = requestFor('segw-2').csrDer;
      await expect(machines.askRenewal({ name: 'segw-2', csrDer: other, actor })).rejects.toMatchObject({
        code: 'KEY_IN_USE',
      });
      expect(await machines.byName('segw-2')).toMatchObject({ spkiHash: key.spki.spkiHash });
    });
  });
});
