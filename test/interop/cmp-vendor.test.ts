/** TS 33.310 clause 9 with an unmodified `openssl cmp`: the maker's certificate opens the door, ours go through it. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readCertificate } from '../../src/x509/certificate.js';
import { regToken, requestBody } from '../support/cmp-request.js';
import { holderOf, talkTo, wish } from '../support/cmp-talk.js';
import { startCmpWorld } from '../support/cmp-world.js';
import { runClient } from '../support/command.js';
import type { CurlCredential } from '../support/curl-unit.js';
import { spkiHashOf } from '../support/vendor-ca.js';
import { type MakerLine, type MakerWorld, makerWorld, type VendorUnit } from './maker-world.js';
import { kindsOf, refusalOf } from './openssl-said.js';

let world: MakerWorld;
let ec: MakerLine;
let rsa: MakerLine;
/** Another maker's. */
let foreign: MakerLine;
/** Its CA between is registered with the root. */
let known: MakerLine;

beforeAll(async () => {
  world = makerWorld(await startCmpWorld());
  await world.addMaker('Garam Celltech', '0a01');
  await world.addMaker('Nuribom Electronics', '0a02');
  ec = await world.addLine({ maker: 'Garam Celltech', model: 'FC-200', dn: '/O=Garam Celltech', key: 'ec' });
  rsa = await world.addLine({ maker: 'Garam Celltech', model: 'FC-300', dn: '/O=Garam Celltech RSA', key: 'rsa2048' });
  known = await world.addLine({
    maker: 'Garam Celltech',
    model: 'FC-400',
    dn: '/O=Garam Celltech 4',
    key: 'ec',
    registered: true,
  });
  foreign = await world.addLine({ maker: 'Nuribom Electronics', model: 'NB-1', dn: '/O=Nuribom', key: 'ec' });
});
afterAll(() => world.close());

describe.each([
  { what: 'EC over HTTP', line: () => ec, key: 'ec', tls: false },
  { what: 'RSA over TLS', line: () => rsa, key: 'rsa2048', tls: true },
] as const)('a unit of its maker, $what', ({ line, key, tls }) => {
  let unit: VendorUnit;
  let op: CurlCredential;

  test('starts as BOOTSTRAPPED, because the manifest row names its vendor key', async () => {
    unit = await world.addUnit(line(), world.leaf(line(), { key }));
    expect(await world.stateOf(unit)).toBe('BOOTSTRAPPED');
  });

  test('ir by the vendor certificate and its chain, with an order as grant: a Device CA certificate in our name', async () => {
    await world.order(unit);
    const { cmp } = world;
    const [caPubs, extraCerts] = [cmp.file('capubs'), cmp.file('extracerts')];
    const accessRoot = `${cmp.world.dir}/access-root.pem`;
    const run = await world.ir(unit, {
      tls,
      path: '/initialization',
      flags: ['-cacertsout', caPubs, '-extracertsout', extraCerts, '-out_trusted', accessRoot],
    });
    expect([run.code, run.text]).toEqual([0, expect.any(String)]);
    expect(kindsOf(run.received)).toEqual(['ip', 'pkiConf']);
    op = { pemFile: run.certFile, keyFile: run.keyFile };
    const shown = await runClient('openssl', ['x509', '-in', run.certFile, '-noout', '-text']);
    expect(shown.text).toContain(`DNS:${unit.fqdn}`);
    expect(shown.text).toMatch(/Issuer: .*Device CA/);
    expect(shown.text).not.toContain('Celltech');
    // Clause 9.5.4: the operator's root and the CAs below it come along; caPubs, which the protection covers, has the root.
    expect(readFileSync(caPubs, 'utf8').trim()).toBe(cmp.world.accessRootPem.trim());
    const sent = readFileSync(extraCerts, 'utf8');
    for (const label of ['access-root', 'services-root', 'services-ca', 'device-ca-1']) {
      expect(sent).toContain(cmp.world.token.entry(label).certificatePem.trim());
    }
    expect(await world.slotsOf(unit)).toEqual(['1 confirmed']);
    expect(await world.stateOf(unit)).toBe('ACTIVE');
  });

  test('kur by the operational certificate renews', async () => {
    const keyFile = await world.cmp.newKey();
    const run = await world.cmp.openssl('kur', { as: op, tls, path: '/keyupdate', flags: ['-newkey', keyFile] });
    expect([run.code, run.text]).toEqual([0, expect.any(String)]);
    expect(kindsOf(run.received)).toEqual(['kup', 'pkiConf']);
    op = { pemFile: run.certFile, keyFile };
    expect(await world.slotsOf(unit)).toEqual(['1 confirmed', '2 confirmed']);
  });

  test('kur by the vendor certificate is no renewal', async () => {
    const flags = ['-newkey', await world.cmp.newKey(), '-extracerts', unit.chainFile];
    const run = await world.cmp.openssl('kur', { as: unit.as, tls, flags });
    expect(refusalOf(run)).toBe('notAuthorized');
  });

  test('rr suspends it', async () => {
    const flags = ['-oldcert', op.pemFile, '-revreason', '5'];
    const run = await world.cmp.openssl('rr', { as: op, tls, path: '/revocation', flags });
    expect([run.code, run.text]).toEqual([0, expect.any(String)]);
    expect(await world.stateOf(unit)).toBe('SUSPENDED');
    const { serial } = readCertificate(holderOf(op).der);
    const { rows } = await world.cmp.world.db.pool.query('SELECT reason FROM revoked_certificate WHERE serial = $1', [
      serial,
    ]);
    expect(rows).toEqual([{ reason: 5 }]);
  });
});

describe('what the client of a vendor certificate is refused for', () => {
  test('a chain to another root of the same names: signerNotTrusted', async () => {
    const unit = await ordered(ec);
    const twin = world.pki.root({ subject: '/O=Garam Celltech/CN=Root' });
    const twinCa = world.pki.ca(twin, { subject: '/O=Garam Celltech/CN=Device CA' });
    const forged = world.pki.leaf(twinCa, { subject: '/O=Garam Celltech/CN=unit', keyOf: unit.leaf });
    expect(spkiHashOf(forged)).toEqual(spkiHashOf(unit.leaf));
    const as = { pemFile: forged.certFile, keyFile: forged.keyFile };
    const run = await world.ir({ ...unit, as, chainFile: twinCa.certFile });
    expect(refusalOf(run)).toBe('signerNotTrusted');
    expect(await world.stateOf(unit)).toBe('BOOTSTRAPPED');
    expect((await world.ir(unit)).code).toBe(0);
  });

  test('without the CA between: signerNotTrusted', async () => {
    const unit = await ordered(ec);
    const run = await world.ir(unit, { flags: ['-extracerts', unit.leaf.certFile] });
    expect(refusalOf(run)).toBe('signerNotTrusted');
  });

  test('the vendor certificate of another unit: its own grant is asked for, and this unit’s name is not given', async () => {
    const [victim, thief] = [await ordered(ec), await world.addUnit(ec)];
    expect(refusalOf(await world.ir(thief))).toBe('notAuthorized');
    expect(refusalOf(await world.ir(thief, { flags: ['-subject', `/CN=${victim.fqdn}`] }))).toBe('badCertTemplate');
    expect(await world.refusalsOf(thief)).toEqual(['GRANT_BAD', 'ID_MISMATCH']);
    expect((await world.ir(victim)).code).toBe(0);
  });

  test('a key on the manifest of one model, certified by the CA of another maker’s: signerNotTrusted', async () => {
    const leaf = world.leaf(foreign);
    const unit = await ordered(ec, leaf);
    expect(refusalOf(await world.ir({ ...unit, chainFile: foreign.ca.certFile }))).toBe('signerNotTrusted');
    expect(await world.stateOf(unit)).toBe('BOOTSTRAPPED');
  });

  test('the same with the CA of the same maker’s other model', async () => {
    const unit = await ordered(ec, world.leaf(rsa));
    expect(refusalOf(await world.ir({ ...unit, chainFile: rsa.ca.certFile }))).toBe('signerNotTrusted');
  });

  test('an expired vendor certificate: signerNotTrusted', async () => {
    const unit = await ordered(ec, world.leaf(ec, { expired: true }));
    expect(refusalOf(await world.ir(unit))).toBe('signerNotTrusted');
  });

  test('a key that no manifest names: signerNotTrusted', async () => {
    const leaf = world.leaf(ec);
    const as = { pemFile: leaf.certFile, keyFile: leaf.keyFile };
    const unit = await world.addUnit(ec);
    expect(refusalOf(await world.ir({ ...unit, as }))).toBe('signerNotTrusted');
  });

  test('no order: notAuthorized', async () => {
    const unit = await world.addUnit(ec);
    expect(refusalOf(await world.ir(unit))).toBe('notAuthorized');
    expect(await world.refusalsOf(unit)).toEqual(['GRANT_BAD']);
  });

  test('an order for another line than the one it calls from: notAuthorized; for this one: activated', async () => {
    const unit = await ordered(ec);
    const here = await world.cmp.world.addLine('line-here', '127.0.0.1/32');
    expect(refusalOf(await world.ir(unit))).toBe('notAuthorized');
    expect(await world.refusalsOf(unit)).toEqual(['LINE_MISMATCH']);
    const other = await world.addUnit(ec);
    await world.order({ id: other.id, lineId: here });
    expect((await world.ir(other)).code).toBe(0);
    await world.cmp.world.db.pool.query('DELETE FROM line_prefix WHERE line_id = $1', [here]);
  });

  test('the vendor key itself as operational key: badCertTemplate', async () => {
    const unit = await ordered(ec);
    expect(refusalOf(await world.ir(unit, { newKey: unit.leaf.keyFile }))).toBe('badCertTemplate');
  });
});

describe('the vendor certificate after generation 1 was confirmed (rules 3.4)', () => {
  test('without the code that was spent it is a claim, and evidence against nobody', async () => {
    const unit = await world.addUnit(ec);
    const code = await world.code(unit);
    const talk = talkTo(world.cmp);
    const vendor = holderOf(unit.as);
    const extraCerts = [vendor.der, ec.ca.der];
    const first = await talk.send(
      talk.message(vendor, requestBody.ir(wish({ controls: [regToken(code)] })), {}, { extraCerts }),
    );
    expect(first.said).toBe('ip accepted');
    const { certificateDer = Buffer.alloc(0) } = first;
    const certConf = requestBody.certConf({ certificateDer, status: 0 });
    const header = {
      transactionId: first.message.transactionId ?? null,
      recipNonce: first.message.senderNonce ?? null,
    };
    expect((await talk.send(talk.message(vendor, certConf, header, { extraCerts }))).said).toBe('pkiConf');
    expect(refusalOf(await world.ir(unit))).toBe('notAuthorized');
    expect(await world.refusalsOf(unit)).toEqual(['GRANT_BAD']);
    expect([await world.stateOf(unit), await world.slotsOf(unit)]).toEqual(['ACTIVE', ['1 confirmed']]);
  });

  test('under the order that was spent it is told to wait; who never proves the key again holds nobody', async () => {
    const unit = await ordered(ec);
    expect((await world.ir(unit)).code).toBe(0);
    const talk = talkTo(world.cmp);
    const vendor = holderOf(unit.as);
    const recorded = talk.message(vendor, requestBody.ir(wish()), {}, { extraCerts: [vendor.der, ec.ca.der] });
    expect((await talk.send(recorded)).said).toBe('ip waiting');
    expect((await talk.send(recorded)).said).toBe('ip waiting');
    expect([await world.stateOf(unit), await world.slotsOf(unit)]).toEqual(['ACTIVE', ['1 confirmed']]);
  });

  test('a second live claim: CLAIM_CONTESTED, both are held', async () => {
    const unit = await ordered(ec);
    expect((await world.ir(unit)).code).toBe(0);
    const run = await world.ir(unit);
    expect(refusalOf(run)).toBe('notAuthorized');
    expect(kindsOf(run.received)).toEqual(['ip', 'ip']);
    expect(await world.refusalsOf(unit)).toEqual(['RETRY_LATER', 'CLAIM_CONTESTED']);
    expect(await world.stateOf(unit)).toBe('QUARANTINED');
  });
});

describe('with the maker’s CA between registered beside its root', () => {
  test('a unit need not send it', async () => {
    const unit = await ordered(known);
    const run = await world.ir(unit, { flags: ['-extracerts', unit.leaf.certFile] });
    expect([run.code, run.text]).toEqual([0, expect.any(String)]);
  });

  // Last: from here on the anchor has CRLs, which every unit below it needs.
  test('one that its maker revoked: certRevoked; its neighbour is served', async () => {
    const [revoked, neighbour] = [await ordered(known), await ordered(known)];
    const crls = [world.pki.crl(known.root, {}), world.pki.crl(known.ca, { revoked: [revoked.leaf] })];
    for (const crlDer of crls) {
      await world.cmp.world.core.vendorOffice.importCrl({ name: known.anchor, crlDer, actor: 'person:kim' });
    }
    expect(refusalOf(await world.ir(revoked))).toBe('certRevoked');
    expect(await world.stateOf(revoked)).toBe('BOOTSTRAPPED');
    expect((await world.ir(neighbour)).code).toBe(0);
  });
});

async function ordered(line: MakerLine, leaf = world.leaf(line)): Promise<VendorUnit> {
  const unit = await world.addUnit(line, leaf);
  await world.order(unit);
  return unit;
}
