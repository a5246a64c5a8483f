import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readPkiMessage } from '../../../src/x509/cmp/index.js';
import { requestBody } from '../../support/cmp-request.js';
import { freshKey, type Holder, holderOf, type Talk, talkTo, wish, withKey } from '../../support/cmp-talk.js';
import { type CmpWorld, startCmpWorld } from '../../support/cmp-world.js';
import type { WorldUnit } from '../../support/device-world.js';

let cmp: CmpWorld;
let talk: Talk;

beforeAll(async () => {
  cmp = await startCmpWorld();
  talk = talkTo(cmp);
});
afterAll(() => cmp.close());

describe('a transaction belongs to the key that protects it (rules section 4)', () => {
  test('the same bytes get the same answer, from either replica, and issue nothing again', async () => {
    const { unit, holder } = await active();
    const second = await cmp.addReplica();
    const kur = talk.message(holder, requestBody.kur(wish()));
    const [one, other] = await Promise.all([talk.send(kur), talk.send(kur, { replica: second })]);
    const third = await talk.send(kur, { replica: second });
    expect(one.said).toBe('kup accepted');
    expect(other.der.equals(one.der)).toBe(true);
    expect(third.der.equals(one.der)).toBe(true);
    expect(await slots(unit)).toEqual(['1 confirmed', '2 pending']);
    const confirmed = await talk.send(confirmation(holder, one), { replica: second });
    expect(confirmed.said).toBe('pkiConf');
    expect(await slots(unit)).toEqual(['1 confirmed', '2 confirmed']);
  });

  test('another message under the same id is transactionIdInUse', async () => {
    const { unit, holder } = await active();
    const transactionId = randomBytes(16);
    const first = await talk.send(talk.message(holder, requestBody.kur(wish()), { transactionId }));
    expect(first.said).toBe('kup accepted');
    const second = await talk.send(talk.message(holder, requestBody.kur(wish()), { transactionId }));
    expect(second.said).toBe('error rejection transactionIdInUse');
    expect(await slots(unit)).toEqual(['1 confirmed', '2 pending']);
  });

  test('a squatter under the same id with another key is in a transaction of its own', async () => {
    const [victim, squatter] = [await active(), await active()];
    const transactionId = randomBytes(16);
    const squat = await talk.send(talk.message(squatter.holder, requestBody.genm(), { transactionId }));
    expect(squat.said).toBe('genp');
    const kup = await talk.send(talk.message(victim.holder, requestBody.kur(wish()), { transactionId }));
    expect(kup.said).toBe('kup accepted');
    const theirs = confirmation(squatter.holder, kup);
    expect((await talk.send(theirs)).said).toBe('error rejection badRequest');
    expect((await talk.send(confirmation(victim.holder, kup))).said).toBe('pkiConf');
  });

  test('after the exchange has moved on, its first message is no new one', async () => {
    const { unit, holder } = await active();
    const kur = talk.message(holder, requestBody.kur(wish()));
    const kup = await talk.send(kur);
    const certConf = confirmation(holder, kup);
    const pkiConf = await talk.send(certConf);
    expect((await talk.send(certConf)).der.equals(pkiConf.der)).toBe(true);
    expect((await talk.send(kur)).said).toBe('error rejection transactionIdInUse');
    expect((await talk.send(confirmation(holder, kup))).said).toBe('error rejection certConfirmed');
    expect(await slots(unit)).toEqual(['1 confirmed', '2 confirmed']);
  });

  test('what a server that died had begun is taken over by the same message, half a minute later', async () => {
    const { unit, holder } = await active();
    const kur = talk.message(holder, requestBody.kur(wish()));
    const kup = await talk.send(kur);
    await forgetAnswer(kup.message.transactionId, '29 seconds');
    const waits = talk.send(kur);
    await cmp.world.db.pool.query(
      `UPDATE cmp_transaction SET claimed_at = claimed_at - interval '2 seconds' WHERE state = 'open'`,
    );
    const again = await waits;
    expect(again.said).toBe('kup accepted');
    expect(again.certificateDer?.equals(kup.certificateDer ?? Buffer.alloc(0))).toBe(true);
    expect(await slots(unit)).toEqual(['1 confirmed', '2 pending']);
  });
});

describe('certConf (RFC 9483 section 4.1.1)', () => {
  test('a wrong hash is badCertId, a wrong certReqId too, and the right one still counts afterwards', async () => {
    const { unit, holder } = await active();
    const kup = await talk.send(talk.message(holder, requestBody.kur(wish())));
    const wrongHash = await talk.send(confirmation(holder, kup, { certHash: randomBytes(32) }));
    expect(wrongHash.said).toBe('error rejection badCertId');
    const wrongId = await talk.send(confirmation(holder, kup, { certReqId: 1 }));
    expect(wrongId.said).toBe('error rejection badCertId');
    expect(await slots(unit)).toEqual(['1 confirmed', '2 pending']);
    expect((await talk.send(confirmation(holder, kup))).said).toBe('pkiConf');
  });

  test('a wrong nonce is badRecipientNonce and changes nothing', async () => {
    const { unit, holder } = await active();
    const kup = await talk.send(talk.message(holder, requestBody.kur(wish())));
    const { transactionId = null } = kup.message;
    const body = requestBody.certConf({ certificateDer: kup.certificateDer ?? Buffer.alloc(0), status: 0 });
    const wrong = await talk.send(talk.message(holder, body, { transactionId, recipNonce: randomBytes(16) }));
    expect(wrong.said).toBe('error rejection badRecipientNonce');
    expect(await slots(unit)).toEqual(['1 confirmed', '2 pending']);
  });

  test('signed with the new key it is refused: the protection stays that of the request', async () => {
    const { unit, holder } = await active();
    const key = freshKey();
    const kup = await talk.send(talk.message(holder, requestBody.kur(wish({ key }))));
    const next = withKey(kup.certificateDer ?? Buffer.alloc(0), key);
    expect((await talk.send(confirmation(next, kup))).said).toBe('error rejection badRequest');
    expect(await slots(unit)).toEqual(['1 confirmed', '2 pending']);
  });

  test('a rejected certificate is revoked, and the next kur may bring the same key', async () => {
    const { unit, holder } = await active();
    const key = freshKey();
    const kup = await talk.send(talk.message(holder, requestBody.kur(wish({ key }))));
    expect((await talk.send(confirmation(holder, kup, { status: 2 }))).said).toBe('pkiConf');
    expect(await slots(unit)).toEqual(['1 confirmed', '2 displaced']);
    const again = await talk.send(talk.message(holder, requestBody.kur(wish({ key }))));
    expect(again.said).toBe('kup accepted');
  });
});

describe('live proof by waiting and pollReq (rules section 4)', () => {
  test('a recorded kur, replayed after another key was used, waits and changes nothing', async () => {
    const { unit, holder } = await active();
    const recorded = talk.message(holder, requestBody.kur(wish()));
    const kup = await talk.send(talk.message(holder, requestBody.kur(wish())));
    expect((await talk.send(confirmation(holder, kup))).said).toBe('pkiConf');
    const before = await slots(unit);
    expect((await talk.send(recorded)).said).toBe('kup waiting');
    expect((await talk.send(recorded)).said).toBe('kup waiting');
    expect(await slots(unit)).toEqual(before);
    expect(await stateOf(unit)).toBe('ACTIVE');
    expect(await cmp.world.ledger(unit, 'request.refused')).toEqual([
      expect.objectContaining({ code: 'RETRY_LATER', facts: expect.objectContaining({ asks: 'live proof' }) }),
    ]);
  });

  test('the old key that answers our nonce is a second holder: a hard fork', async () => {
    const { unit, holder } = await active();
    const kup = await talk.send(talk.message(holder, requestBody.kur(wish())));
    expect((await talk.send(confirmation(holder, kup))).said).toBe('pkiConf');
    const waiting = await talk.send(talk.message(holder, requestBody.kur(wish())));
    expect(waiting.said).toBe('kup waiting');
    const poll = talk.message(holder, requestBody.pollReq(0), followUp(waiting));
    expect((await talk.send(poll)).said).toBe('kup rejection notAuthorized');
    expect(await stateOf(unit)).toBe('QUARANTINED');
  });

  test('a unit that lost its kup and comes with another key gets one replacement by pollReq, and is not quarantined', async () => {
    const { unit, holder } = await active();
    await talk.send(talk.message(holder, requestBody.kur(wish())));
    const waiting = await talk.send(talk.message(holder, requestBody.kur(wish())));
    expect(waiting.said).toBe('kup waiting');
    const poll = talk.message(holder, requestBody.pollReq(0), followUp(waiting));
    const kup = await talk.send(poll);
    expect(kup.said).toBe('kup accepted');
    expect(kup.message.recipNonce?.equals(nonceOf(poll))).toBe(true);
    expect((await talk.send(confirmation(holder, kup))).said).toBe('pkiConf');
    expect(await slots(unit)).toEqual(['1 confirmed', '2 displaced', '2 confirmed']);
    expect(await stateOf(unit)).toBe('ACTIVE');
  });

  test('pollReq after a lost answer gets it once more, under its own nonce; certConf then stands', async () => {
    const { unit, holder } = await active();
    const kup = await talk.send(talk.message(holder, requestBody.kur(wish())));
    const poll = talk.message(holder, requestBody.pollReq(0), followUp(kup));
    const again = await talk.send(poll);
    expect(again.said).toBe('kup accepted');
    expect(again.certificateDer).toEqual(kup.certificateDer);
    expect(again.message.recipNonce?.equals(nonceOf(poll))).toBe(true);
    expect((await talk.send(confirmation(holder, again))).said).toBe('pkiConf');
    expect(await slots(unit)).toEqual(['1 confirmed', '2 confirmed']);
  });

  test('of two pollReqs under one nonce one is tried, and the same bytes get the same answer', async () => {
    const { unit, holder } = await active();
    const second = await cmp.addReplica();
    await talk.send(talk.message(holder, requestBody.kur(wish())));
    const waiting = await talk.send(talk.message(holder, requestBody.kur(wish())));
    const poll = talk.message(holder, requestBody.pollReq(0), followUp(waiting));
    const other = talk.message(holder, requestBody.pollReq(0), followUp(waiting));
    const [one, same, late] = await Promise.all([
      talk.send(poll),
      talk.send(poll, { replica: second }),
      talk.send(other, { replica: second }),
    ]);
    expect([one.said, same.said, late.said].filter((said) => said === 'kup accepted').length).toBeGreaterThan(0);
    if (one.said === 'kup accepted') expect(same.der.equals(one.der)).toBe(true);
    expect(await slots(unit)).toEqual(['1 confirmed', '2 displaced', '2 pending']);
    // Whoever was told to wait gets the same certificate by asking again.
    const again = await talk.send(talk.message(holder, requestBody.pollReq(0), followUp(waiting)));
    expect(again.said).toBe('kup accepted');
    expect(await slots(unit)).toEqual(['1 confirmed', '2 displaced', '2 pending']);
  });

  test('a pollReq whose server died is taken over by the same bytes', async () => {
    const { unit, holder } = await active();
    await talk.send(talk.message(holder, requestBody.kur(wish())));
    const waiting = await talk.send(talk.message(holder, requestBody.kur(wish())));
    const poll = talk.message(holder, requestBody.pollReq(0), followUp(waiting));
    await cmp.world.db.pool.query(
      `UPDATE cmp_transaction SET response = NULL, last_hash = $2,
         claimed_at = date_trunc('milliseconds', now() - interval '31 seconds') WHERE transaction_id = $1`,
      [waiting.message.transactionId, createHash('sha256').update(readPkiMessage(poll).protectedDer).digest()],
    );
    expect((await talk.send(poll)).said).toBe('kup accepted');
    expect(await slots(unit)).toEqual(['1 confirmed', '2 displaced', '2 pending']);
  });

  test('a pollReq under an old nonce is badRecipientNonce', async () => {
    const { holder } = await active();
    const kup = await talk.send(talk.message(holder, requestBody.kur(wish())));
    await talk.send(confirmation(holder, kup));
    const waiting = await talk.send(talk.message(holder, requestBody.kur(wish())));
    const header = { ...followUp(waiting), recipNonce: randomBytes(16) };
    expect((await talk.send(talk.message(holder, requestBody.pollReq(0), header))).said).toBe(
      'error rejection badRecipientNonce',
    );
  });

  test('pollReq for nothing is badRequest', async () => {
    const { holder } = await active();
    const poll = talk.message(holder, requestBody.pollReq(0), { recipNonce: randomBytes(16) });
    expect((await talk.send(poll)).said).toBe('error rejection badRequest');
  });
});

interface ActiveUnit {
  readonly unit: WorldUnit;
  readonly holder: Holder;
}

async function active(): Promise<ActiveUnit> {
  const { unit, op } = await cmp.activeUnit();
  return { unit, holder: holderOf(op) };
}

type Answer = Awaited<ReturnType<Talk['send']>>;

function followUp({ message }: Answer) {
  return { transactionId: message.transactionId ?? null, recipNonce: message.senderNonce ?? null };
}

function confirmation(
  holder: Holder,
  answer: Answer,
  changes: { certHash?: Buffer; certReqId?: number; status?: number } = {},
): Buffer {
  const certificateDer = answer.certificateDer ?? Buffer.alloc(0);
  return talk.message(holder, requestBody.certConf({ certificateDer, status: 0, ...changes }), followUp(answer));
}

function nonceOf(der: Buffer): Buffer {
  const nonce = readPkiMessage(der).senderNonce;
  if (nonce === undefined) throw new Error('a message without senderNonce');
  return nonce;
}

async function slots({ id }: WorldUnit): Promise<string[]> {
  const { rows } = await cmp.world.db.pool.query<{ generation: number; state: string }>(
    'SELECT generation, state FROM lineage_slot WHERE unit_id = $1 ORDER BY generation, id',
    [id],
  );
  return rows.map(({ generation, state }) => `${generation} ${state}`);
}

async function stateOf({ id }: WorldUnit): Promise<string | undefined> {
  const { rows } = await cmp.world.db.pool.query<{ state: string }>('SELECT state FROM unit WHERE id = $1', [id]);
  return rows[0]?.state;
}

/** As a server leaves it that dies between the certificate's record and its answer. */
async function forgetAnswer(transactionId: Buffer | undefined, age: string): Promise<void> {
  await cmp.world.db.pool.query(
    `UPDATE cmp_transaction SET response = NULL, state = 'open', our_nonce = NULL, our_nonce_at = NULL, issuer_id = NULL,
       serial = NULL, not_after = NULL, claimed_at = date_trunc('milliseconds', now() - $2::interval)
     WHERE transaction_id = $1`,
    [transactionId, age],
  );
}
