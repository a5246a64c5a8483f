import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { CertificateRecord } from '../../../src/lifecycle/model/index.js';
import { readSpki } from '../../../src/x509/spki.js';
import { type GatewayWorld, startGatewayWorld } from '../../support/gateway-world.js';
import { type ReadSnapshot, readSnapshot } from '../../support/snapshot-reader.js';

type Gateway = Awaited<ReturnType<GatewayWorld['addGateway']>>;

const ELSEWHERE = '198.51.100.7';

let world: GatewayWorld;
let gangnam: Gateway;
let lines = 0;

beforeAll(async () => {
  world = await startGatewayWorld();
  gangnam = await world.addGateway('segw-gangnam-1');
  await world.addLine('other', '198.51.100.0/24', true);
});
// A snapshot is shared for half a minute; each test wants its own.
beforeEach(() => world.restart());
afterAll(async () => {
  expect(world.internal).toEqual([]);
  await world.close();
});

/** @returns what curl wrote to a file, and the headers */
async function fetch(nonce = randomBytes(16).toString('hex')): Promise<{ bytes: Buffer; headers: string }> {
  const file = join(world.dir, `snapshot-${nonce}`);
  const { headers } = await world.client
    .call('GET', `/v1/snapshot?nonce=${nonce}`, { as: gangnam, flags: ['-o', file] })
    .then((answer) => answer);
  return { bytes: readFileSync(file), headers };
}
const read = async (): Promise<ReadSnapshot> => readSnapshot((await fetch()).bytes, world.decisionPem);

/** An ACTIVE unit on a line of its own, with `generations` certificates; the last is pending. */
async function activeUnit(generations = 1) {
  const unit = await world.addUnit({ state: 'ACTIVE' });
  lines += 1;
  const lineId = await world.addLine(`home-${lines}`, `192.0.${lines}.0/24`, true);
  await world.db.pool.query('UPDATE unit SET line_id = $2 WHERE id = $1', [unit.id, lineId]);
  const certificates: CertificateRecord[] = [];
  let lineageId: number | null = null;
  for (let generation = 1; generation <= generations; generation += 1) {
    if (generation > 1) {
      await world.db.pool.query(
        `UPDATE lineage_slot SET state = 'confirmed', confirmed_at = now() WHERE unit_id = $1`,
        [unit.id],
      );
    }
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    certificates.push(
      await world.issuance.issue({
        purpose: 'operational',
        unitId: unit.id,
        machineId: null,
        commonName: unit.fqdn,
        sanDns: unit.fqdn,
        spki: readSpki(publicKey.export({ type: 'spki', format: 'der' })),
        lifeSeconds: 7 * 86_400,
        revocationEpoch: 0,
        successor: { lineageId, generation, preissued: false, displacesSlotId: null },
        actor: 'test:unit',
      }),
    );
    const { rows } = await world.db.pool.query<{ id: number }>('SELECT id FROM lineage WHERE unit_id = $1', [unit.id]);
    lineageId = rows[0]?.id ?? null;
  }
  return { ...unit, certificates, address: `192.0.${lines}.7` };
}
/** The serial as an hour ago, so that it is judged by the list and not by its youth. */
const asked = (
  unit: { fqdn: string; address: string },
  certificate: CertificateRecord | undefined,
  address = unit.address,
) => ({
  fqdn: unit.fqdn,
  issuerKeyIdentifier: Buffer.from(world.token.entry('device-ca-1').keyIdentifierHex, 'hex'),
  serial: certificate?.serial ?? Buffer.alloc(16),
  address,
});
/** Moves every serial of a unit two hours back, in the record as well. */
async function age(unit: { id: number; certificates: CertificateRecord[] }): Promise<CertificateRecord[]> {
  const aged = unit.certificates.map((certificate) => {
    const serial = Buffer.from(certificate.serial);
    serial.writeUInt32BE(serial.readUInt32BE(1) - 2, 1);
    return { ...certificate, serial };
  });
  for (const [index, certificate] of aged.entries()) {
    await world.db.pool.query('UPDATE lineage_slot SET serial = $2 WHERE unit_id = $1 AND generation = $3', [
      unit.id,
      certificate.serial,
      index + 1,
    ]);
  }
  return aged;
}

describe('the snapshot', () => {
  test('admits a known unit on its line, by its head and while that is pending by the one before, and nobody else', async () => {
    const unit = await activeUnit(3);
    const [first, second, third] = await age(unit);
    const snapshot = await read();
    expect(snapshot.admits(asked(unit, third))).toBe(true);
    expect(snapshot.admits(asked(unit, second))).toBe(true);
    expect(snapshot.admits(asked(unit, first))).toBe(false);
    expect(snapshot.admits(asked(unit, third, ELSEWHERE))).toBe(false);
    expect(snapshot.admits(asked(unit, third, '203.0.113.9'))).toBe(false);
    expect(snapshot.admits(asked({ ...unit, fqdn: '0211ffffffff.femto.hanbit.example' }, third))).toBe(false);
    await world.db.pool.query(`UPDATE lineage_slot SET state = 'confirmed' WHERE unit_id = $1`, [unit.id]);
    await world.restart();
    expect((await read()).admits(asked(unit, second))).toBe(false);
  });

  test('a serial drawn after it may be the unit’s next one; an old unknown one is not', async () => {
    const unit = await activeUnit();
    const snapshot = await read();
    const younger = Buffer.from(unit.certificates[0]?.serial ?? '');
    randomBytes(11).copy(younger, 5);
    expect(snapshot.admits({ ...asked(unit, undefined), serial: younger })).toBe(true);
    younger.writeUInt32BE(younger.readUInt32BE(1) - 2, 1);
    expect(snapshot.admits({ ...asked(unit, undefined), serial: younger })).toBe(false);
  });

  test.each(['SUSPENDED', 'LOST', 'QUARANTINED', 'DORMANT', 'RETIRED', 'BOOTSTRAPPED'])(
    'a unit that is %s is not in it',
    async (state) => {
      const unit = await activeUnit();
      await world.db.pool.query('UPDATE unit SET state = $2 WHERE id = $1', [unit.id, state]);
      expect((await read()).admits(asked(unit, unit.certificates[0]))).toBe(false);
    },
  );

  test('nor is one whose head is held or revoked, whose lineage is closed, or whose head has run out', async () => {
    const [held, closed, over] = [await activeUnit(), await activeUnit(), await activeUnit()];
    const at = new Date();
    await world.core.transactor.run((tx) =>
      world.core.revocation.setStatus(tx, held.certificates, {
        state: 'held',
        reason: 'certificateHold',
        actor: 'person:test',
        at,
        note: 'test',
      }),
    );
    await world.db.pool.query(`UPDATE lineage SET state = 'closed' WHERE unit_id = $1`, [closed.id]);
    await world.db.pool.query(`UPDATE lineage_slot SET not_after = now() WHERE unit_id = $1`, [over.id]);
    const snapshot = await read();
    for (const unit of [held, closed, over]) expect(snapshot.admits(asked(unit, unit.certificates[0]))).toBe(false);
  });

  test('is signed for one gateway and nonce, names its position and its end, and no changed byte of it passes', async () => {
    await activeUnit();
    const nonce = 'ab'.repeat(16);
    const { bytes, headers } = await fetch(nonce);
    expect(headers).toMatch(/content-type: application\/octet-stream/i);
    const { claims } = await readSnapshot(bytes, world.decisionPem);
    expect(claims).toMatchObject({
      version: 1,
      gateway: 'segw-gangnam-1',
      nonce,
      position: expect.stringMatching(/^1:\d+$/),
    });
    expect(Date.parse(claims.validUntil) - Date.parse(claims.issuedAt)).toBe(3_600_000);
    for (const at of [4 + 200, bytes.length - 1, bytes.length - 400]) {
      const altered = Buffer.from(bytes);
      altered[at] = (altered[at] ?? 0) ^ 1;
      await expect(readSnapshot(altered, world.decisionPem)).rejects.toThrow();
    }
    await expect(readSnapshot(bytes.subarray(0, -24), world.decisionPem)).rejects.toThrow();
  });

  test('holds no name that can be read, and is given to gateways alone', async () => {
    const unit = await activeUnit();
    const { bytes } = await fetch();
    expect(bytes.includes(unit.fqdn)).toBe(false);
    expect(bytes.includes(unit.serialNumber)).toBe(false);
    const stranger = await world.client.call('GET', `/v1/snapshot?nonce=${'ab'.repeat(16)}`);
    expect(stranger).toMatchObject({ status: 403, body: { code: 'DENIED' } });
    const short = await world.client.call('GET', '/v1/snapshot?nonce=ab', { as: gangnam });
    expect(short).toMatchObject({ status: 400, body: { code: 'BAD_REQUEST' } });
  });

  test('of two prefixes that cover an address the longer one speaks, as in the resolver', async () => {
    const unit = await activeUnit();
    const [certificate] = await age(unit);
    const network = unit.address.replace(/7$/, '');
    await world.addLine('one house', `${network}64/26`, true);
    const snapshot = await read();
    expect(snapshot.admits(asked(unit, certificate, `${network}70`))).toBe(false);
    expect(snapshot.admits(asked(unit, certificate))).toBe(true);
  });
});
