import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { wireAdmission } from '../../../src/apps/wire-admission.js';
import { type Authorise, type AuthoriseRequest, makeAuthorise } from '../../../src/lifecycle/admission/index.js';
import type { CertificateRecord } from '../../../src/lifecycle/model/index.js';
import { beatHeart } from '../../../src/platform/db/heartbeat.pg.js';
import { NO_GEO } from '../../../src/platform/net/geo-databases.js';
import { assembleCertificate, readCertificate } from '../../../src/x509/certificate.js';
import { readSpki } from '../../../src/x509/spki.js';
import { type DeviceWorld, startDeviceWorld, type WorldUnit } from '../../support/device-world.js';
import { leafRequest } from '../../support/tbs.js';

let world: DeviceWorld;
let authorise: Authorise;
let otherLine = 0;
const HOME = '192.0.2.7';
const ELSEWHERE = '198.51.100.7';

beforeAll(async () => {
  world = await startDeviceWorld();
  await world.db.pool.query(
    `INSERT INTO machine (kind, name, state, spki_der, spki_hash, requested_by, created_at)
     VALUES ('gateway', 'segw-1', 'approved', '\\x00', '\\x00', 'test', now())`,
  );
  authorise = makeAuthorise(
    wireAdmission(world.core, {
      geo: NO_GEO,
      alarm: () => undefined,
      onTrouble: (error) => {
        throw error;
      },
    }),
  );
  await world.addLine('home', '192.0.2.0/24');
  otherLine = await world.addLine('other', '198.51.100.0/24');
});
afterAll(() => world.close());

/** What gateway-server wires. */
async function ask(certificateDer: Buffer, identity: string, changes: Partial<AuthoriseRequest> = {}) {
  await world.core.transactor.run(beatHeart);
  const request = { stage: 'ike', identity, address: HOME, keyProved: true, nonce: randomBytes(16).toString('hex') };
  return authorise({ machineId: 1, name: 'segw-1' }, {
    ...request,
    certificateDer,
    ...changes,
  } as AuthoriseRequest);
}

let lineCount = 0;
/** A unit on a line, with certificates of generations 1 to `last`, each confirmed two hours ago but the last. */
async function unitWith(last: number): Promise<WorldUnit & { generations: CertificateRecord[] }> {
  const unit = await world.addUnit();
  lineCount += 1;
  const { rows } = await world.db.pool.query<{ id: number }>(`INSERT INTO line (name) VALUES ($1) RETURNING id`, [
    `unit-line-${lineCount}`,
  ]);
  await world.db.pool.query('UPDATE line_prefix SET line_id = $1 WHERE prefix = $2', [rows[0]?.id, '192.0.2.0/24']);
  await world.db.pool.query(`UPDATE unit SET state = 'ACTIVE', line_id = $2 WHERE id = $1`, [unit.id, rows[0]?.id]);
  const generations: CertificateRecord[] = [];
  for (let generation = 1; generation <= last; generation += 1) {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    generations.push(
      await world.issuance.issue({
        purpose: 'operational',
        unitId: unit.id,
        machineId: null,
        commonName: unit.fqdn,
        sanDns: unit.fqdn,
        spki: readSpki(publicKey.export({ type: 'spki', format: 'der' })),
        lifeSeconds: 7 * 86_400,
        revocationEpoch: 0,
        successor: {
          lineageId: generation === 1 ? null : await lineageOf(unit),
          generation,
          preissued: false,
          displacesSlotId: null,
        },
        actor: 'test:unit',
      }),
    );
    if (generation > 1) {
      await world.db.pool.query(
        `UPDATE lineage_slot SET confirmed_at = now() - interval '2 hours' WHERE unit_id = $1 AND generation < $2`,
        [unit.id, generation],
      );
    }
  }
  return { ...unit, generations };
}

const lineageOf = async (unit: WorldUnit): Promise<number> =>
  (await world.db.pool.query<{ id: number }>('SELECT id FROM lineage WHERE unit_id = $1', [unit.id])).rows[0]?.id ?? 0;
const one = async <T>(sql: string, unit: WorldUnit): Promise<T> =>
  (await world.db.pool.query<{ value: T }>(sql, [unit.id])).rows[0]?.value as T;
const stateOf = (unit: WorldUnit) => one<string>('SELECT state AS value FROM unit WHERE id = $1', unit);
const lineageState = (unit: WorldUnit) => one<string>('SELECT state AS value FROM lineage WHERE unit_id = $1', unit);
const held = (unit: WorldUnit) =>
  one<number>(`SELECT count(*)::int AS value FROM revoked_certificate WHERE unit_id = $1 AND state = 'held'`, unit);
const confirmHead = (unit: WorldUnit, lineId: number | null) =>
  world.db.pool.query(
    `UPDATE lineage_slot SET state = 'confirmed', confirmed_at = now() - interval '2 hours', line_id = $2
     WHERE id = (SELECT max(id) FROM lineage_slot WHERE unit_id = $1)`,
    [unit.id, lineId],
  );
const der = (unit: { generations: CertificateRecord[] }, generation: number): Buffer =>
  unit.generations[generation - 1]?.der ?? Buffer.alloc(0);

describe('authorise: who may connect', () => {
  test('the head is permitted and its first proved use confirms it; without proof it confirms nothing', async () => {
    const unit = await unitWith(1);
    const state = () => one<string>('SELECT state AS value FROM lineage_slot WHERE unit_id = $1', unit);
    expect(await ask(der(unit, 1), unit.fqdn, { keyProved: false })).toMatchObject({ verdict: 'permit' });
    expect(await state()).toBe('pending');
    expect(await ask(der(unit, 1), unit.fqdn.toUpperCase())).toMatchObject({ verdict: 'permit', reasons: [] });
    expect(await state()).toBe('confirmed');
  });

  test('another name, line or kind of certificate is denied', async () => {
    const [unit, other] = [await unitWith(1), await world.addUnit()];
    for (const identity of [other.fqdn, `x.${unit.fqdn}`, `${unit.fqdn}.`, '*', '']) {
      expect(await ask(der(unit, 1), identity)).toMatchObject({ verdict: 'deny', reasons: ['ID_MISMATCH'] });
    }
    expect(await ask(der(unit, 1), unit.fqdn, { address: ELSEWHERE })).toMatchObject({
      verdict: 'deny',
      reasons: ['LINE_MISMATCH'],
    });
    expect((await ask(unit.bootstrap.der, unit.fqdn)).reasons).toContain('UNKNOWN_ISSUER');
  });

  test('the same certificate with its signature rewritten is not the recorded one, and the unit keeps its own', async () => {
    const unit = await unitWith(1);
    const rewritten = withOtherSignature(der(unit, 1));
    expect(readCertificate(rewritten).serial).toEqual(unit.generations[0]?.serial);
    expect((await ask(rewritten, unit.fqdn)).reasons).toContain('NOT_RECORDED');
    expect(await ask(der(unit, 1), unit.fqdn)).toMatchObject({ verdict: 'permit' });
  });

  test('a certificate that our key signed and nobody recorded is denied and entered as revoked (rules 5.7)', async () => {
    const unit = await unitWith(1);
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const forged = await signedOutside(publicKey, unit.fqdn);
    expect(await ask(forged, unit.fqdn)).toMatchObject({ verdict: 'deny', reasons: ['NOT_RECORDED'] });
    const { rows } = await world.db.pool.query('SELECT state FROM revoked_certificate WHERE serial = $1', [
      readCertificate(forged).serial,
    ]);
    expect(rows).toEqual([{ state: 'revoked' }]);
  });
});

describe('authorise: the rows of rules section 4', () => {
  test('n after n+1 was confirmed is superseded, strong, and restricts nobody on the same line', async () => {
    const unit = await unitWith(2);
    await confirmHead(unit, null);
    expect(await ask(der(unit, 1), unit.fqdn)).toMatchObject({ verdict: 'deny', reasons: ['CERT_SUPERSEDED'] });
    expect(await world.ledger(unit, 'lineage.forked')).toMatchObject([{ grade: 'strong' }]);
    expect([await lineageState(unit), await stateOf(unit)]).toEqual(['open', 'ACTIVE']);
    expect(await ask(der(unit, 2), unit.fqdn)).toMatchObject({ verdict: 'permit' });
  });

  test('n at home after a thief confirmed n+1 from another line: hard, and both are held at once', async () => {
    const unit = await unitWith(2);
    await confirmHead(unit, otherLine);
    expect((await ask(der(unit, 1), unit.fqdn)).reasons).toContain('CERT_SUPERSEDED');
    expect([await lineageState(unit), await stateOf(unit)]).toEqual(['quarantined', 'QUARANTINED']);
    expect(await held(unit)).toBeGreaterThanOrEqual(2);
    for (const generation of [1, 2]) {
      expect((await ask(der(unit, generation), unit.fqdn)).reasons).toContain('DEVICE_QUARANTINED');
    }
    const { rows } = await world.db.pool.query(`SELECT count(*)::int AS forks FROM ledger_inbox
      WHERE subject = 'unit:${unit.serialNumber}' AND kind = 'lineage.forked'`);
    expect(rows[0].forks).toBe(1);
  });

  test('a displaced key proved at a gateway is hard; not proved it is soft', async () => {
    const unit = await unitWith(1);
    const { rows } = await world.db.pool.query<{ id: number }>('SELECT id FROM lineage_slot WHERE unit_id = $1', [
      unit.id,
    ]);
    await world.db.pool.query(`UPDATE lineage_slot SET state = 'displaced', displaced_at = now() WHERE id = $1`, [
      rows[0]?.id,
    ]);
    expect(await ask(der(unit, 1), unit.fqdn, { keyProved: false })).toMatchObject({ verdict: 'deny' });
    expect(await lineageState(unit)).toBe('open');
    expect((await ask(der(unit, 1), unit.fqdn)).reasons).toContain('FORK_HARD');
    expect([await lineageState(unit), await stateOf(unit)]).toEqual(['quarantined', 'QUARANTINED']);
  });

  test('revoked or held: refused and recorded, and no fork is started with it', async () => {
    const unit = await unitWith(2);
    await confirmHead(unit, otherLine);
    await world.core.revocation.hold({
      selection: { by: 'unit', unitId: unit.id },
      reason: 'certificateHold',
      note: 'moving house',
      actor: 'person:kim',
      personId: null,
    });
    expect((await ask(der(unit, 1), unit.fqdn)).reasons).toEqual(
      expect.arrayContaining(['CERT_REVOKED', 'DEVICE_SUSPENDED', 'CERT_SUPERSEDED']),
    );
    expect([await lineageState(unit), await stateOf(unit)]).toEqual(['open', 'SUSPENDED']);
    expect(await world.ledgerKinds(unit)).toContain('admission.denied');
    expect(await world.ledger(unit, 'lineage.forked')).toEqual([]);
  });
});

/** (r, s) and (r, n - s) verify alike: anybody can make the second from the first. */
function withOtherSignature(certificateDer: Buffer): Buffer {
  const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  // SEQUENCE { tbs, algorithm, BIT STRING { 0, SEQUENCE { r, s } } }: the signature is the tail.
  for (let at = certificateDer.length - 80; at < certificateDer.length - 60; at += 1) {
    if (certificateDer[at] !== 0x03 || certificateDer[at + 1] !== certificateDer.length - at - 2) continue;
    const rAt = at + 5;
    const rLength = certificateDer[rAt + 1] ?? 0;
    const r = certificateDer.subarray(rAt, rAt + 2 + rLength);
    const s = BigInt(`0x${certificateDer.subarray(rAt + 4 + rLength).toString('hex')}`);
    const bare = Buffer.from((ORDER - s).toString(16).padStart(64, '0'), 'hex');
    const trimmed = bare.subarray(bare.findIndex((octet) => octet !== 0));
    const signed = (trimmed[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), trimmed]) : trimmed;
    const body = Buffer.concat([r, Buffer.from([0x02, signed.length]), signed]);
    const signature = Buffer.concat([Buffer.from([0x30, body.length]), body]);
    const read = readCertificate(certificateDer);
    return assembleCertificate(read.tbsDer, 'ecdsa-with-SHA256', signature);
  }
  throw new Error('no signature found');
}

/** Signed by the token through the enrolment role, and never recorded: what root on the signer's host can do. */
async function signedOutside(publicKey: KeyObject, commonName: string): Promise<Buffer> {
  const issuer = world.token.entry('device-ca-1');
  const request = leafRequest({ issuer, profile: 'operational', purpose: 'operational', commonName, publicKey });
  const [result] = await world.token.connect('enrol').sign([request]);
  if (!result?.ok) throw new Error(`not signed: ${result?.message}`);
  return assembleCertificate(request.tbs, 'ecdsa-with-SHA256', result.signature);
}
