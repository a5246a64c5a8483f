/** Rows F1 to F12 of the fault table: after each one every serial is accounted for. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { certificateReader } from '../../src/lifecycle/issuance/certificate-reader.pg.js';
import { reconcile } from '../../src/lifecycle/issuance/index.js';
import type { Clock } from '../../src/platform/clock.js';
import { readSpki } from '../../src/x509/spki.js';
import { checkIssuance } from '../support/check-issuance.js';
import {
  type ChildSettings,
  type IssuanceProcess,
  startIssuanceProcess,
  type WireRequest,
} from '../support/issuance-process.js';
import { openIssuance } from '../support/issuance-rooms.js';
import {
  freshSpki,
  type IssuanceWorld,
  operational,
  startIssuanceWorld,
  successorOf,
  type TestUnit,
} from '../support/issuance-world.js';

let world: IssuanceWorld;
const children: IssuanceProcess[] = [];
beforeAll(async () => {
  world = await startIssuanceWorld();
}, 120_000);
afterEach(async () => {
  for (const child of children.splice(0)) await child.end();
  await reconcile(world.reconciler, { signingLimitMs: 0 });
  expect(await checkIssuance(world)).toEqual([]);
});
afterAll(async () => {
  await world?.close();
});

async function child(settings: Omit<ChildSettings, 'databaseUrl' | 'runDir'>): Promise<IssuanceProcess> {
  const started = await startIssuanceProcess(world, settings);
  children.push(started);
  return started;
}

function opening(unit: TestUnit): WireRequest {
  return {
    unit,
    spkiHex: freshSpki().spkiDer.toString('hex'),
    successor: { lineageId: null, generation: 1, preissued: false, displacesSlotId: null },
  };
}

async function attemptsOf(unit: TestUnit): Promise<{ state: string; status: string | null }[]> {
  const { rows } = await world.db.pool.query<{ state: string; status: string | null }>(
    `SELECT i.state, r.state AS status FROM issuance_intent i LEFT JOIN revoked_certificate r USING (issuer_id, serial)
     WHERE i.unit_id = $1 ORDER BY i.created_at`,
    [unit.id],
  );
  return rows;
}

describe('a crash while a certificate is made', () => {
  test.each(['after-intent', 'after-sign', 'before-issue-commit'])(
    'F1, F2: kill at %s: the serial is abandoned and revoked, and the same request gets a new one',
    async (point) => {
      const unit = await world.addUnit();
      const request = opening(unit);
      const dying = await child({ failpoints: `${point}:kill` });
      expect(await dying.issueMany([request])).toEqual([{ code: 'died' }]);
      expect(await dying.ended).toBe('SIGKILL');
      expect(await attemptsOf(unit)).toEqual([{ state: 'signing', status: null }]);
      // Until the reconciler has come the slot is signing, and whoever asks is told to wait.
      const alive = await child({});
      expect(await alive.issueMany([request])).toMatchObject([{ code: 'RETRY_LATER' }]);

      expect(await reconcile(world.reconciler)).toBe(0); // not before a minute has passed
      expect(await reconcile(world.reconciler, { signingLimitMs: 0 })).toBe(1);
      expect(await attemptsOf(unit)).toEqual([{ state: 'abandoned', status: 'revoked' }]);
      expect(await alive.issueMany([request])).toMatchObject([{ code: 'ok' }]);
      expect((await attemptsOf(unit)).map(({ state }) => state)).toEqual(['abandoned', 'issued']);
    },
  );

  test('F3: kill after the record, before the answer: the certificate stands and can be had, byte for byte', async () => {
    const unit = await world.addUnit();
    const request = opening(unit);
    const dying = await child({ failpoints: 'after-issue:kill' });
    expect(await dying.issueMany([request])).toEqual([{ code: 'died' }]);
    expect(await reconcile(world.reconciler, { signingLimitMs: 0 })).toBe(0);
    const slot = await world.lineages.liveViewOfUnit(world.transactor.read, unit.id);
    const attemptId = slot?.slots[0]?.attemptId ?? '';
    const one = await world.issuance.byAttempt(attemptId);
    expect(one).not.toBeNull();
    expect((await certificateReader.byAttempt(world.transactor.read, attemptId))?.der).toEqual(one?.der);
  });

  test('a crash in a flush of many leaves no member behind', async () => {
    const units = await world.addUnits(40);
    const requests = units.map(opening);
    const dying = await child({ failpoints: 'after-sign:kill' });
    await dying.issueMany(requests);
    expect(await reconcile(world.reconciler, { signingLimitMs: 0 })).toBe(40);
    const alive = await child({});
    const codes = (await alive.issueMany(requests)).map(({ code }) => code);
    expect(new Set(codes)).toEqual(new Set(['ok']));
  });
});

describe('a record that the database refuses', () => {
  test('F4: the refused row gets RETRY_LATER and no bytes, its serial is revoked, its neighbours are issued', async () => {
    const [good, bad, alsoGood] = await world.addUnits(3);
    if (!good || !bad || !alsoGood) throw new Error('no units');
    await world.db.pool.query(
      `CREATE FUNCTION wants_error() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN IF NEW.unit_id = ${bad.id} THEN RAISE EXCEPTION 'refused'; END IF; RETURN NEW; END $$;
       CREATE TRIGGER wants_error BEFORE INSERT ON certificate FOR EACH ROW EXECUTE FUNCTION wants_error();`,
    );
    const issuing = await child({ recordTriesMs: 400 });
    const outcomes = await issuing.issueMany([good, bad, alsoGood].map(opening));
    await world.db.pool.query('DROP TRIGGER wants_error ON certificate; DROP FUNCTION wants_error');
    expect(outcomes.map(({ code }) => code)).toEqual(['ok', 'RETRY_LATER', 'ok']);
    expect(outcomes[1]).not.toHaveProperty('derHex');
    expect(await attemptsOf(bad)).toEqual([{ state: 'abandoned', status: 'revoked' }]);
  });

  test('F5: the record commits and its acknowledgement is lost: one certificate, delivered', async () => {
    const unit = await world.addUnit();
    // The failpoint stays armed: every answer of the database is lost, and only reading again can tell.
    const outcomes = await (await child({ failpoints: 'issue-commit:ok-then-error', recordTriesMs: 300 })).issueMany([
      opening(unit),
    ]);
    expect(outcomes).toMatchObject([{ code: 'ok' }]);
    const { rows } = await world.db.pool.query<{ der: Buffer }>('SELECT der FROM certificate WHERE unit_id = $1', [
      unit.id,
    ]);
    expect(rows.map(({ der }) => der.toString('hex'))).toEqual([outcomes[0]?.derHex]);
  });

  test('F5: the connection is cut inside the record: rolled back, done again, delivered once', async () => {
    const unit = await world.addUnit();
    const issuing = await child({ failpoints: 'before-issue-commit@1:delay=1500' });
    const answer = issuing.issueMany([opening(unit)]);
    await until(async () => (await attemptsOf(unit)).length === 1);
    await new Promise((wake) => setTimeout(wake, 700));
    const { rows } = await world.db.pool.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE datname = current_database() AND application_name = 'issuance-child' AND state = 'idle in transaction'`,
    );
    expect(rows).toHaveLength(1);
    expect(await answer).toMatchObject([{ code: 'ok' }]);
    expect(await attemptsOf(unit)).toEqual([{ state: 'issued', status: null }]);
  });
});

describe('a process that comes back from the dead', () => {
  // With a successor slot, and without: there the intent alone must stop it.
  test.each(['operational', 'bootstrap'] as const)(
    'F11, %s: paused while signing until the reconciler has been, its record touches no row',
    async (purpose) => {
      const unit = await world.addUnit();
      const zombie = await child({ failpoints: 'after-sign:delay=300' });
      const answer = zombie.issueMany([
        purpose === 'operational' ? opening(unit) : { ...opening(unit), purpose, successor: null },
      ]);
      await until(async () => (await attemptsOf(unit)).length === 1);
      zombie.child.kill('SIGSTOP');
      expect(await reconcile(world.reconciler, { signingLimitMs: 0 })).toBe(1);
      await new Promise((wake) => setTimeout(wake, 400));
      zombie.child.kill('SIGCONT');
      expect(await answer).toEqual([{ code: 'RETRY_LATER' }]);
      expect(await attemptsOf(unit)).toEqual([{ state: 'abandoned', status: 'revoked' }]);
      const { rows } = await world.db.pool.query('SELECT 1 FROM certificate WHERE unit_id = $1', [unit.id]);
      expect(rows).toEqual([]);
    },
  );
});

describe('a token that signs wrongly', () => {
  test('F12: nothing is stored, issuing stops in every process, and a person starts it again', async () => {
    const [one, two] = await world.addUnits(2);
    if (!one || !two) throw new Error('no units');
    const broken = await child({ bendSignature: true });
    const healthy = await child({});
    expect(await broken.issueMany([opening(one)])).toEqual([{ code: 'HSM_UNAVAILABLE' }]);
    expect(await attemptsOf(one)).toEqual([{ state: 'abandoned', status: 'revoked' }]);
    expect(await healthy.issueMany([opening(two)])).toEqual([{ code: 'RETRY_LATER' }]);
    const { rows } = await world.db.pool.query('SELECT issuing_stopped FROM installation');
    expect(rows).toEqual([{ issuing_stopped: 'device-ca-1: the token gave a wrong signature' }]);
    const { rows: alarms } = await world.db.pool.query(
      `SELECT subject FROM ledger_inbox WHERE kind = 'issuing.stopped'`,
    );
    expect(alarms).toEqual([{ subject: 'issuer:device-ca-1' }]);
    await world.db.pool.query('UPDATE installation SET issuing_stopped = NULL');
    await new Promise((wake) => setTimeout(wake, 600));
    expect(await healthy.issueMany([opening(two)])).toMatchObject([{ code: 'ok' }]);
  });

  test('H1: a signer that is away answers HSM_UNAVAILABLE at once, fills no CRL, and serves again when it is back', async () => {
    const unit = await world.addUnit();
    await world.token.stopSigner();
    const codes = new Set<string>();
    for (let tries = 0; tries < 40; tries++) {
      const startedMs = Date.now();
      await world.issuance.issue(operational(unit)).catch(({ code }) => codes.add(code));
      expect(Date.now() - startedMs).toBeLessThan(6_000);
    }
    expect([...codes]).toEqual(['HSM_UNAVAILABLE']);
    // Forty requests of one unit cost a handful of revoked serials at most.
    expect((await attemptsOf(unit)).length).toBeLessThan(6);
    await world.token.startSigner();
    await until(async () => {
      const outcome = await world.issuance.issueMany([operational(unit)]);
      return outcome[0]?.ok === true;
    }, 15_000);
  });
});

describe('conditions that stop issuing', () => {
  test.each<[string, Parameters<typeof openIssuance>[2]]>([
    ['C4: the database clock differs by more than 5 s', { clock: shifted(-6_000) }],
    ['C3: a clock before this program was built', { buildTime: new Date(Date.now() + 86_400_000) }],
    ['a ledger that nobody sequences for more than a minute', { backlogSeconds: async () => 61 }],
    ['a ledger whose backlog cannot be read', { backlogSeconds: async () => Promise.reject(new Error('away')) }],
  ])('%s', async (_name, changes) => {
    const unit = await world.addUnit();
    const { issuance } = openIssuance(world.db.pool, world.signer, changes);
    await expect(issuance.issue(operational(unit))).rejects.toMatchObject({ code: 'RETRY_LATER' });
    expect(await attemptsOf(unit)).toEqual([]);
  });

  test('a process that shuts down finishes what it has begun and takes nothing new', async () => {
    const units = await world.addUnits(3);
    const { issuance } = openIssuance(world.db.pool, world.signer);
    const begun = issuance.issueMany(units.map((unit) => operational(unit)));
    await issuance.close();
    expect((await begun).every(({ ok }) => ok)).toBe(true);
    await expect(issuance.issue(operational(await world.addUnit()))).rejects.toMatchObject({ code: 'RETRY_LATER' });
  });
});

test('a renewal that crashed leaves its head able to renew with the same key', async () => {
  const unit = await world.addUnit('ACTIVE');
  const first = await world.firstCertificate(unit);
  const request = { ...opening(unit), successor: await successorOf(world, first) };
  await (await child({ failpoints: 'after-sign:kill' })).issueMany([request]);
  await reconcile(world.reconciler, { signingLimitMs: 0 });
  expect(await (await child({})).issueMany([request])).toMatchObject([{ code: 'ok' }]);
});

test('a request that takes over an abandoned key and then loses its slot leaves the key as it was', async () => {
  const unit = await world.addUnit();
  const crashed = opening(unit);
  await (await child({ failpoints: 'after-intent:kill' })).issueMany([crashed]);
  await reconcile(world.reconciler, { signingLimitMs: 0 });
  const seen = async () =>
    (
      await world.db.pool.query('SELECT * FROM key_seen WHERE spki_hash = $1', [
        readSpki(Buffer.from(crashed.spkiHex, 'hex')).spkiHash,
      ])
    ).rows;
  const before = await seen();
  expect(before).toHaveLength(1);
  const codes = (await (await child({})).issueMany([opening(unit), crashed])).map(({ code }) => code);
  expect(codes).toEqual(['ok', 'STATE_CONFLICT']);
  expect(await seen()).toEqual(before);
});

function shifted(byMs: number): Clock {
  return { now: () => new Date(Date.now() + byMs) };
}

async function until(condition: () => Promise<boolean>, limitMs = 5_000): Promise<void> {
  for (const end = Date.now() + limitMs; !(await condition()); ) {
    if (Date.now() > end) throw new Error('it did not come to that in time');
    await new Promise((wake) => setTimeout(wake, 20));
  }
}
