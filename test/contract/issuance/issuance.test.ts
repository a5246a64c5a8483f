import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { certificateReader } from '../../../src/lifecycle/issuance/certificate-reader.pg.js';
import type { IssuedCertificate } from '../../../src/lifecycle/issuance/index.js';
import type { CertificateRecord } from '../../../src/lifecycle/model/index.js';
import { FemtoError } from '../../../src/platform/errors.js';
import { armFailpoints } from '../../../src/platform/failpoint.js';
import { certificatePem, readCertificate } from '../../../src/x509/certificate.js';
import { openIssuance } from '../../support/issuance-rooms.js';
import {
  freshSpki,
  type IssuanceWorld,
  operational,
  startIssuanceWorld,
  successorOf,
} from '../../support/issuance-world.js';

let world: IssuanceWorld;
beforeAll(async () => {
  world = await startIssuanceWorld();
}, 120_000);
afterAll(async () => {
  await world?.close();
});

/** What the database holds of it: the window is its slot's. */
function recordOf(certificate: CertificateRecord): CertificateRecord {
  const { renewFrom: _from, renewUntil: _until, ...record } = certificate as IssuedCertificate;
  return record;
}

describe('one certificate', () => {
  test('is built from the registry, signed in the token, recorded, and verifies with OpenSSL under the Access Root', async () => {
    const unit = await world.addUnit();
    const request = operational(unit);
    const certificate = await world.issuance.issue(request);
    const read = readCertificate(certificate.der);
    expect(read).toMatchObject({ commonName: unit.fqdn, sanDns: [unit.fqdn], organization: 'Hanbit Mobile' });
    expect(read.spki.spkiHash).toEqual(request.spki.spkiHash);
    expect((read.notAfter.getTime() - read.notBefore.getTime()) / 1_000 + 1).toBe(7 * 86_400);
    expect(opensslVerify(certificate)).toMatch(/: OK$/m);

    const { rows } = await world.db.pool.query(
      `SELECT i.state AS intent, s.state AS slot, s.generation, c.der FROM issuance_intent i
       JOIN lineage_slot s ON s.id = i.slot_id JOIN certificate c ON c.attempt_id = i.attempt_id WHERE i.unit_id = $1`,
      [unit.id],
    );
    expect(rows).toEqual([{ intent: 'issued', slot: 'pending', generation: 1, der: certificate.der }]);
    expect(await ledgerKinds(unit.serialNumber)).toEqual(['certificate.intended', 'certificate.issued']);
  });

  test('is found by value, attempt and unit', async () => {
    const unit = await world.addUnit();
    const certificate = await world.firstCertificate(unit);
    const tx = world.transactor.read;
    const recorded = recordOf(certificate);
    expect(await certificateReader.record(tx, certificate)).toEqual(recorded);
    expect(await certificateReader.byAttempt(tx, certificate.attemptId)).toEqual(recorded);
    const keyIdentifier = readCertificate(certificate.der).ski ?? Buffer.alloc(0);
    const by = { unitId: unit.id, keyIdentifier, at: new Date() };
    expect(await certificateReader.ofUnitByKeyIdentifier(tx, by)).toEqual([recorded]);
    expect(await certificateReader.ofUnitByKeyIdentifier(tx, { ...by, keyIdentifier: randomBytes(20) })).toEqual([]);
    expect(await certificateReader.record(tx, { ...certificate, serial: Buffer.alloc(16, 1) })).toBeNull();
    expect(await certificateReader.record(tx, { ...certificate, serial: Buffer.alloc(3) })).toBeNull();
  });

  test('of a bootstrap or station kind needs no slot', async () => {
    const unit = await world.addUnit('MANIFESTED');
    const bootstrap = await world.issuance.issue(
      operational(unit, { purpose: 'bootstrap', lifeSeconds: 365 * 86_400, successor: null }),
    );
    expect(bootstrap).toMatchObject({ purpose: 'bootstrap', slotId: null, generation: null });
    expect(await certificateReader.record(world.transactor.read, bootstrap)).toEqual(recordOf(bootstrap));
    const { rows } = await world.db.pool.query<{ id: number }>(
      `INSERT INTO machine (kind, name, state, spki_der, spki_hash, requested_by, created_at)
       VALUES ('station', 'station-1', 'approved', '\\x00', '\\x00', 'test', now()) RETURNING id`,
    );
    // Only the worker may ask for Services certificates.
    const worker = openIssuance(world.db.pool, world.token.connect('worker'));
    const station = await worker.issuance.issue({
      purpose: 'services',
      servicesKind: 'station',
      unitId: null,
      machineId: rows[0]?.id ?? null,
      commonName: 'station-1',
      sanDns: null,
      spki: freshSpki(),
      lifeSeconds: 30 * 86_400,
      revocationEpoch: 0,
      successor: null,
      actor: 'machine:station-1',
    });
    expect(readCertificate(station.der).commonName).toBe('station-1');
    await worker.issuance.close();
  });

  test('with a life above the ceiling is refused with an alarm, not cut', async () => {
    const unit = await world.addUnit();
    const failed = world.issuance.issue(operational(unit, { lifeSeconds: 3_650 * 86_400 }));
    await expect(failed).rejects.toMatchObject({ code: 'LIFETIME_EXCEEDS_CEILING' });
    expect(world.alarms).toContainEqual({
      what: 'life above the ceiling',
      facts: expect.objectContaining({ unitId: unit.id }),
    });
    expect(await ledgerKinds(unit.serialNumber)).toEqual([]);
  });
});

describe('a flush', () => {
  test('refuses a row alone and issues its neighbours', async () => {
    const units = await world.addUnits(6);
    const [one, two, gone, moved, blocked, last] = units;
    if (!one || !two || !gone || !moved || !blocked || !last) throw new Error('no units');
    const shared = freshSpki();
    const bad = freshSpki();
    await world.db.pool.query(`INSERT INTO blocked_key VALUES ($1, 'leaked', 'test', now())`, [bad.spkiHash]);
    await world.db.pool.query(`UPDATE unit SET state = 'LOST' WHERE id = $1`, [gone.id]);
    const outcomes = await world.issuance.issueMany([
      operational(one, { spki: shared }),
      operational(two, { spki: shared }),
      operational(gone),
      operational(moved, { revocationEpoch: 7 }),
      operational(blocked, { spki: bad }),
      operational(last),
    ]);
    expect(outcomes.map((outcome) => (outcome.ok ? 'ok' : outcome.error.code))).toEqual([
      'ok',
      'KEY_IN_USE',
      'STATE_CONFLICT',
      'STATE_CONFLICT',
      'KEY_BLOCKED',
      'ok',
    ]);
    expect(await ledgerKinds(two.serialNumber)).toEqual(['key.reused']);
    expect(await ledgerKinds(gone.serialNumber)).toEqual([]);
  });

  test('of fifty identical requests makes one certificate; the others are told to ask again', async () => {
    const unit = await world.addUnit();
    const request = operational(unit);
    const outcomes = await world.issuance.issueMany(Array.from({ length: 50 }, () => ({ ...request })));
    const issued = outcomes.flatMap((outcome) => (outcome.ok ? [outcome.certificate] : []));
    expect(issued).toHaveLength(1);
    const codes = new Set(outcomes.flatMap((outcome) => (outcome.ok ? [] : [outcome.error.code])));
    expect([...codes]).toEqual(['RETRY_LATER']);
    const again = await world.issuance.byAttempt(issued[0]?.attemptId ?? '');
    expect(again?.der).toEqual(issued[0]?.der);
  });

  test('runs the hooks of each row in its own savepoint', async () => {
    const [kept, thrown, dropped] = await world.addUnits(3);
    if (!kept || !thrown || !dropped) throw new Error('no units');
    const note =
      (text: string) => async (tx: Parameters<NonNullable<ReturnType<typeof operational>['withIntent']>>[0]) => {
        await tx.query(`UPDATE unit SET state_reason = state_reason || $2 WHERE serial_number = $1`, [
          text.split(' ')[0],
          text,
        ]);
      };
    const outcomes = await world.issuance.issueMany([
      operational(kept, {
        withIntent: note(`${kept.serialNumber} intended,`),
        withIssued: note(`${kept.serialNumber} issued`),
      }),
      operational(thrown, {
        withIntent: async (tx) => {
          await note(`${thrown.serialNumber} intended`)(tx);
          throw new FemtoError('GRANT_BAD', 'The code is spent; ask for a new one.');
        },
      }),
      operational(dropped, {
        withIssued: async (tx) => {
          await note(`${dropped.serialNumber} issued`)(tx);
          await tx.query('SELECT 1/0');
        },
      }),
    ]);
    expect(outcomes.map((outcome) => (outcome.ok ? 'ok' : outcome.error.code))).toEqual([
      'ok',
      'GRANT_BAD',
      'INTERNAL',
    ]);
    const { rows } = await world.db.pool.query<{ reason: string }>(
      'SELECT state_reason AS reason FROM unit WHERE id = ANY($1) ORDER BY id',
      [[kept.id, thrown.id, dropped.id]],
    );
    expect(rows.map(({ reason }) => reason)).toEqual([
      `${kept.serialNumber} intended,${kept.serialNumber} issued`,
      '',
      '',
    ]);
    // A signature exists for the third, so its serial is revoked.
    const { rows: states } = await world.db.pool.query(
      `SELECT i.state, s.state AS slot, r.state AS status FROM issuance_intent i JOIN lineage_slot s ON s.id = i.slot_id
       JOIN revoked_certificate r ON r.serial = i.serial WHERE i.unit_id = $1`,
      [dropped.id],
    );
    expect(states).toEqual([{ state: 'abandoned', slot: 'abandoned', status: 'revoked' }]);
    // And the key is still its unit's to bring.
    await expect(world.issuance.issue(operational(thrown))).resolves.toMatchObject({ generation: 1 });
    await expect(world.issuance.issue(operational(dropped))).resolves.toMatchObject({ generation: 1 });
  });
});

describe('the successor slot', () => {
  test('is taken once; the pending predecessor is confirmed by the next generation', async () => {
    const unit = await world.addUnit('ACTIVE');
    const first = await world.firstCertificate(unit);
    const successor = await successorOf(world, first);
    const outcomes = await world.issuance.issueMany([
      operational(unit, { successor }),
      operational(unit, { successor }),
    ]);
    expect(outcomes.map((outcome) => (outcome.ok ? 'ok' : outcome.error.code)).sort()).toEqual([
      'STATE_CONFLICT',
      'ok',
    ]);
    const view = await world.lineages.liveViewOfUnit(world.transactor.read, unit.id);
    expect(view?.slots.map(({ generation, state }) => `${generation} ${state}`)).toEqual(['1 confirmed', '2 pending']);
    expect(await ledgerKinds(unit.serialNumber)).toContain('lineage.confirmed');
  });

  test('is refused where the predecessor does not stand, and for pre-issue where it is not confirmed', async () => {
    const unit = await world.addUnit('ACTIVE');
    const first = await world.firstCertificate(unit);
    const successor = await successorOf(world, first);
    const skipping = world.issuance.issue(operational(unit, { successor: { ...successor, generation: 3 } }));
    await expect(skipping).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    const early = world.issuance.issue(operational(unit, { successor: { ...successor, preissued: true } }));
    await expect(early).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    const other = await world.addUnit('ACTIVE');
    const foreign = world.issuance.issue(operational(other, { successor }));
    await expect(foreign).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
  });

  test('is displaced softly once an hour, and only while pending', async () => {
    const unit = await world.addUnit('ACTIVE');
    const first = await world.firstCertificate(unit);
    const successor = await successorOf(world, first);
    const lost = await world.issuance.issue(operational(unit, { successor }));
    const displace = (slotId: number | null) =>
      world.issuance.issue(operational(unit, { successor: { ...successor, displacesSlotId: slotId } }));
    const replacement = await displace(lost.slotId);
    expect(replacement.generation).toBe(2);
    await expect(displace(replacement.slotId)).rejects.toMatchObject({ code: 'RETRY_LATER' });
    await expect(displace(lost.slotId)).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    const { slotId } = replacement;
    if (slotId === null) throw new Error('no slot');
    await world.transactor.run((tx) => world.lineages.confirmSlot(tx, { slotId, by: 'confirm-call', at: new Date() }));
    await world.db.pool.query(
      `UPDATE lineage SET last_soft_at = last_soft_at - interval '2 hours' WHERE unit_id = $1`,
      [unit.id],
    );
    await expect(displace(replacement.slotId)).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
  });

  test('of a new activation closes the old lineage in the same commit', async () => {
    const unit = await world.addUnit('ACTIVE');
    const first = await world.firstCertificate(unit);
    const { lineageId } = await successorOf(world, first);
    if (lineageId === null) throw new Error('no lineage');
    await expect(world.issuance.issue(operational(unit))).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    const next = await world.issuance.issue(
      operational(unit, {
        successor: {
          lineageId: null,
          generation: 1,
          preissued: false,
          displacesSlotId: null,
          closesLineageId: lineageId,
        },
      }),
    );
    const view = await world.lineages.liveViewOfUnit(world.transactor.read, unit.id);
    expect(view?.lineage.id).not.toBe(lineageId);
    expect(view?.slots.map(({ serial }) => serial)).toEqual([next.serial]);
  });
});

describe('keys', () => {
  test('of another unit are refused; the owner is flagged only where possession was proved', async () => {
    const [owner, caller] = await world.addUnits(2);
    if (!owner || !caller) throw new Error('no units');
    const spki = freshSpki();
    await world.issuance.issue(operational(owner, { spki }));
    for (const keyProved of [false, true]) {
      await expect(world.issuance.issue(operational(caller, { spki, keyProved }))).rejects.toMatchObject({
        code: 'KEY_IN_USE',
      });
    }
    const { rows } = await world.db.pool.query<{ body: string }>(
      `SELECT body FROM ledger_inbox WHERE kind = 'key.reused' AND subject = $1 ORDER BY id`,
      [`unit:${caller.serialNumber}`],
    );
    expect(rows.map(({ body }) => JSON.parse(body).flags)).toEqual([['caller'], ['caller', 'owner']]);
  });

  test('of the unit itself need leave, and a bootstrap key never becomes operational', async () => {
    const unit = await world.addUnit('MANIFESTED');
    const spki = freshSpki();
    await world.issuance.issue(operational(unit, { spki, purpose: 'bootstrap', successor: null }));
    await expect(world.issuance.issue(operational(unit, { spki }))).rejects.toMatchObject({ code: 'KEY_IN_USE' });
  });
});

describe('revocation against issuance', () => {
  test.each([
    ['cessationOfOperation', 'STATE_CONFLICT'],
    // The key in flight is blocked in the same transaction.
    ['keyCompromise', 'KEY_BLOCKED'],
  ] as const)('a revocation (%s) between intent and record voids the certificate', async (reason, code) => {
    const unit = await world.addUnit('ACTIVE');
    armFailpoints('after-sign:delay=500');
    const failed = world.issuance.issue(operational(unit)).finally(() => armFailpoints(''));
    await setTimeout(200);
    await world.revocation.revoke({
      selection: { by: 'unit', unitId: unit.id },
      reason,
      note: 'test',
      actor: 'system:test',
      personId: null,
    });
    await expect(failed).rejects.toMatchObject({ code });
    const { rows } = await world.db.pool.query(
      `SELECT i.state, (SELECT count(*)::int FROM certificate c WHERE c.attempt_id = i.attempt_id) AS certificates
       FROM issuance_intent i WHERE unit_id = $1`,
      [unit.id],
    );
    expect(rows).toEqual([{ state: 'abandoned', certificates: 0 }]);
  });
});

function opensslVerify(certificate: CertificateRecord): string {
  const dir = mkdtempSync(join(tmpdir(), 'fp-verify-'));
  try {
    const write = (name: string, pem: string) => {
      writeFileSync(join(dir, name), pem);
      return join(dir, name);
    };
    const root = write('root.pem', world.token.entry('access-root').certificatePem);
    const ca = write('ca.pem', world.token.entry('device-ca-1').certificatePem);
    const leaf = write('leaf.pem', certificatePem(certificate.der));
    return execFileSync('openssl', ['verify', '-x509_strict', '-CAfile', root, '-untrusted', ca, leaf], {
      encoding: 'utf8',
    });
  } finally {
    rmSync(dir, { recursive: true });
  }
}

async function ledgerKinds(serialNumber: string): Promise<string[]> {
  const { rows } = await world.db.pool.query<{ kind: string }>(
    'SELECT kind FROM ledger_inbox WHERE subject = $1 ORDER BY id',
    [`unit:${serialNumber}`],
  );
  return rows.map(({ kind }) => kind);
}
