import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { FactoryEnrolment } from '../../../src/lifecycle/factory/index.js';
import type { Unit } from '../../../src/lifecycle/model/index.js';
import { certificatePem, readCertificate } from '../../../src/x509/certificate.js';
import { readCsr } from '../../../src/x509/csr.js';
import type { KeyRequest } from '../../../src/x509/key-request.js';
import { type FactoryWorld, MAKER, manifestRow, requestFor, startFactoryWorld } from '../../support/factory-world.js';
import type { Key } from '../../support/status-world.js';

const actor = 'person:kim';
const address = '192.0.2.10';
const DAY_MS = 86_400_000;
const MODEL = 'FC-100';

describe('enrolment by a shared secret, rules section 3.2', () => {
  let world: FactoryWorld;
  let batch = { id: 0, name: '' };
  let counter = 0;
  let unit: Unit;

  beforeAll(async () => {
    world = await startFactoryWorld();
  });
  afterAll(() => world.close());
  beforeEach(async () => {
    world.setClock(null);
    counter += 1;
    await allowMac(true);
    await world.db.pool.query(`UPDATE maker SET state = 'active'`);
    const name = `mac-${counter}`;
    const units = [0, 1].map((n) => manifestRow(counter * 10 + n, `M${counter}`));
    const jws = await world.signManifest({ batch: name, model: MODEL, units });
    const { batchId } = await world.factory.submitManifest({ jws, dryRun: false });
    await world.factory.acceptManifest({ batchId: batchId ?? 0, actor });
    batch = { id: batchId ?? 0, name };
    unit = await unitOf(0);
  });

  const allowMac = (allowed: boolean) =>
    world.db.pool.query(
      `INSERT INTO unit_model (maker_id, model, mac_allowed, changed_by, changed_at)
       SELECT id, $1, $2, 'test', now() FROM maker WHERE name = $3
       ON CONFLICT (maker_id, model) DO UPDATE SET mac_allowed = $2`,
      [MODEL, allowed, MAKER],
    );
  const unitOf = async (n: number): Promise<Unit> => {
    const { serialNumber } = manifestRow(counter * 10 + n, `M${counter}`);
    const found = await world.registry.unitBySerialNumber(world.transactor.read, serialNumber);
    if (found === null) throw new Error(`no unit ${serialNumber}`);
    return found;
  };
  const create = (lifeHours?: number, unitId = unit.id) =>
    world.factory.createMacSecret({ unitId, actor, ...(lifeHours === undefined ? {} : { lifeHours }) });
  const request = (key?: Key): KeyRequest => readCsr(requestFor(unit.serialNumber, key).csrDer);
  const enrol = (reference: string, csr: KeyRequest = request()): Promise<FactoryEnrolment> =>
    world.factory.enrolBySecret({ reference, csr, address });
  /** Every row of every table, as text. */
  const allRows = async (): Promise<string> => {
    const { rows } = await world.db.pool.query<{ name: string }>(
      `SELECT quote_ident(relname) AS name FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace`,
    );
    const texts = rows.map(({ name }) => world.db.pool.query(`SELECT string_agg(t::text, ' ') AS text FROM ${name} t`));
    return (await Promise.all(texts)).map((result) => result.rows[0].text ?? '').join('\n');
  };
  /** A token that failed is left alone for a moment; a key of another unit shows when that is over. */
  const issuingAgain = async (): Promise<void> => {
    const other = await unitOf(1);
    const { reference } = await create(undefined, other.id);
    const csr = readCsr(requestFor(other.serialNumber).csrDer);
    for (let tries = 0; tries < 100; tries++, await sleep(100)) {
      const outcome = await enrol(reference, csr).catch((error: Error) => error);
      if (!(outcome instanceof Error)) return;
      expect(outcome).toMatchObject({ code: 'HSM_UNAVAILABLE' });
    }
    throw new Error('issuing did not begin again');
  };
  const stateOf = async () => (await unitOf(0)).state;

  test('the secret is 256 bits of text, found again by its reference, and nowhere in the database or ledger', async () => {
    const { reference, secret, expiresAt } = await create();
    expect(reference).toMatch(/^[A-Za-z0-9_-]{22}$/);
    expect(secret).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect((expiresAt.getTime() - Date.now()) / 3_600_000).toBeCloseTo(24, 1);
    const found = await world.factory.macSecret(reference);
    expect(found?.secret.toString()).toBe(secret);
    expect(found?.unit).toMatchObject({ id: unit.id, serialNumber: unit.serialNumber });
    expect(await world.entries('mac-secret.created')).toContainEqual({
      subject: `unit:${unit.serialNumber}`,
      body: { unitId: unit.id, makerId: unit.makerId, reference, expiresAt: expiresAt.toISOString(), actor },
    });
    const everything = await allRows();
    expect(everything).toContain(reference);
    expect(everything).not.toContain(secret);
  });

  test('two references have two secrets, and a made-up or malformed one has none', async () => {
    const [one, two] = [await create(), await create(undefined, (await unitOf(1)).id)];
    expect(one.secret).not.toBe(two.secret);
    for (const reference of ['', 'A'.repeat(22), 'A'.repeat(10_000), `${one.reference}=`, `'; DROP TABLE unit;--`]) {
      expect(await world.factory.macSecret(reference)).toBeNull();
      await expect(enrol(reference)).rejects.toMatchObject({ code: 'GRANT_BAD' });
    }
  });

  test('it leads to a bootstrap certificate that openssl verifies to the Bootstrap Root, and to nothing else', async () => {
    const { reference } = await create();
    const { certificate, chain, repeated } = await enrol(reference);
    expect(repeated).toBe(false);
    const dir = mkdtempSync(join(tmpdir(), 'fp-mac-'));
    const [ca, root] = chain.map(certificatePem);
    for (const [name, pem] of Object.entries({ leaf: certificatePem(certificate.der), ca, root })) {
      writeFileSync(join(dir, `${name}.pem`), pem ?? '');
    }
    const verify = ['verify', '-x509_strict', '-CAfile', 'root.pem', '-untrusted', 'ca.pem', 'leaf.pem'];
    expect(execFileSync('openssl', verify, { cwd: dir, encoding: 'utf8' })).toBe('leaf.pem: OK\n');
    rmSync(dir, { recursive: true });
    expect(certificate.purpose).toBe('bootstrap');
    expect(readCertificate(certificate.der)).toMatchObject({ commonName: unit.fqdn, sanDns: [unit.fqdn] });
    expect(await stateOf()).toBe('BOOTSTRAPPED');
    const { rows } = await world.db.pool.query<{ purpose: string }>(
      'SELECT purpose FROM certificate WHERE unit_id = $1',
      [unit.id],
    );
    expect(rows).toEqual([{ purpose: 'bootstrap' }]);
    const [intended] = (await world.entries('certificate.intended')).filter(
      ({ body }) => body['macReference'] === reference,
    );
    expect(intended?.body).toMatchObject({ unitId: unit.id, address });
  });

  test('the same key again gets the identical certificate, another key nothing', async () => {
    const { reference } = await create();
    const csr = request();
    const first = await enrol(reference, csr);
    const again = await enrol(reference, csr);
    expect(again).toMatchObject({ repeated: true });
    expect(again.certificate.der.equals(first.certificate.der)).toBe(true);
    await expect(enrol(reference)).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    // Its confirmation is MACed too, so the spent secret still verifies; a day later it is forgotten.
    expect(await world.factory.macSecret(reference)).not.toBeNull();
    world.setClock(new Date(Date.now() + DAY_MS + 60_000));
    expect(await world.factory.macSecret(reference)).toBeNull();
  });

  test('eight keys at once with one secret: exactly one is certified, and one certificate is recorded', async () => {
    const { reference } = await create();
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => enrol(reference)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(['RETRY_LATER', 'STATE_CONFLICT']).toContain(outcome.reason.code);
    }
    const { rows } = await world.db.pool.query(
      'SELECT count(*)::int AS n FROM certificate WHERE unit_id = $1 AND purpose = $2',
      [unit.id, 'bootstrap'],
    );
    expect(rows).toEqual([{ n: 1 }]);
  });

  test('an attempt that breaks off at the token does not cost the unit its secret', async () => {
    const { reference } = await create();
    const csr = request();
    world.breakSigner(true);
    await expect(enrol(reference, csr)).rejects.toMatchObject({ code: 'HSM_UNAVAILABLE' });
    world.breakSigner(false);
    await issuingAgain();
    await expect(enrol(reference, csr)).rejects.toMatchObject({ code: 'RETRY_LATER', retryAfterSeconds: 30 });
    expect(await stateOf()).toBe('MANIFESTED');
    world.setClock(new Date(Date.now() + 121_000));
    expect((await enrol(reference, csr)).repeated).toBe(false);
    expect(await stateOf()).toBe('BOOTSTRAPPED');
  }, 30_000);

  test('a newer secret withdraws the older one; of two made at once one is good', async () => {
    const older = await create();
    const both = await Promise.all([create(), create()]);
    const good = await Promise.all([older, ...both].map(async ({ reference }) => world.factory.macSecret(reference)));
    expect(good.filter((one) => one !== null)).toHaveLength(1);
    await expect(enrol(older.reference)).rejects.toMatchObject({ code: 'GRANT_BAD' });
    expect(await stateOf()).toBe('MANIFESTED');
  });

  test('after its end it proves nothing', async () => {
    const { reference } = await create(1);
    world.setClock(new Date(Date.now() + 3_600_000));
    expect(await world.factory.macSecret(reference)).toBeNull();
    await expect(enrol(reference)).rejects.toMatchObject({ code: 'GRANT_BAD' });
    for (const lifeHours of [0, 169, 1.5, Number.NaN]) {
      await expect(create(lifeHours)).rejects.toMatchObject({ code: 'BAD_REQUEST', facts: { field: 'lifeHours' } });
    }
  });

  test('without the model’s leave no secret is made, and one made before is good for nothing', async () => {
    const { reference } = await create();
    await allowMac(false);
    await expect(create()).rejects.toMatchObject({
      code: 'STATE_CONFLICT',
      facts: { errors: ['model: MAC not allowed'] },
    });
    await expect(enrol(reference)).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    await world.db.pool.query('DELETE FROM unit_model');
    await expect(create()).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    expect(await stateOf()).toBe('MANIFESTED');
  });

  test('a frozen maker’s units neither get secrets nor use them', async () => {
    const { reference } = await create();
    await world.db.pool.query(`UPDATE maker SET state = 'frozen' WHERE name = $1`, [MAKER]);
    await expect(create()).rejects.toMatchObject({ code: 'CREDENTIAL_FROZEN' });
    await expect(enrol(reference)).rejects.toMatchObject({ code: 'CREDENTIAL_FROZEN' });
  });

  test('a closed batch is over for secrets too', async () => {
    const { reference } = await create();
    await world.factory.closeBatch({ batchId: batch.id, actor });
    await expect(create()).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    await expect(enrol(reference)).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
  });

  test('a unit that a station has enrolled gets no secret, and rework is not for an older one', async () => {
    const { reference } = await create();
    const { certificateDer } = await world.addStation(`station-mac-${counter}`);
    const caller = await world.factory.stationCaller({ certificateDer });
    await world.factory.createCredential({
      name: `mac-${counter}`,
      makerName: MAKER,
      batchName: batch.name,
      site: 'Gumi 2',
      stationName: `station-mac-${counter}`,
      cidrs: ['192.0.2.0/24'],
      actor,
    });
    const { serialNumber } = unit;
    const byStation = await world.factory.enrol({
      caller,
      address,
      serialNumber,
      csr: request().der.toString('base64'),
    });
    expect(byStation.repeated).toBe(false);
    await expect(create()).rejects.toMatchObject({ code: 'STATE_CONFLICT', facts: { state: 'BOOTSTRAPPED' } });
    await expect(enrol(reference)).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    await world.factory.allowRework({ serialNumber, actor, reason: 'board replaced' });
    await expect(enrol(reference)).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    expect(
      (await world.factory.enrol({ caller, address, serialNumber, csr: request().der.toString('base64') })).repeated,
    ).toBe(false);
  });

  test('names and possession are checked as a station’s are', async () => {
    const { reference } = await create();
    const other = readCsr(requestFor('020000000001.femto.hanbit.example').csrDer);
    await expect(enrol(reference, other)).rejects.toMatchObject({ code: 'ID_MISMATCH' });
    const good = request();
    const forged = { ...good, spki: request().spki };
    await expect(enrol(reference, forged)).rejects.toMatchObject({ code: 'POP_FAIL' });
    expect(await stateOf()).toBe('MANIFESTED');
    expect((await enrol(reference, good)).repeated).toBe(false);
  });

  test('there is no secret for a unit that does not exist', async () => {
    await expect(create(undefined, 999_999)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});
