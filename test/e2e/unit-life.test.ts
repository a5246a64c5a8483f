/**
 * A unit's life, told once and lived by each protocol with clients that know nothing of us: the expectations are the same,
 * only what is sent differs.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type CmpWorld, startCmpWorld } from '../support/cmp-world.js';
import type { CurlCredential } from '../support/curl-unit.js';
import type { DeviceWorld, WorldUnit } from '../support/device-world.js';
import { type Life, openLife } from '../support/life-world.js';
import { type Outcome, PROTOCOL_NAMES, type UnitProtocol, unitProtocols } from '../support/unit-protocols.js';

let cmp: CmpWorld;
let world: DeviceWorld;
let life: Life;
let protocols: ReturnType<typeof unitProtocols>;
const people = new Map<string, number>();

beforeAll(async () => {
  cmp = await startCmpWorld();
  world = cmp.world;
  life = await openLife(world);
  const { plainPort: cmpPort } = cmp.first;
  protocols = unitProtocols({ dir: world.dir, port: world.port, cmpPort, useAtGateway: life.useAtGateway });
  await world.db.pool.query(
    `INSERT INTO profile (name, life_seconds, renewal_mode) VALUES ('test-short', 3606, 'rekey')`,
  );
  await world.db.pool.query('UPDATE batch SET unit_count = 1000');
  for (const name of ['kim', 'lee', 'park']) people.set(name, await addPerson(name));
});
afterAll(() => cmp.close());

async function addPerson(name: string): Promise<number> {
  const { rows } = await world.db.pool.query<{ id: number }>(
    `INSERT INTO person (name, role, state, created_at) VALUES ($1, 'operator', 'active', now()) RETURNING id`,
    [name],
  );
  return rows[0]?.id ?? 0;
}

function issued(outcome: Outcome): CurlCredential {
  if (outcome.kind !== 'issued') throw new Error(`nothing was issued: ${JSON.stringify(outcome)}`);
  return outcome.op;
}

/** Leave to activate, in the form that the protocol's client can use. */
async function grantFor(p: UnitProtocol, unit: WorldUnit, changes: { lineId?: number; approvedBy?: string } = {}) {
  const { lineId = unit.lineId, approvedBy = null } = changes;
  const { code } = await world.rooms.enrolment.createGrant({
    unitId: unit.id,
    kind: p.saysCodes ? 'code' : 'order',
    lineId,
    createdBy: 'person:kim',
    approvedBy,
    lifeSeconds: 86_400,
  });
  return code === null ? {} : { code };
}

async function activeUnit(p: UnitProtocol, profile?: string): Promise<WorldUnit & { op: CurlCredential }> {
  const unit = await world.addUnit(profile === undefined ? {} : { profile });
  const op = issued(await p.activate(unit, await grantFor(p, unit)));
  await p.confirm(op);
  return { ...unit, op };
}

async function nextOf(p: UnitProtocol, as: CurlCredential): Promise<CurlCredential> {
  const op = issued(await p.renew(as));
  await p.confirm(op);
  return op;
}

/** The caller's address belongs to a line of the operator's own table while `work` runs. */
async function onLine<T>(lineId: number, work: () => Promise<T>): Promise<T> {
  const { rows } = await world.db.pool.query(
    `INSERT INTO line_prefix (prefix, line_id, authoritative, valid_from)
     VALUES ('127.0.0.0/8', $1, true, now() - interval '1 day') RETURNING id`,
    [lineId],
  );
  try {
    return await work();
  } finally {
    await world.db.pool.query('DELETE FROM line_prefix WHERE id = $1', [rows[0].id]);
  }
}

/** Everything that stays of an undisturbed life with two renewals, whoever's protocol it was. */
const PEACEFUL_RECORD = [
  ...['certificate.intended', 'certificate.issued'], // at the factory
  'request.refused',
  ...['grant.created', 'line.bound', 'grant.spent'],
  ...['certificate.intended', 'certificate.issued', 'unit.state-changed', 'lineage.confirmed'],
  ...['certificate.intended', 'certificate.issued', 'lineage.confirmed'],
  ...['certificate.intended', 'certificate.issued', 'lineage.confirmed'],
];

describe.each(PROTOCOL_NAMES)('a unit that speaks %s', (name) => {
  const p = () => protocols[name];

  test('lives from the factory to its third certificate; repeats get what stands, and the record is the same for all', async () => {
    const unit = await world.addUnit();
    expect((await p().activate(unit)).kind).toBe('refused');
    expect(await life.stateOf(unit)).toBe('BOOTSTRAPPED');

    const grant = await grantFor(p(), unit);
    const keyFile = await p().newKey();
    const first = issued(await p().activate(unit, { ...grant, keyFile }));
    expect(await life.stateOf(unit)).toBe('ACTIVE');
    expect(life.serialOf(issued(await p().activate(unit, { ...grant, keyFile })))).toBe(life.serialOf(first));
    await p().confirm(first);
    expect(await life.ask(first)).toMatchObject({ verdict: 'permit', unit: unit.fqdn });

    const secondKey = await p().newKey();
    const second = issued(await p().renew(first, { keyFile: secondKey }));
    expect(life.serialOf(issued(await p().renew(first, { keyFile: secondKey })))).toBe(life.serialOf(second));
    await p().confirm(second);
    expect(life.serialOf(issued(await p().renew(first, { keyFile: secondKey })))).toBe(life.serialOf(second));

    const third = await nextOf(p(), second);
    expect(await life.ask(third)).toMatchObject({ verdict: 'permit' });
    expect(await life.generations(unit)).toEqual(['1 confirmed', '2 confirmed', '3 confirmed']);
    expect(await life.stateOf(unit)).toBe('ACTIVE');
    expect(await life.kinds(unit)).toEqual(PEACEFUL_RECORD);
    expect(await life.refusals(unit)).toEqual(['GRANT_BAD']);
  });

  test('is refused with a wrong code, or, where its client has no place for one, on the strength of another unit’s order', async () => {
    const [unit, other] = [await world.addUnit(), await world.addUnit()];
    const grant = await grantFor(p(), p().saysCodes ? unit : other);
    const wrong = p().saysCodes ? { code: 'AAAA-AAAA-AAAA-AAAA' } : {};
    expect((await p().activate(unit, wrong)).kind).toBe('refused');
    expect(await life.refusals(unit)).toEqual(['GRANT_BAD']);
    issued(await p().activate(p().saysCodes ? unit : other, grant));
  });

  test('is refused from another line than its grant’s, and from its own it is not', async () => {
    const unit = await world.addUnit();
    const grant = await grantFor(p(), unit);
    const elsewhere = await world.addLine(`elsewhere of ${name}`);
    const refused = await onLine(elsewhere, () => p().activate(unit, grant));
    expect(refused.kind).toBe('refused');
    expect(await life.refusals(unit)).toEqual(['LINE_MISMATCH']);
    issued(await onLine(unit.lineId, () => p().activate(unit, grant)));
  });

  test('that lost the answer and still has its key gets the very certificate, and nobody is suspected', async () => {
    const unit = await world.addUnit();
    const grant = await grantFor(p(), unit);
    const [firstKey, secondKey] = [await p().newKey(), await p().newKey()];
    await p().activate(unit, { ...grant, keyFile: firstKey, loseAnswer: true });
    const first = issued(await p().activate(unit, { ...grant, keyFile: firstKey }));
    await p().confirm(first);
    await p().renew(first, { keyFile: secondKey, loseAnswer: true });
    expect(await life.generations(unit)).toEqual(['1 confirmed', '2 pending']);
    const second = issued(await p().renew(first, { keyFile: secondKey }));
    await p().confirm(second);
    expect(await life.generations(unit)).toEqual(['1 confirmed', '2 confirmed']);
    expect(await life.forks(unit)).toEqual([]);
  });

  test('that lost answer and key displaces softly, once for its activation and once for a renewal, and lives on', async () => {
    const unit = await world.addUnit();
    const grant = await grantFor(p(), unit);
    await p().activate(unit, { ...grant, loseAnswer: true });
    const first = issued(await p().activate(unit, grant));
    await p().confirm(first);
    expect(await life.forks(unit)).toEqual(['soft']);
    // An hour must lie between two of them (rules section 4).
    await life.hourLater(unit);
    await p().renew(first, { loseAnswer: true });
    const second = await nextOf(p(), first);
    await nextOf(p(), second);
    expect(await life.generations(unit)).toEqual([
      '1 displaced',
      '1 confirmed',
      '2 displaced',
      '2 confirmed',
      '3 confirmed',
    ]);
    expect(await life.forks(unit)).toEqual(['soft', 'strong']);
    await life.work();
    expect(await life.stateOf(unit)).toBe('ACTIVE');
  });

  test('whose thief renews first and confirms: its own renewal holds both, and a case is open', async () => {
    const unit = await activeUnit(p());
    const thief = await nextOf(p(), unit.op);
    expect((await p().renew(unit.op)).kind).toBe('refused');
    await expectFork(unit, [unit.op, thief], p(), 'head-1, other key, head confirmed');
  });

  test('a displaced key that is proved again holds both', async () => {
    const unit = await activeUnit(p());
    const displaced = issued(await p().renew(unit.op, { unconfirmed: true }));
    const genuine = await nextOf(p(), unit.op);
    expect((await p().renew(displaced)).kind).toBe('refused');
    await expectFork(unit, [displaced, genuine], p(), 'displaced key');
  });

  test('a key from before the last one, proved again, holds both', async () => {
    const unit = await activeUnit(p());
    const second = await nextOf(p(), unit.op);
    const third = await nextOf(p(), second);
    expect((await p().renew(unit.op)).kind).toBe('refused');
    await expectFork(unit, [unit.op, third], p(), 'older than head-1');
  });

  test('that went dormant is ACTIVE again with its renewal', async () => {
    const unit = await activeUnit(p());
    await world.db.pool.query(`UPDATE unit SET state = 'DORMANT' WHERE id = $1`, [unit.id]);
    await nextOf(p(), unit.op);
    expect(await life.stateOf(unit)).toBe('ACTIVE');
  });

  test('that was lost is denied everything; found by two people, it begins again with a new grant', async () => {
    const unit = await activeUnit(p());
    const { revocation } = world.core;
    await revocation.reportLost({
      unitId: unit.id,
      note: 'stolen',
      actor: 'person:kim',
      personId: people.get('kim') ?? 0,
    });
    expect((await p().renew(unit.op)).kind).toBe('refused');
    expect((await p().activate(unit)).kind).toBe('refused');
    expect((await life.ask(unit.op)).reasons).toContain('DEVICE_LOST');
    await revocation.release({
      unitId: unit.id,
      note: 'found',
      evidence: 'inspection 7',
      actor: 'person:lee',
      personId: people.get('lee') ?? 0,
      approvedBy: 'person:park',
      replaceBootstrap: false,
    });
    // What was on the unit when it was away is worth nothing any more.
    expect((await p().renew(unit.op)).kind).toBe('refused');
    const first = issued(await p().activate(unit, await grantFor(p(), unit, { approvedBy: 'person:lee' })));
    await p().confirm(first);
    await nextOf(p(), first);
    expect(await life.generations(unit)).toEqual(['1 confirmed', '1 confirmed', '2 confirmed']);
    expect((await life.ask(unit.op)).verdict).toBe('deny');
    expect((await life.ask(first)).verdict).toBe('permit');
    expect(await life.stateOf(unit)).toBe('ACTIVE');
  });
});

async function expectFork(
  unit: WorldUnit,
  branches: readonly CurlCredential[],
  p: UnitProtocol,
  row: string,
): Promise<void> {
  expect(await life.stateOf(unit)).toBe('QUARANTINED');
  expect((await life.entries(unit, 'lineage.forked')).at(-1)).toMatchObject({ grade: 'hard', row });
  for (const branch of branches) {
    expect((await p.renew(branch)).kind).toBe('refused');
    expect((await life.ask(branch)).reasons).toContain('DEVICE_QUARANTINED');
  }
  await life.work();
  expect(await life.cases(unit)).toEqual(['lineage-fork']);
}

test('a certificate that has run out renews inside its tier by every protocol, and not from an authoritative other line', async () => {
  const all = PROTOCOL_NAMES.map((name) => protocols[name]);
  const units = await Promise.all(all.map((p) => activeUnit(p, 'test-short')));
  await sleep(7_500);
  const each = (work: (p: UnitProtocol, op: CurlCredential) => Promise<Outcome>) =>
    Promise.all(all.map((p, at) => work(p, (units[at] as { op: CurlCredential }).op)));
  const elsewhere = await world.addLine('far away');
  const refused = await onLine(elsewhere, () => each((p, op) => p.renew(op)));
  expect(refused.map(({ kind }) => kind)).toEqual(all.map(() => 'refused'));
  const renewed = await each((p, op) => p.renew(op));
  expect(renewed.map(({ kind }) => kind)).toEqual(all.map(() => 'issued'));
}, 60_000);

test('a life that changes its protocol is one lineage', async () => {
  const unit = await world.addUnit();
  const { CMP, EST, REST, 'EST by strongSwan': strongSwan } = protocols;
  let op = issued(await CMP.activate(unit, await grantFor(CMP, unit)));
  for (const p of [EST, REST, strongSwan, CMP, REST]) op = await nextOf(p, op);
  expect(await life.generations(unit)).toEqual([1, 2, 3, 4, 5, 6].map((generation) => `${generation} confirmed`));
  expect(await life.forks(unit)).toEqual([]);
  // And a fork shows whichever protocol each of the two speaks.
  const thief = await nextOf(EST, op);
  expect((await CMP.renew(op)).kind).toBe('refused');
  await expectFork(unit, [op, thief], REST, 'head-1, other key, head confirmed');
});

test('after all these lives the whole record hangs together', async () => {
  expect(await life.audit()).toEqual([]);
});
