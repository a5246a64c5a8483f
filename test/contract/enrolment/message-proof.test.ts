import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { ProvedCredential } from '../../../src/lifecycle/model/index.js';
import { asFemtoError } from '../../../src/platform/errors.js';
import { assembleCsr, certificationRequestInfo } from '../../../src/x509/build-csr.js';
import { type DeviceWorld, startDeviceWorld, type WorldUnit } from '../../support/device-world.js';

/** What a protocol message proves that carried nothing of ours: who made it once, not that the maker is here now. */
const NOT_LIVE = new Date(0);

let world: DeviceWorld;
beforeAll(async () => {
  world = await startDeviceWorld();
});
afterAll(async () => world.close());

const freshKey = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;

function csrFor(key: KeyObject): Buffer {
  const spkiDer = createPublicKey(key).export({ format: 'der', type: 'spki' });
  const info = certificationRequestInfo({ commonName: null, spkiDer });
  return assembleCsr(info, 'ecdsa-with-SHA256', sign('sha256', info, key));
}

async function credentialOf(der: Buffer, provedAt: Date): Promise<ProvedCredential> {
  return world.rooms.enrolment.authenticate({ der, chain: [], provedAt, address: '127.0.0.1' });
}

async function activate(unit: WorldUnit, options: { code?: string | null; provedAt?: Date; key?: KeyObject } = {}) {
  const { code = null, provedAt = NOT_LIVE, key = freshKey() } = options;
  const credential = await credentialOf(unit.bootstrap.der, provedAt);
  const freshness = { by: 'handshake' } as const;
  return world.rooms.enrolment.activate({ credential, csr: csrFor(key), code, idempotencyKey: null, freshness });
}

async function renew(der: Buffer, options: { provedAt?: Date; key?: KeyObject } = {}) {
  const credential = await credentialOf(der, options.provedAt ?? NOT_LIVE);
  return world.rooms.renewal.renew({
    credential,
    csr: csrFor(options.key ?? freshKey()),
    predecessorSignature: null,
    idempotencyKey: null,
    freshness: { by: 'handshake' },
  });
}

async function codeOf(work: Promise<unknown>): Promise<{ code: string; asks: unknown }> {
  const error = await work.then(() => null, asFemtoError);
  return { code: error?.code ?? 'none', asks: error?.facts['asks'] };
}

async function stateOf(unit: WorldUnit): Promise<string | undefined> {
  return (await world.core.registry.unitById(world.core.transactor.read, unit.id))?.state;
}

async function settle(
  unit: WorldUnit,
  certificate: Awaited<ReturnType<typeof activate>>['certificate'],
  accepted: boolean,
) {
  const credential = await credentialOf(unit.bootstrap.der, new Date());
  await world.rooms.renewal.settleIssued({ credential, certificate, accepted });
}

describe('a message without a value of ours (rules sections 3 and 4)', () => {
  test('activates with an unspent grant, and renews the head', async () => {
    const unit = await world.addUnit();
    const first = await activate(unit, { code: await world.grant(unit) });
    expect(first.generation).toBe(1);
    expect((await renew(first.certificate.der)).generation).toBe(2);
  });

  test('never displaces, ends or quarantines anything: the key must be shown again', async () => {
    const unit = await world.addUnit();
    const first = await activate(unit, { code: await world.grant(unit) });
    const second = await renew(first.certificate.der);
    const recorded = renew(first.certificate.der);
    expect(await codeOf(recorded)).toEqual({ code: 'RETRY_LATER', asks: 'live proof' });
    await world.rooms.renewal.confirm({ credential: await credentialOf(second.certificate.der, new Date()) });
    expect(await codeOf(renew(first.certificate.der))).toEqual({ code: 'RETRY_LATER', asks: 'live proof' });
    expect(await stateOf(unit)).toBe('ACTIVE');
    expect(await world.ledgerKinds(unit)).not.toContain('lineage.forked');
  });

  test('does not replace a live head even with an approved grant, until the key is shown', async () => {
    const unit = await world.addUnit();
    const first = await activate(unit, { code: await world.grant(unit) });
    await settle(unit, first.certificate, true);
    const code = await world.grant(unit, { approvedBy: 'person:seo' });
    expect(await codeOf(activate(unit, { code }))).toEqual({ code: 'RETRY_LATER', asks: 'live proof' });
    expect(await codeOf(activate(unit, { code, provedAt: new Date() }))).toMatchObject({ code: 'none' });
  });
});

describe('a displaced key that claims the unit anew (rules section 4)', () => {
  test('is a second holder: recorded messages change nothing, the key shown again holds both', async () => {
    const unit = await world.addUnit();
    const first = await activate(unit, { code: await world.grant(unit) });
    await settle(unit, first.certificate, true);
    const lost = await renew(first.certificate.der);
    await renew(first.certificate.der, { provedAt: new Date() });
    const claim = async (provedAt: Date) =>
      world.rooms.enrolment.activate({
        credential: await credentialOf(lost.certificate.der, provedAt),
        csr: csrFor(freshKey()),
        code: null,
        idempotencyKey: null,
        freshness: { by: 'handshake' },
      });
    expect(await codeOf(claim(NOT_LIVE))).toMatchObject({ code: 'PREDECESSOR_MISMATCH' });
    expect(await stateOf(unit)).toBe('ACTIVE');
    expect(await codeOf(claim(new Date()))).toMatchObject({ code: 'FORK_HARD' });
    expect(await stateOf(unit)).toBe('QUARANTINED');
    expect((await world.ledger(unit, 'lineage.forked')).at(-1)).toMatchObject({ grade: 'hard', row: 'displaced key' });
  });
});

describe('the unit’s word on what it was given (CMP certConf)', () => {
  test('accepted: the slot is confirmed by certConf, and saying it twice is harmless', async () => {
    const unit = await world.addUnit();
    const { certificate } = await activate(unit, { code: await world.grant(unit) });
    await settle(unit, certificate, true);
    await settle(unit, certificate, true);
    expect(await world.ledger(unit, 'lineage.confirmed')).toMatchObject([{ by: 'certConf', generation: 1 }]);
    expect(await codeOf(settle(unit, certificate, false))).toMatchObject({ code: 'STATE_CONFLICT' });
  });

  test('says nothing of a line: whoever carries a message may carry it from anywhere', async () => {
    await world.addLine('L-carrier', '127.0.0.77/32');
    const unit = await world.addUnit();
    const { certificate } = await activate(unit, { code: await world.grant(unit) });
    const credential = { ...(await credentialOf(unit.bootstrap.der, new Date())), address: '127.0.0.77' };
    await world.rooms.renewal.settleIssued({ credential, certificate, accepted: true });
    const { transactor, lineages } = world.core;
    const slot = (await lineages.viewBySerial(transactor.read, certificate.issuerId, certificate.serial))?.slot ?? null;
    expect(await lineages.lineOfSlot(transactor.read, slot?.id ?? 0)).toBeNull();
  });

  test('refused: nothing stands in its place, and the same key may be brought again', async () => {
    const unit = await world.addUnit();
    const key = freshKey();
    const code = await world.grant(unit);
    const first = await activate(unit, { code, key });
    await settle(unit, first.certificate, false);
    await settle(unit, first.certificate, false);
    // The spent grant still wants its code: the bootstrap key alone never suffices.
    expect(await codeOf(activate(unit, { key, provedAt: new Date() }))).toMatchObject({ code: 'GRANT_BAD' });
    const again = await activate(unit, { key, code });
    expect(again.generation).toBe(1);
    await settle(unit, again.certificate, true);
    expect(await world.ledgerKinds(unit)).not.toContain('lineage.forked');
    expect(await stateOf(unit)).toBe('ACTIVE');
  });

  test('refused renewal: the head stands again and renews with the same key; a second refusal waits for an hour', async () => {
    const unit = await world.addUnit();
    const first = await activate(unit, { code: await world.grant(unit) });
    await settle(unit, first.certificate, true);
    const key = freshKey();
    const second = await renew(first.certificate.der, { key });
    const refuse = async (certificate: typeof second.certificate) =>
      world.rooms.renewal.settleIssued({
        credential: await credentialOf(first.certificate.der, new Date()),
        certificate,
        accepted: false,
      });
    await refuse(second.certificate);
    const third = await renew(first.certificate.der, { key });
    expect(third.generation).toBe(2);
    expect(third.certificate.serial.equals(second.certificate.serial)).toBe(false);
    expect(await codeOf(refuse(third.certificate))).toMatchObject({ code: 'RATE_LIMITED' });
    // Not refused: it still waits for its first use.
    expect((await renew(first.certificate.der, { key })).certificate.serial).toEqual(third.certificate.serial);
    expect(await world.ledger(unit, 'lineage.displaced')).toMatchObject([{ how: 'refused', generation: 2 }]);
  });

  test('refused by whoever copied the old key: the genuine new key, shown again, holds both', async () => {
    const unit = await world.addUnit();
    const first = await activate(unit, { code: await world.grant(unit) });
    await settle(unit, first.certificate, true);
    const genuine = await renew(first.certificate.der);
    const thief = await credentialOf(first.certificate.der, new Date());
    await world.rooms.renewal.settleIssued({ credential: thief, certificate: genuine.certificate, accepted: false });
    const stolen = await renew(first.certificate.der);
    await world.rooms.renewal.confirm({ credential: await credentialOf(stolen.certificate.der, new Date()) });
    expect(await stateOf(unit)).toBe('ACTIVE');
    const shown = credentialOf(genuine.certificate.der, new Date());
    expect(await codeOf(world.rooms.renewal.confirm({ credential: await shown }))).toMatchObject({ code: 'FORK_HARD' });
    expect(await stateOf(unit)).toBe('QUARANTINED');
  });

  test('about another unit’s certificate is not recorded for this one', async () => {
    const [one, other] = [await world.addUnit(), await world.addUnit()];
    const { certificate } = await activate(other, { code: await world.grant(other) });
    expect(await codeOf(settle(one, certificate, false))).toMatchObject({ code: 'NOT_RECORDED' });
  });
});

describe('a unit that gives up its certificate (CMP rr)', () => {
  test('is SUSPENDED, the certificate revoked for good, the others held; a second time it is refused', async () => {
    const unit = await world.addUnit();
    const { certificate } = await activate(unit, { code: await world.grant(unit) });
    const given = {
      unit,
      certificate,
      reason: 'keyCompromise',
      actor: `unit:${unit.serialNumber}`,
      note: 'asked by the unit itself',
    } as const;
    const outcome = await world.core.revocation.revokeByUnit(given);
    expect(outcome).toMatchObject({ units: 1, blockedKeys: 1 });
    expect(await stateOf(unit)).toBe('SUSPENDED');
    expect((await credentialOf(certificate.der, new Date())).status).toBe('revoked');
    expect((await credentialOf(unit.bootstrap.der, new Date())).status).toBe('held');
    const serial = certificate.serial.toString('hex');
    const told = async (kind: string) => (await world.ledger(unit, kind)).map((body) => body['serial']);
    expect([await told('certificate.revoked'), await told('certificate.held')]).toEqual([
      [serial],
      [unit.bootstrap.serial.toString('hex')],
    ]);
    expect(await codeOf(world.core.revocation.revokeByUnit(given))).toMatchObject({ code: 'CERT_REVOKED' });
  });
});

describe('wrong codes in messages (rules 3.3)', () => {
  test('count only when the key is shown since the grant was made: recordings lock nobody out', async () => {
    const unit = await world.addUnit();
    const code = await world.grant(unit);
    for (let count = 0; count < 6; count += 1) {
      const recorded = activate(unit, { code: 'AAAA-AAAA-AAAA-AAAA' });
      expect(await codeOf(recorded)).toEqual({ code: 'RETRY_LATER', asks: 'live proof' });
    }
    const shown = activate(unit, { code: 'AAAA-AAAA-AAAA-AAAA', provedAt: new Date() });
    expect(await codeOf(shown)).toMatchObject({ code: 'GRANT_BAD' });
    expect((await activate(unit, { code })).generation).toBe(1);
    const { rows } = await world.db.pool.query('SELECT tries FROM activation_grant WHERE unit_id = $1', [unit.id]);
    expect(rows).toEqual([{ tries: 1 }]);
  });
});

describe('a vendor key of a unit that was lost', () => {
  test('is blocked when the unit is found and its bootstrap key replaced', async () => {
    const unit = await world.addUnit();
    const vendorSpkiHash = Buffer.alloc(32, 7);
    await world.db.pool.query('UPDATE unit SET vendor_spki_hash = $2 WHERE id = $1', [unit.id, vendorSpkiHash]);
    const by = { unitId: unit.id, personId: null, note: 'found in a sealed box', evidence: 'inspection 2026-118' };
    await world.core.revocation.reportLost({ ...by, actor: 'person:kim' });
    await world.core.revocation.release({ ...by, actor: 'person:lee', replaceBootstrap: true });
    expect(await world.core.certificates.isBlockedKey(world.core.transactor.read, vendorSpkiHash)).toBe(true);
  });
});

describe('a grant that people are still deciding on', () => {
  test('makes the unit wait, without a try counted or a claim contested', async () => {
    const unit = await world.addUnit();
    const first = await activate(unit, { code: await world.grant(unit) });
    await settle(unit, first.certificate, true);
    await world.db.pool.query(
      `INSERT INTO person (name, role, state, created_at) VALUES ('kim', 'operator', 'active', now()) ON CONFLICT DO NOTHING`,
    );
    const request = JSON.stringify({ kind: 'grant.live-head', request: { line: 'x', unit: unit.serialNumber } });
    await world.db.pool.query(
      `INSERT INTO approval (kind, request, request_hash, selection_count, requested_by, request_signature, state, created_at,
         expires_at) VALUES ('grant.live-head', $1, '\\x00', 1, 1, '\\x00', 'open', now(), now() + interval '1 day')`,
      [request],
    );
    expect(await codeOf(activate(unit, { provedAt: new Date() }))).toMatchObject({ code: 'APPROVAL_REQUIRED' });
    await world.db.pool.query('DELETE FROM approval');
    expect((await codeOf(activate(unit, { provedAt: new Date() }))).code).not.toBe('APPROVAL_REQUIRED');
    expect(await stateOf(unit)).toBe('ACTIVE');
  });
});
