/**
 * What a model may do otherwise (docs/cmp.md): each switch refused until a person turns it on, taken for that maker and model
 * only, refused again when it is taken back.
 */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { TOLERANCES, type Tolerance } from '../../src/lifecycle/registry/index.js';
import { makeTransactionPruner } from '../../src/protocol/cmp/prune-transactions.js';
import { pgTransactionStore } from '../../src/protocol/cmp/transaction-store.pg.js';
import { NULL_DN, requestBody } from '../support/cmp-request.js';
import { followUp, type Holder, holderOf, wish } from '../support/cmp-talk.js';
import { startCmpWorld } from '../support/cmp-world.js';
import { type MakerLine, type MakerWorld, makerWorld, type VendorUnit } from './maker-world.js';
import { kindsOf, refusalOf } from './openssl-said.js';
import { type VendorTalk, vendorTalk } from './vendor-talk.js';

let world: MakerWorld;
let talk: VendorTalk;
/** The model whose switches are turned, and its maker's other one. */
let line: MakerLine;
let sibling: MakerLine;

beforeAll(async () => {
  world = makerWorld(await startCmpWorld());
  talk = vendorTalk(world);
  await world.addMaker('Garam Celltech', '0a01');
  line = await world.addLine({ maker: 'Garam Celltech', model: 'FC-200', dn: '/O=Garam Celltech', key: 'ec' });
  sibling = await world.addLine({ maker: 'Garam Celltech', model: 'FC-300', dn: '/O=Garam Celltech 3', key: 'ec' });
});
afterAll(() => world.close());

/** What the same exchange says while the switch is off, on, on for the other model only, and off again. */
async function turned(tolerance: Tolerance, exchange: (at: MakerLine) => Promise<string>): Promise<string[]> {
  const said = [await exchange(line)];
  await world.tolerate(line, tolerance);
  said.push(await exchange(line), await exchange(sibling));
  await world.tolerate(line);
  said.push(await exchange(line));
  return said;
}

const tried = new Set<Tolerance>();
afterAll(() => expect(tried).toEqual(new Set(TOLERANCES)));
function eachWay(tolerance: Tolerance, name: string, exchange: (at: MakerLine) => Promise<string>, said: string[]) {
  tried.add(tolerance);
  test(name, async () => expect(await turned(tolerance, exchange)).toEqual(said));
}

describe('certconf-without-status', () => {
  const exchange = async (at: MakerLine): Promise<string> => {
    const { holder, unit } = await talk.vendor(at);
    const ip = await talk.ir(at, holder);
    const certConf = requestBody.certConf({ certificateDer: ip.certificateDer ?? Buffer.alloc(0) });
    const { said } = await talk.say(at, holder, certConf, followUp(ip));
    return `${said}, ${(await world.slotsOf(unit)).join()}`;
  };
  const refused = 'error rejection badRequest, 1 pending';
  eachWay('certconf-without-status', 'a certConf that does not say accepted is read so', exchange, [
    refused,
    'pkiConf, 1 confirmed',
    refused,
    refused,
  ]);
});

describe('vendor-without-key-usage', () => {
  const exchange = async (at: MakerLine): Promise<string> => {
    const unit = await talk.ordered(at, world.leaf(at, { extensions: ['basicConstraints=critical,CA:FALSE'] }));
    return refusalOf(await world.ir(unit));
  };
  eachWay('vendor-without-key-usage', 'openssl with a vendor certificate without keyUsage', exchange, [
    'signerNotTrusted',
    'not refused',
    'signerNotTrusted',
    'signerNotTrusted',
  ]);

  test('a keyUsage that does not let the key sign is refused all the same', async () => {
    await world.tolerate(line, 'vendor-without-key-usage');
    const extensions = ['basicConstraints=critical,CA:FALSE', 'keyUsage=critical,keyEncipherment'];
    const unit = await talk.ordered(line, world.leaf(line, { extensions }));
    const flags = ['-ignore_keyusage'];
    expect(refusalOf(await world.ir(unit, { flags }))).toBe('signerNotTrusted');
    await world.tolerate(line);
  });
});

describe('extra-certs-any-order', () => {
  const leafLast = async (at: MakerLine): Promise<string> => {
    const { holder } = await talk.vendor(at);
    return (await talk.ir(at, holder, {}, [at.ca.der, holder.der])).said;
  };
  eachWay('extra-certs-any-order', 'the protecting certificate behind its CA', leafLast, [
    'error rejection badMessageCheck',
    'ip accepted',
    'error rejection badMessageCheck',
    'error rejection badMessageCheck',
  ]);

  const rootBetween = async (at: MakerLine): Promise<string> => {
    const { holder } = await talk.vendor(at);
    return (await talk.ir(at, holder, {}, [holder.der, at.root.der, at.ca.der])).said;
  };
  eachWay('extra-certs-any-order', 'the root before the CA below it', rootBetween, [
    'error rejection signerNotTrusted',
    'ip accepted',
    'error rejection signerNotTrusted',
    'error rejection signerNotTrusted',
  ]);
});

describe('extra-certs-absent', () => {
  const kur = async (at: MakerLine): Promise<string> => {
    const { op } = await talk.activated(at);
    return (await talk.say(at, op, requestBody.kur(wish()), {}, [])).said;
  };
  const refused = 'error rejection badMessageCheck';
  eachWay('extra-certs-absent', 'a kur by a certificate of ours', kur, [refused, 'kup accepted', refused, refused]);

  /** One who asked too early, and asks again without certificates. */
  const early = async (at: MakerLine): Promise<{ unit: VendorUnit; holder: Holder }> => {
    const unit = await world.addUnit(at);
    const holder = holderOf(unit.as);
    expect((await talk.ir(at, holder)).said).toBe('ip rejection notAuthorized');
    await world.order(unit);
    return { unit, holder };
  };
  const seenVendor = async (at: MakerLine): Promise<string> => {
    const { holder } = await early(at);
    return (await talk.ir(at, holder, {}, [])).said;
  };
  eachWay('extra-certs-absent', 'an ir by a vendor certificate that was shown before, with its CAs', seenVendor, [
    refused,
    'ip accepted',
    refused,
    refused,
  ]);

  test('an ir by the bootstrap certificate, of a unit whose model may', async () => {
    const unit = await world.cmp.world.addUnit();
    await world.cmp.order(unit);
    const holder = holderOf(world.cmp.bootstrapOf(unit));
    const ask = () => talk.send(talk.message(holder, requestBody.ir(wish()), {}, { extraCerts: [] }));
    expect((await ask()).said).toBe(refused);
    await world.cmp.setModel({ tolerances: ['extra-certs-absent'] });
    expect((await ask()).said).toBe('ip accepted');
    await world.cmp.setModel({});
    expect((await ask()).said).toBe(refused);
  });

  test('a vendor certificate is remembered for weeks, one of ours only in its own record', async () => {
    await world.tolerate(line, 'extra-certs-absent');
    const { holder } = await early(line);
    const own = await talk.activated(line);
    const { transactor, clock } = world.cmp.world.core;
    await world.cmp.world.db.pool.query(`UPDATE cmp_transaction SET created_at = now() - interval '39 days'`);
    await makeTransactionPruner({ store: pgTransactionStore, transactor, clock })();
    const { rows } = await world.cmp.world.db.pool.query<{ ours: number }>(
      'SELECT count(protection_certificate)::int AS ours FROM cmp_transaction',
    );
    expect(rows).toEqual([{ ours: 0 }]);
    expect((await talk.ir(line, holder, {}, [])).said).toBe('ip accepted');
    expect((await talk.say(line, own.op, requestBody.kur(wish()), {}, [])).said).toBe('kup accepted');
    await world.tolerate(line);
  });

  test('with the switch on, what nobody showed, another’s name and another’s senderKID are refused', async () => {
    await world.tolerate(line, 'extra-certs-absent');
    const { holder } = await talk.vendor(line);
    expect((await talk.ir(line, holder, {}, [])).said).toBe(refused);
    const [victim, thief] = [await talk.activated(line), await talk.activated(line)];
    const genm = requestBody.genm();
    for (const parts of [
      { ...victim.op, key: thief.op.key },
      { ...thief.op, subjectDer: victim.op.subjectDer },
    ]) {
      expect((await talk.say(line, parts, genm, {}, [])).said).toBe(refused);
    }
    const senderKid = randomBytes(20);
    expect((await talk.say(line, thief.op, genm, { senderKid }, [])).said).toBe(refused);
    await world.tolerate(line);
  });
});

describe('later messages of an exchange need no certificate, and no switch (RFC 9483 section 3.3)', () => {
  test('certConf after an ir by a vendor certificate whose CA came with it', async () => {
    const { holder, unit } = await talk.vendor(line);
    const ip = await talk.ir(line, holder);
    expect((await talk.confirm(holder, ip)).said).toBe('pkiConf');
    expect(await world.slotsOf(unit)).toEqual(['1 confirmed']);
  });

  test('nor the CAs, where the certificate itself is there', async () => {
    const { holder, unit } = await talk.vendor(line);
    const ip = await talk.ir(line, holder);
    const certConf = requestBody.certConf({ certificateDer: ip.certificateDer ?? Buffer.alloc(0), status: 0 });
    expect((await talk.say(line, holder, certConf, followUp(ip), [holder.der])).said).toBe('pkiConf');
    expect(await world.slotsOf(unit)).toEqual(['1 confirmed']);
    expect((await talk.ir(line, holder, {}, [holder.der])).said).toBe('error rejection signerNotTrusted');
  });

  test('pollReq, and certConf after it', async () => {
    const { unit, op } = await talk.activated(line);
    await talk.say(line, op, requestBody.kur(wish()));
    const waiting = await talk.say(line, op, requestBody.kur(wish()));
    expect(waiting.said).toBe('kup waiting');
    const kup = await talk.say(line, op, requestBody.pollReq(0), followUp(waiting), []);
    expect(kup.said).toBe('kup accepted');
    expect((await talk.confirm(op, kup)).said).toBe('pkiConf');
    expect(await world.slotsOf(unit)).toEqual(['1 confirmed', '2 displaced', '2 confirmed']);
  });

  test('whoever opens exchanges under the same transactionID cannot hide it', async () => {
    const { holder } = await talk.vendor(line);
    const ip = await talk.ir(line, holder);
    const other = holderOf((await world.cmp.activeUnit()).op);
    const transactionId = ip.message.transactionId ?? null;
    expect((await talk.send(talk.message(other, requestBody.genm(), { transactionId }))).said).toBe('genp');
    // Twenty more of them, with other keys, and whatever a CA writes as key identifier.
    await world.cmp.world.db.pool.query(
      `INSERT INTO cmp_transaction (transaction_id, protection_key, body_kind, state, first_hash, last_hash,
         protection_certificate, sender_kid, claimed_at, created_at)
       SELECT transaction_id, decode(md5(n::text), 'hex'), 'genm', 'closed', first_hash, last_hash, $2,
         CASE n % 2 WHEN 0 THEN sender_kid END, claimed_at, created_at + n * interval '1 ms'
       FROM cmp_transaction, generate_series(1, 20) AS n WHERE transaction_id = $1 AND vendor_chain <> '{}'`,
      [transactionId, other.der],
    );
    expect((await talk.confirm(holder, ip)).said).toBe('pkiConf');
  });

  test('a certConf by another key is refused', async () => {
    const { holder } = await talk.vendor(line);
    const ip = await talk.ir(line, holder);
    const { holder: thief } = await talk.vendor(line);
    expect((await talk.confirm({ ...holder, key: thief.key }, ip)).said).toBe('error rejection badMessageCheck');
    expect((await talk.confirm(thief, ip)).said).toBe('error rejection badMessageCheck');
  });
});

describe('sender-null-dn', () => {
  const exchange = async (at: MakerLine): Promise<string> => {
    const { holder } = await talk.vendor(at);
    return (await talk.ir(at, holder, { sender: NULL_DN })).said;
  };
  eachWay('sender-null-dn', 'an ir whose sender is the empty name', exchange, [
    'error rejection badMessageCheck',
    'ip accepted',
    'error rejection badMessageCheck',
    'error rejection badMessageCheck',
  ]);
});

describe('implicit-confirm-always', () => {
  const exchange = async (at: MakerLine): Promise<string> => {
    const unit = await talk.ordered(at);
    const run = await world.ir(unit);
    expect([run.code, run.text]).toEqual([0, expect.any(String)]);
    return `${kindsOf(run.received).join()}: ${(await world.slotsOf(unit)).join()}`;
  };
  eachWay('implicit-confirm-always', 'openssl is spared the certConf that it did not ask to leave out', exchange, [
    'ip,pkiConf: 1 confirmed',
    'ip: 1 pending',
    'ip,pkiConf: 1 confirmed',
    'ip,pkiConf: 1 confirmed',
  ]);
});
