/**
 * An activation code that was read off a screen or a letter, in the hands of somebody without the unit's factory key: by
 * EST, by CMP under a shared secret, under other keys of every kind, and under none. It yields nothing, is not used up, and
 * locks nobody out (rules section 3, items 2 and 3).
 */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readCertificate } from '../../src/x509/certificate.js';
import { pemBlocks } from '../../src/x509/pem.js';
import { cmpRequest, pbm, pbmac1, type RequestParts, regToken, requestBody } from '../support/cmp-request.js';
import { followUp, freshKey, type Holder, holderOf, type Talk, talkTo, wish, withKey } from '../support/cmp-talk.js';
import { type CmpWorld, startCmpWorld } from '../support/cmp-world.js';
import type { WorldUnit } from '../support/device-world.js';
import { estUnit } from '../support/est-unit.js';
import { type Life, openLife } from '../support/life-world.js';
import { scratchIn } from '../support/unit-protocols.js';
import { spkiHashOf, type VendorCertificate, VendorPki } from '../support/vendor-ca.js';

const pki = new VendorPki();
let cmp: CmpWorld;
let life: Life;
let talk: Talk;
let est: ReturnType<typeof estUnit>;
let makersCa: VendorCertificate;

beforeAll(async () => {
  cmp = await startCmpWorld();
  life = await openLife(cmp.world);
  talk = talkTo(cmp);
  est = estUnit(scratchIn(cmp.world.dir), cmp.world.port);
  await cmp.setModel({ macAllowed: true });
  const root = pki.root({ subject: '/O=Garam/CN=Garam Root' });
  makersCa = pki.ca(root, { subject: '/O=Garam/CN=Garam Device CA' });
  const anchor = { name: 'garam-root', makerName: 'garam', model: 'FC-1', certificateDer: root.der, intermediates: [] };
  await cmp.world.core.vendorOffice.add({ ...anchor, actor: 'person:kim' }, async () => 'person:lee');
});
afterAll(async () => {
  pki.remove();
  await cmp.close();
});

/** A thief's client does all that a genuine one does: asked to show its key again, it does. */
async function askWith(by: Holder, code: string, parts: Partial<RequestParts> = {}, key: KeyObject = freshKey()) {
  const body = requestBody.ir(wish({ key, controls: [regToken(code)] }));
  const answer = await talk.send(talk.message(by, body, {}, parts));
  if (answer.said !== 'ip waiting') return answer;
  return talk.send(talk.message(by, requestBody.pollReq(0), followUp(answer), parts));
}

async function vendorHolder(who: WorldUnit | null, subject: string): Promise<Holder> {
  const leaf = pki.leaf(makersCa, { subject });
  if (who !== null) {
    await cmp.world.db.pool.query('UPDATE unit SET vendor_spki_hash = $2 WHERE id = $1', [who.id, spkiHashOf(leaf)]);
  }
  return holderOf({ pemFile: leaf.certFile, keyFile: leaf.keyFile });
}

async function secretOf(thief: WorldUnit) {
  await cmp.world.db.pool.query('DELETE FROM key_seen WHERE unit_id = $1', [thief.id]);
  await cmp.world.db.pool.query('DELETE FROM certificate WHERE unit_id = $1', [thief.id]);
  const made = await cmp.first.factory.createMacSecret({ unitId: thief.id, actor: 'person:kim' });
  return { reference: made.reference, secret: Buffer.from(made.secret) };
}

const operationalOf = async (unit: WorldUnit): Promise<number> =>
  (
    await cmp.world.db.pool.query(
      `SELECT count(*)::int AS n FROM certificate WHERE unit_id = $1 AND purpose = 'operational'`,
      [unit.id],
    )
  ).rows[0].n;

/** Nothing came of it, and the owner's own code is as good as new. */
async function expectUntouched(victim: WorldUnit, code: string): Promise<void> {
  expect([await life.stateOf(victim), await operationalOf(victim)]).toEqual(['BOOTSTRAPPED', 0]);
  const { rows } = await cmp.world.db.pool.query('SELECT state, tries FROM activation_grant WHERE unit_id = $1', [
    victim.id,
  ]);
  expect(rows).toEqual([{ state: 'open', tries: 0 }]);
  expect((await askWith(holderOf(victim), code)).said).toBe('ip accepted');
  expect(await life.forks(victim)).toEqual([]);
}

/** A unit whose code the thief knows. */
async function victimOf(): Promise<{ victim: WorldUnit; code: string }> {
  const victim = await cmp.world.addUnit();
  return { victim, code: await cmp.world.grant(victim) };
}

describe('the victim’s code in regToken of an ir', () => {
  test('under another unit’s vendor key, or one that names the victim: nothing is issued to either', async () => {
    const { victim, code } = await victimOf();
    const thief = await cmp.world.addUnit();
    const extra = (holder: Holder) => ({ extraCerts: [holder.der, makersCa.der] });
    const own = await vendorHolder(thief, `/O=Garam/serialNumber=${thief.serialNumber}`);
    expect((await askWith(own, code, extra(own))).said).toBe('ip rejection notAuthorized');
    // Of the same maker's CA and in the victim's name, but its key is on no manifest.
    const named = await vendorHolder(null, `/O=Garam/serialNumber=${victim.serialNumber}/CN=${victim.fqdn}`);
    expect((await askWith(named, code, extra(named))).said).toBe('error rejection signerNotTrusted');
    expect(await life.refusals(thief)).toEqual(['GRANT_BAD']);
    expect([await life.stateOf(thief), await operationalOf(thief)]).toEqual(['BOOTSTRAPPED', 0]);
    await expectUntouched(victim, code);
  });

  test('under another unit’s bootstrap or operational key: nothing, and whatever tries there are, are the thief’s own', async () => {
    const { victim, code } = await victimOf();
    const [thief, active] = [await cmp.world.addUnit(), await cmp.activeUnit()];
    const thiefsCode = await cmp.world.grant(thief);
    for (let tries = 0; tries < 6; tries++) {
      expect((await askWith(holderOf(thief), code)).said).toBe('ip rejection notAuthorized');
    }
    expect((await askWith(holderOf(active.op), code)).said).toBe('ip rejection notAuthorized');
    await expectUntouched(victim, code);
    // Five wrong codes locked the thief's own grant.
    expect((await askWith(holderOf(thief), thiefsCode)).said).toBe('ip rejection notAuthorized');
    expect(await life.stateOf(active.unit)).toBe('ACTIVE');
  });

  test('under no key of ours: unsigned, self-signed, or signed by another key than its certificate’s; no try is counted', async () => {
    const { victim, code } = await victimOf();
    const key = freshKey();
    const stolen = withKey(holderOf(victim).der, key);
    const self = await selfSigned(victim.fqdn);
    for (const tried of [code, 'AAAA-AAAA-AAAA-AAAA']) {
      expect((await askWith(stolen, tried)).said).toBe('error rejection badMessageCheck');
      expect((await askWith(self, tried)).said).toBe('error rejection signerNotTrusted');
      const bare = cmpRequest({
        body: requestBody.ir(wish({ controls: [regToken(tried)] })),
        protect: { kind: 'none' },
      });
      expect((await talk.send(bare)).said).toMatch(/^error rejection (wrongIntegrity|badMessageCheck)$/);
    }
    await expectUntouched(victim, code);
  });

  test.each([
    ['PBM', () => pbm()],
    ['PBMAC1', () => pbmac1()],
  ])('under the shared secret of another unit (%s): that unit’s bootstrap certificate at most', async (_name, mac) => {
    const { victim, code } = await victimOf();
    const thief = await cmp.world.addUnit({ state: 'MANIFESTED' });
    const protect = { kind: 'mac', algorithmDer: mac(), ...(await secretOf(thief)) } as const;
    const body = requestBody.ir(wish({ controls: [regToken(code)] }));
    const { said, certificateDer = Buffer.alloc(0) } = await talk.send(cmpRequest({ body, protect }));
    expect(said).toBe('ip accepted');
    const certificate = readCertificate(certificateDer);
    expect([certificate.sanDns, await operationalOf(thief)]).toEqual([[thief.fqdn], 0]);
    // It is an identity of the factory's: a gateway does not know its issuer.
    const [block] = pemBlocks(cmp.world.token.entry('bootstrap-ca').certificatePem);
    expect(certificate.issuerDer).toEqual(readCertificate(block?.der ?? Buffer.alloc(0)).subjectDer);
    await expectUntouched(victim, code);
  });
});

test('a code that was spent by CMP is no second claim over EST without what was proved the first time', async () => {
  const { victim, code } = await victimOf();
  const first = await askWith(holderOf(victim), code);
  expect(first.said).toBe('ip accepted');
  const thief = await cmp.world.addUnit();
  expect((await est.enroll('simpleenroll', { as: thief, code })).status).toBe(403);
  expect((await est.enroll('simpleenroll', { code })).status).toBe(401);
  expect(await life.stateOf(victim)).toBe('ACTIVE');
  expect(await life.forks(victim)).toEqual([]);
});

async function selfSigned(commonName: string): Promise<Holder> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const keyFile = est.store('self.key', privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
  const pemFile = est.file('self.pem');
  await est.openssl(
    'req',
    '-x509',
    '-new',
    '-key',
    keyFile,
    '-subj',
    `/CN=${commonName}`,
    '-days',
    '2',
    '-out',
    pemFile,
  );
  const [block] = pemBlocks(readFileSync(pemFile, 'utf8'));
  return withKey(block?.der ?? Buffer.alloc(0), privateKey);
}
