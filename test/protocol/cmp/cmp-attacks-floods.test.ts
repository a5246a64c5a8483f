/** Messages in any number: what they may leave behind, and what one of them may cost. */
import { createPrivateKey, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { certificateReader } from '../../../src/lifecycle/issuance/certificate-reader.pg.js';
import { OPENINGS_A_MINUTE } from '../../../src/protocol/cmp/transaction-store.js';
import { readCertificate } from '../../../src/x509/certificate.js';
import { type RequestHeader, requestBody } from '../../support/cmp-request.js';
import { freshKey, type Holder, holderOf, type Talk, talkTo, wish, withKey } from '../../support/cmp-talk.js';
import { type CmpWorld, startCmpWorld } from '../../support/cmp-world.js';
import type { WorldUnit } from '../../support/device-world.js';
import { spkiHashOf, VendorPki } from '../../support/vendor-ca.js';

let cmp: CmpWorld;
let talk: Talk;
const vendor = new VendorPki();

beforeAll(async () => {
  cmp = await startCmpWorld();
  talk = talkTo(cmp);
});
afterAll(async () => {
  vendor.remove();
  await cmp.close();
});

describe('what one key can make us write', () => {
  test('a genm leaves nothing behind, whatever certificates are sent with it', async () => {
    const { holder } = await active();
    const before = await rows();
    const junk = Array.from({ length: 19 }, () => holder.der);
    for (let time = 0; time < 5; time += 1) {
      const genm = talk.message(holder, requestBody.genm(), {}, { extraCerts: [holder.der, ...junk] });
      expect((await talk.send(genm)).said).toBe('genp');
      // Asked again, it is answered again.
      expect((await talk.send(genm)).said).toBe('genp');
    }
    expect(await rows()).toBe(before);
  });

  test('certConf and pollReq for an exchange that nobody opened leave nothing behind', async () => {
    const { unit, holder } = await active();
    const [before, entries] = [await rows(), await cmp.world.ledgerKinds(unit)];
    const header = { recipNonce: randomBytes(16) };
    for (const body of [requestBody.certConf({ status: 0 }), requestBody.pollReq(0)]) {
      expect((await talk.send(talk.message(holder, body, header))).said).toBe('error rejection badRequest');
    }
    expect(await rows()).toBe(before);
    expect(await cmp.world.ledgerKinds(unit)).toEqual(entries);
  });

  test('beyond the limit of a minute an exchange is refused without a row; repeats, and other keys, are not counted', async () => {
    const [{ holder }, other] = [await active(), await active()];
    const kur = talk.message(holder, requestBody.kur(wish()));
    const kup = await talk.send(kur);
    expect(kup.said).toBe('kup accepted');
    for (let time = 0; time < 3; time += 1) expect((await talk.send(kur)).der.equals(kup.der)).toBe(true);
    expect(await countedFor(holder)).toBe(1);

    const ask = (who: Holder) => talk.send(talk.message(who, requestBody.kur(wish(), wish())));
    const before = await rows();
    await countAs(holder, OPENINGS_A_MINUTE - 1);
    expect((await ask(holder)).said).toBe('kup rejection badRequest');
    expect(await rows()).toBe(before + 1);
    await countAs(holder, OPENINGS_A_MINUTE);
    for (let time = 0; time < 3; time += 1) expect((await ask(holder)).said).toBe('error rejection systemUnavail');
    expect(await rows()).toBe(before + 1);
    expect((await talk.send(kur)).der.equals(kup.der)).toBe(true);
    expect((await ask(other.holder)).said).toBe('kup rejection badRequest');
  });

  test('of the certificates beside a vendor’s only those are kept that signed it', async () => {
    const { unit, root, ca, leaf } = await vendorUnit();
    await cmp.order(unit);
    const holder = withKey(leaf.der, createPrivateKey(readFileSync(leaf.keyFile)));
    const junk = vendor.root({ subject: '/CN=junk' });
    const extraCerts = [leaf.der, ca.der, root.der, ...Array.from({ length: 17 }, () => junk.der)];
    const ip = await talk.send(talk.message(holder, requestBody.ir(wish()), {}, { extraCerts }));
    expect(ip.said).toBe('ip accepted');
    const kept = await cmp.world.db.pool.query<{ vendor_chain: Buffer[] }>(
      'SELECT vendor_chain FROM cmp_transaction WHERE transaction_id = $1',
      [ip.message.transactionId],
    );
    expect(kept.rows[0]?.vendor_chain.map((der) => der.equals(leaf.der) || der.equals(ca.der))).toEqual([true, true]);
    // It is enough for what follows without any.
    const body = requestBody.certConf({ certificateDer: ip.certificateDer ?? Buffer.alloc(0), status: 0 });
    const header = { transactionId: ip.message.transactionId ?? null, recipNonce: ip.message.senderNonce ?? null };
    expect((await talk.send(talk.message(holder, body, header, { extraCerts: [] }))).said).toBe('pkiConf');
  });

  test('a request that waits is kept without the certificates it came with', async () => {
    const { holder } = await active();
    await talk.send(talk.message(holder, requestBody.kur(wish())));
    const junk = Array.from({ length: 19 }, () => holder.der);
    const kur = talk.message(holder, requestBody.kur(wish()), {}, { extraCerts: [holder.der, ...junk] });
    const waiting = await talk.send(kur);
    expect(waiting.said).toBe('kup waiting');
    const { rows: kept } = await cmp.world.db.pool.query<{ octets: number; vendor_chain: Buffer[] }>(
      'SELECT octet_length(request) AS octets, vendor_chain FROM cmp_transaction WHERE transaction_id = $1',
      [waiting.message.transactionId],
    );
    expect(kept[0]?.octets).toBeLessThan(1_500);
    expect(kept[0]?.vendor_chain).toEqual([]);
  });
});

describe('what one message of a stranger may cost', () => {
  test.each([
    ['may not leave its certificate out: none of them is looked for', [], []],
    ['may: a few of them, and of no other key', ['extra-certs-absent'], [4, 0]],
  ])('without a certificate, in the name of a unit with hundreds of them whose model %s', async (_, on, read) => {
    const { unit, holder } = await active();
    await cmp.world.db.pool.query(
      `INSERT INTO certificate SELECT (jsonb_populate_record(c, jsonb_build_object('serial',
         '\\x' || encode(set_byte(set_byte(c.serial, 14, n / 256), 15, n % 256), 'hex')))).*
       FROM certificate c, generate_series(1, 700) AS n WHERE c.unit_id = $1 AND c.purpose = 'operational'
       ON CONFLICT DO NOTHING`,
      [unit.id],
    );
    await cmp.setModel({ tolerances: on });
    const looks = jest.spyOn(certificateReader, 'ofUnitByKeyIdentifier');
    const stranger = { ...holder, key: freshKey() };
    const message = (header: Partial<RequestHeader>) =>
      talk.message(stranger, requestBody.genm(), header, { extraCerts: [] });
    for (const senderKid of [readCertificate(holder.der).ski ?? null, Buffer.alloc(20, 7)]) {
      expect((await talk.send(message({ senderKid }))).said).toBe('error rejection badMessageCheck');
    }
    const found = await Promise.all(looks.mock.results.map(async ({ value }) => ((await value) as unknown[]).length));
    expect(found).toEqual(read);
    looks.mockRestore();
    await cmp.setModel({});
  });
});

async function active(): Promise<{ unit: WorldUnit; holder: Holder }> {
  const { unit, op } = await cmp.activeUnit();
  return { unit, holder: holderOf(op) };
}

async function vendorUnit() {
  const root = vendor.root({ subject: '/O=Garam/CN=Garam Root' });
  const ca = vendor.ca(root, { subject: '/O=Garam/CN=Garam CA' });
  const anchor = { name: 'garam-root', makerName: 'garam', model: 'FC-1', certificateDer: root.der, intermediates: [] };
  await cmp.world.core.vendorOffice.add({ ...anchor, actor: 'person:kim' }, async () => 'person:lee');
  const unit = await cmp.world.addUnit();
  const leaf = vendor.leaf(ca, { subject: `/O=Garam/serialNumber=${unit.serialNumber}` });
  await cmp.world.db.pool.query('UPDATE unit SET vendor_spki_hash = $2 WHERE id = $1', [unit.id, spkiHashOf(leaf)]);
  return { unit, root, ca, leaf };
}

async function rows(): Promise<number> {
  const { rows: found } = await cmp.world.db.pool.query<{ n: number }>(
    'SELECT count(*)::int AS n FROM cmp_transaction',
  );
  return found[0]?.n ?? 0;
}

async function countedFor(holder: Holder): Promise<number> {
  const { rows: found } = await cmp.world.db.pool.query<{ n: number }>(
    `SELECT sum(count)::int AS n FROM request_rate WHERE scope = 'cmp' AND credential = $1`,
    [protectionKeyOf(holder)],
  );
  return found[0]?.n ?? 0;
}

/** Also for the minute that may begin meanwhile. */
async function countAs(holder: Holder, count: number): Promise<void> {
  await cmp.world.db.pool.query(
    `INSERT INTO request_rate (scope, credential, minute, count)
     SELECT 'cmp', $1, date_trunc('minute', now()) + interval '1 minute' * n, $2 FROM generate_series(-1, 1) AS n
     ON CONFLICT (minute, scope, credential) DO UPDATE SET count = $2`,
    [protectionKeyOf(holder), count],
  );
}

function protectionKeyOf({ der }: Holder): Buffer {
  return readCertificate(der).spki.spkiHash;
}
