import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { certifyMachines } from '../../../src/jobs/certify-machines.js';
import { certifyOcspSigners, RECERTIFY_LEFT_MS } from '../../../src/jobs/certify-ocsp-signers.js';
import { ocspCertificates } from '../../../src/jobs/ocsp-certificates.pg.js';
import { makeMachineOffice } from '../../../src/lifecycle/registry/index.js';
import { machineStore } from '../../../src/lifecycle/registry/machine-store.pg.js';
import { makerStore } from '../../../src/lifecycle/registry/maker-store.pg.js';
import { checkOcspSigner } from '../../../src/lifecycle/status/index.js';
import { makeLeases } from '../../../src/platform/db/lease.pg.js';
import { ledger } from '../../../src/platform/ledger/ledger.pg.js';
import { systemClock, systemRandom } from '../../../src/platform/system-clock.js';
import { readCertificate } from '../../../src/x509/certificate.js';
import { ocspKeyHash } from '../../../src/x509/ocsp.js';
import { OPERATOR, openIssuance } from '../../support/issuance-rooms.js';
import { type IssuanceWorld, startIssuanceWorld } from '../../support/issuance-world.js';

let world: IssuanceWorld;
beforeAll(async () => {
  world = await startIssuanceWorld();
});
afterAll(() => world.close());

test('OCSP keys are certified again when four days are left: same key, new serial, once', async () => {
  const { transactor } = world;
  const leases = makeLeases(transactor);
  const lease = await leases.acquire('ocsp-signers', 'test', 60_000);
  if (!lease) throw new Error('no lease');
  const deps = {
    transactor,
    leases,
    issuers: world.issuers,
    store: ocspCertificates,
    signer: world.token.connect('worker'),
    ledger,
    clock: systemClock,
    random: systemRandom,
    operator: OPERATOR,
    lifeSeconds: 14 * 86_400,
  };
  expect(await certifyOcspSigners(deps, lease)).toEqual([]);
  const before = await ocspCertificates.newest(transactor.read);
  await world.db.pool.query(`UPDATE ocsp_signer SET not_after = $1, not_before = not_before - interval '1 day'`, [
    new Date(Date.now() + RECERTIFY_LEFT_MS - 60_000),
  ]);
  const done = await certifyOcspSigners(deps, lease);
  expect(done).toHaveLength(before.length);
  expect(await certifyOcspSigners(deps, lease)).toEqual([]);
  for (const next of await ocspCertificates.newest(transactor.read)) {
    const issuer = await world.issuers.byId(next.issuerId);
    const old = before.find(({ issuerId }) => issuerId === next.issuerId);
    if (!issuer || !old) throw new Error('no issuer');
    const checked = checkOcspSigner(next, issuer);
    const previous = readCertificate(old.certificateDer);
    expect(checked.keyHash).toEqual(ocspKeyHash(previous.spki));
    expect(checked.serial).not.toEqual(previous.serial);
    expect(next.notAfter.getTime() - Date.now()).toBeGreaterThan(13 * 86_400_000);
  }
  const { rows } = await world.db.pool.query(
    `SELECT kind, count(*)::int AS n FROM ledger_inbox WHERE kind LIKE 'ocsp-signer.%' GROUP BY kind ORDER BY kind`,
  );
  expect(rows).toEqual([
    { kind: 'ocsp-signer.certified', n: before.length },
    { kind: 'ocsp-signer.intended', n: before.length },
  ]);
});

test('approved machines are certified, requested and disabled ones are not, and one bad key holds up nobody', async () => {
  const rooms = openIssuance(world.db.pool, world.token.connect('worker'));
  const machines = makeMachineOffice({
    transactor: world.transactor,
    machines: machineStore,
    makers: makerStore,
    ledger,
    clock: systemClock,
  });
  const add = (name: string, kind: string, state: string, spkiDer: Buffer, dnsName: string | null) =>
    world.db.pool.query(
      `INSERT INTO machine (kind, name, dns_name, state, spki_der, spki_hash, requested_by, created_at)
       VALUES ($1, $2, $3, $4, $5, sha256($5), 'test', now())`,
      [kind, name, dnsName, state, spkiDer],
    );
  const key = () =>
    generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'der' });
  await add('gw-1', 'gateway', 'approved', key(), 'segw-1.hanbit.example');
  await add('gw-2', 'gateway', 'requested', key(), 'segw-2.hanbit.example');
  await add('gw-3', 'gateway', 'disabled', key(), 'segw-3.hanbit.example');
  await add('local', 'server', 'approved', key(), 'localhost');
  await add('time-1', 'time', 'approved', key(), null);
  const taken = key();
  await world.db.pool.query(
    `INSERT INTO blocked_key (spki_hash, reason, source, at) VALUES (sha256($1), 'x', 'x', now())`,
    [taken],
  );
  await add('bad', 'station', 'approved', taken, null);
  const refused: string[] = [];
  const deps = {
    machines,
    issuance: rooms.issuance,
    servicesLifeSeconds: 30 * 86_400,
    onRefused: ({ name }: { name: string }) => refused.push(name),
  };
  expect(await certifyMachines(deps)).toBe(3);
  expect(refused).toEqual(['bad']);
  expect(await certifyMachines(deps)).toBe(0);
  const { rows } = await world.db.pool.query<{ name: string; der: Buffer }>(
    `SELECT m.name, c.der FROM machine m JOIN certificate c ON c.machine_id = m.id ORDER BY m.name`,
  );
  expect(rows.map(({ name }) => name)).toEqual(['gw-1', 'local', 'time-1']);
  const [gateway, local, time] = rows.map(({ der }) => readCertificate(der));
  expect(gateway?.sanDns).toEqual(['segw-1.hanbit.example']);
  expect(local?.sanOther).toHaveLength(2);
  expect((time?.notAfter.getTime() ?? 0) - Date.now()).toBeLessThan(24 * 3_600_000 + 60_000);
  await rooms.issuance.close();
});
