import { execFileSync } from 'node:child_process';
import { verify, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { MachineIdentityDeps } from '../../src/apps/machine-identity.js';
import { approveOwnMachines } from '../../src/apps/own-machines.js';
import { openRaIdentity, RA_NAME } from '../../src/apps/ra-identity.js';
import { openServerIdentity } from '../../src/apps/server-identity.js';
import { type Core, certificateDer, wireCore } from '../../src/apps/wire-core.js';
import { certifyMachines } from '../../src/jobs/certify-machines.js';
import type { Clock } from '../../src/platform/clock.js';
import { loadConfig } from '../../src/platform/config/config.js';
import { createLogger } from '../../src/platform/log.js';
import { systemClock } from '../../src/platform/system-clock.js';
import type { CmpRa } from '../../src/protocol/cmp/cmp-deps.js';
import { certificatePem, readCertificate } from '../../src/x509/certificate.js';
import { OID } from '../../src/x509/oids.js';
import { openIssuance } from '../support/issuance-rooms.js';
import { type IssuanceWorld, startIssuanceWorld } from '../support/issuance-world.js';

const DAY_MS = 86_400_000;
let world: IssuanceWorld;
let worker: ReturnType<typeof openIssuance>;
let core: Core;
let deps: MachineIdentityDeps;
let personId = 0;
let aheadMs = 0;
let dir = '';
const said: { msg: string; machine?: string }[] = [];
const clock: Clock = { now: () => new Date(systemClock.now().getTime() + aheadMs) };

beforeAll(async () => {
  world = await startIssuanceWorld();
  worker = openIssuance(world.db.pool, world.token.connect('worker'));
  core = wireCore(world.transactor, clock);
  const log = createLogger({ name: 'test', destination: { write: (line) => said.push(JSON.parse(line)) } });
  deps = { ...core, log, certificateOf: certificateDer(core) };
  const { rows } = await world.db.pool.query<{ id: number }>(
    `INSERT INTO person (name, role, created_at) VALUES ('kim', 'approver', now()) RETURNING id`,
  );
  personId = rows[0]?.id ?? 0;
});
afterAll(async () => {
  await worker.issuance.close();
  await world.close();
});
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fp-identity-'));
  aheadMs = 0;
  said.length = 0;
  await world.db.pool.query('DELETE FROM machine');
});
afterEach(() => rmSync(dir, { recursive: true }));

/** What the rotation worker does every few seconds. */
const certify = () =>
  certifyMachines({
    machines: core.machines,
    issuance: worker.issuance,
    servicesLifeSeconds: 30 * 86_400,
    onRefused: (_machine, error) => {
      throw error;
    },
  });
const approve = () => core.machines.approve({ name: RA_NAME, personId, actor: 'person:kim' });
async function until<T>(what: () => Promise<T | null | false> | T | null | false): Promise<T> {
  for (let tries = 0; tries < 200; tries++) {
    const value = await what();
    if (value) return value;
    await sleep(50);
  }
  throw new Error('it did not happen');
}
const row = () => core.machines.byName(RA_NAME);
const current = (ra: CmpRa) => until(() => ra.current());

describe('the identity that protects CMP answers', () => {
  test('waits for approval without holding up its process, and says how to approve it, once', async () => {
    const ra = openRaIdentity(deps, { tlsDir: dir, watchMs: 50 });
    expect(ra.current()).toBeNull();
    expect(await until(row)).toMatchObject({ kind: 'cmp-ra', state: 'requested', dnsName: null });
    await until(() => said.length > 0);
    await sleep(300);
    expect(said.map(({ msg }) => msg)).toEqual(['waiting for approval: femtopki machine approve enrol-server-cmp']);
    expect(ra.current()).toBeNull();
    await approve();
    expect(await certify()).toBe(1);
    await current(ra);
    ra.close();
  });

  test('holds a 30-day Services certificate for CMP that openssl verifies to the Services Root, and signs with its key', async () => {
    const ra = openRaIdentity(deps, { tlsDir: dir, watchMs: 50 });
    await until(row);
    await approve();
    await certify();
    const held = await current(ra);
    const certificate = readCertificate(held.certificateDer);
    expect(certificate).toMatchObject({
      commonName: RA_NAME,
      organizationalUnit: 'cmp-ra',
      ekus: [OID.cmcRa],
      isCa: false,
    });
    expect(certificate.subjectDer.equals(held.subjectDer)).toBe(true);
    expect(certificate.ski?.equals(held.keyIdentifier)).toBe(true);
    expect((certificate.notAfter.getTime() - Date.now()) / DAY_MS).toBeCloseTo(30, 0);
    const [ca, root] = held.chain;
    for (const [name, der] of Object.entries({ leaf: held.certificateDer, ca, root })) {
      writeFileSync(join(dir, `${name}.pem`), certificatePem(der ?? Buffer.alloc(0)));
    }
    const args = [
      'verify',
      '-x509_strict',
      '-purpose',
      'any',
      '-CAfile',
      'root.pem',
      '-untrusted',
      'ca.pem',
      'leaf.pem',
    ];
    expect(execFileSync('openssl', args, { cwd: dir, encoding: 'utf8' })).toBe('leaf.pem: OK\n');
    const data = Buffer.from('header and body');
    expect(verify('sha256', data, new X509Certificate(held.certificateDer).publicKey, held.sign(data))).toBe(true);
    expect(statSync(join(dir, `${RA_NAME}.key`)).mode & 0o777).toBe(0o600);
    ra.close();
  });

  test('is renewed with the same key while it serves, once ten days are left', async () => {
    const ra = openRaIdentity(deps, { tlsDir: dir, watchMs: 50 });
    await until(row);
    await approve();
    await certify();
    const first = await current(ra);
    await sleep(200);
    expect((await row())?.renewRequestedAt).toBeNull();
    aheadMs = 21 * DAY_MS;
    await until(async () => (await row())?.renewRequestedAt);
    expect(ra.current()?.certificateDer.equals(first.certificateDer)).toBe(true);
    expect(await certify()).toBe(1);
    const second = await until(() => {
      const now = ra.current();
      return now?.certificateDer.equals(first.certificateDer) ? null : now;
    });
    expect(second.keyIdentifier.equals(first.keyIdentifier)).toBe(true);
    ra.close();
  });

  test('says nothing after its certificate’s end, nor once its row is disabled', async () => {
    const ra = openRaIdentity(deps, { tlsDir: dir, watchMs: 50 });
    await until(row);
    await approve();
    await certify();
    await current(ra);
    aheadMs = 31 * DAY_MS;
    expect(ra.current()).toBeNull();
    aheadMs = 0;
    expect(ra.current()).not.toBeNull();
    await core.machines.disable({ name: RA_NAME, actor: 'person:kim', reason: 'key copied' });
    await until(() => ra.current() === null);
    ra.close();
  });

  test('after a lost key file the approved row certifies the new key; nobody is asked again', async () => {
    const before = openRaIdentity(deps, { tlsDir: dir, watchMs: 50 });
    await until(row);
    await approve();
    await certify();
    const old = await current(before);
    before.close();
    rmSync(join(dir, `${RA_NAME}.key`));
    const after = openRaIdentity(deps, { tlsDir: dir, watchMs: 50 });
    await until(async () => (await row())?.renewRequestedAt);
    expect(after.current()).toBeNull();
    expect(await certify()).toBe(1);
    expect((await current(after)).keyIdentifier.equals(old.keyIdentifier)).toBe(false);
    after.close();
  });

  test('two hosts with key files of their own do not take the row from each other while both are certified', async () => {
    const other = mkdtempSync(join(tmpdir(), 'fp-identity-'));
    const one = openRaIdentity(deps, { tlsDir: dir, watchMs: 50 });
    await until(row);
    await approve();
    await certify();
    const mine = await current(one);
    const two = openRaIdentity(deps, { tlsDir: other, watchMs: 50 });
    await until(async () => (await row())?.renewRequestedAt);
    await certify();
    await current(two);
    await sleep(500);
    expect((await row())?.renewRequestedAt).toBeNull();
    expect(one.current()?.certificateDer.equals(mine.certificateDer)).toBe(true);
    one.close();
    two.close();
    rmSync(other, { recursive: true });
  });
});

describe('our own machines of a demo', () => {
  const start = () =>
    approveOwnMachines(core.machines, loadConfig({ env: {}, dataDir: dir }), { tlsDir: dir, personId });

  test('an installation from before has the row of CMP answers approved at its next start', async () => {
    await start();
    await world.db.pool.query('DELETE FROM machine WHERE name = $1', [RA_NAME]);
    rmSync(join(dir, `${RA_NAME}.key`));
    const before = await core.machines.byName('enrol-server');
    await start();
    expect(await row()).toMatchObject({ kind: 'cmp-ra', state: 'approved', approvedBy: personId });
    expect(await core.machines.byName('enrol-server')).toEqual(before);
  });

  test('a disabled one stays disabled, and the others are approved all the same', async () => {
    await start();
    await core.machines.disable({ name: RA_NAME, actor: 'person:kim', reason: 'no CMP here' });
    await start();
    expect((await row())?.state).toBe('disabled');
    expect((await core.machines.byName('gateway-server'))?.state).toBe('approved');
  });
});

describe('the identity of a TLS listener', () => {
  test('opens with chain and key, and tells its listener of each renewal', async () => {
    const opened = openServerIdentity(deps, {
      name: 'enrol-server',
      dnsName: 'localhost',
      tlsDir: dir,
      waitMs: 20_000,
      watchMs: 50,
    });
    await until(() => core.machines.byName('enrol-server'));
    await core.machines.approve({ name: 'enrol-server', personId, actor: 'person:kim' });
    await certify();
    const identity = await opened;
    const first = identity.current();
    expect(first.cert.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
    expect(first.cert).toBe(readFileSync(join(dir, 'enrol-server.pem'), 'utf8'));
    expect(new X509Certificate(first.cert).checkHost('localhost')).toBe('localhost');
    let renewals = 0;
    identity.onRenewed(() => {
      renewals += 1;
    });
    aheadMs = 21 * DAY_MS;
    await until(async () => (await core.machines.byName('enrol-server'))?.renewRequestedAt);
    await certify();
    await until(() => renewals === 1);
    expect(identity.current().cert).not.toBe(first.cert);
    expect(identity.current().key).toBe(first.key);
    identity.close();
  });

  test('without approval it gives up after its wait and names the command', async () => {
    const waitMs = 700;
    await expect(
      openServerIdentity(deps, { name: 'enrol-server', dnsName: 'localhost', tlsDir: dir, waitMs }),
    ).rejects.toMatchObject({ code: 'RETRY_LATER', message: expect.stringContaining('machine approve enrol-server,') });
  });
});
