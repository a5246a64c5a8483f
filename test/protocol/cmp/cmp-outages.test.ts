import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { armFailpoints } from '../../../src/platform/failpoint.js';
import type { Signer } from '../../../src/platform/signer.js';
import { makeTransactionPruner } from '../../../src/protocol/cmp/prune-transactions.js';
import { pgTransactionStore } from '../../../src/protocol/cmp/transaction-store.pg.js';
import { readCertificate } from '../../../src/x509/certificate.js';
import { readPkiMessage } from '../../../src/x509/cmp/index.js';
import { requestBody } from '../../support/cmp-request.js';
import { type Answered, holderOf, type Talk, talkTo, wish } from '../../support/cmp-talk.js';
import { type CmpWorld, startCmpWorld } from '../../support/cmp-world.js';

let cmp: CmpWorld;
let talk: Talk;

beforeAll(async () => {
  cmp = await startCmpWorld();
  talk = talkTo(cmp);
});
afterAll(() => cmp.close());
afterEach(() => armFailpoints(''));

describe('what passes by itself is waited for by pollReq (RFC 9483 section 4.4)', () => {
  test('a token that is away for a moment: openssl renews all the same', async () => {
    const { op } = await cmp.activeUnit();
    const token = cmp.world.token.connect('enrol');
    let down = true;
    const signer: Signer = {
      sign: async (requests) => {
        if (!down) return token.sign(requests);
        return requests.map(() => ({ ok: false, code: 'HSM_UNAVAILABLE', message: 'the token is away' }) as const);
      },
      close: () => token.close(),
    };
    const replica = await cmp.addReplica({ signer });
    setTimeout(() => {
      down = false;
    }, 2_500);
    const run = await cmp.openssl('kur', { as: op, replica, flags: ['-newkey', await cmp.newKey()] });
    expect(run).toMatchObject({ code: 0, hasCertificate: true });
    const kinds = run.received.map((der) => readPkiMessage(der).body.kind);
    expect(kinds).toEqual(expect.arrayContaining(['kup', 'pollRep', 'pkiConf']));
  });

  test('a unit that asks too often is told to wait, as long as it takes, and gets its certificate then', async () => {
    const { op } = await cmp.activeUnit();
    const holder = holderOf(op);
    const { spkiHash } = readCertificate(holder.der).spki;
    await cmp.world.db.pool.query(
      `INSERT INTO request_rate (scope, credential, minute, count)
       SELECT 'renew', $1, date_trunc('minute', now()) + interval '1 minute' * n, 1000 FROM generate_series(0, 1) AS n`,
      [spkiHash],
    );
    const waiting = await talk.send(talk.message(holder, requestBody.kur(wish())));
    expect(waiting.said).toBe('kup waiting');
    const poll = ({ message: { transactionId, senderNonce } }: Answered) => {
      const header = { transactionId: transactionId ?? null, recipNonce: senderNonce ?? null };
      return talk.send(talk.message(holder, requestBody.pollReq(0), header));
    };
    const pollRep = await poll(waiting);
    const { body } = pollRep.message;
    const [asked] = body.kind === 'pollRep' ? body.polls : [];
    // The rest of the minute, by our clock.
    expect(asked?.checkAfterSeconds).toBeGreaterThan(0);
    expect(asked?.checkAfterSeconds).toBeLessThanOrEqual(60);
    await cmp.world.db.pool.query('DELETE FROM request_rate');
    expect((await poll(pollRep)).said).toBe('kup accepted');
  });

  test('an approval that two people decide on: the request waits, and the next pollReq gets the certificate', async () => {
    const { unit } = await cmp.activeUnit();
    const bootstrap = cmp.bootstrapOf(unit);
    await cmp.world.db.pool.query(
      `INSERT INTO person (name, role, created_at) VALUES ('kim', 'operator', now()) ON CONFLICT DO NOTHING`,
    );
    await cmp.world.db.pool.query(
      `INSERT INTO approval (kind, request, request_hash, selection_count, requested_by, request_signature, state,
         created_at, expires_at)
       VALUES ('grant.live-head', $1, '\\x00', 1, 1, '\\x00', 'open', now(), now() + interval '1 day')`,
      [JSON.stringify({ kind: 'grant.live-head', request: { line: 'x', unit: unit.serialNumber } })],
    );
    const waiting = await talk.send(talk.message(holderOf(bootstrap), requestBody.ir(wish())));
    expect(waiting.said).toBe('ip waiting');
    const { transactionId = null, senderNonce = null } = waiting.message;
    const poll = talk.message(holderOf(bootstrap), requestBody.pollReq(0), { transactionId, recipNonce: senderNonce });
    const { message } = await talk.send(poll);
    expect(message.body).toMatchObject({ kind: 'pollRep', polls: [{ certReqId: 0, checkAfterSeconds: 60 }] });
    // The two have decided, and the old head stays unused: the unit's own proof over our nonce replaces it.
    await cmp.world.db.pool.query(`UPDATE approval SET state = 'executed'`);
    await cmp.world.rooms.enrolment.createGrant({
      unitId: unit.id,
      kind: 'order',
      lineId: unit.lineId,
      createdBy: 'person:kim',
      approvedBy: 'person:lee',
      lifeSeconds: 86_400,
    });
    const next = { transactionId, recipNonce: message.senderNonce ?? null };
    expect((await talk.send(talk.message(holderOf(bootstrap), requestBody.pollReq(0), next))).said).toBe('ip accepted');
  });
});

describe('a server that dies between record and answer', () => {
  test('what cannot be read beside an issuance takes no certificate away that was made', async () => {
    const { unit, op } = await cmp.activeUnit();
    const holder = holderOf(op);
    const { registry } = cmp.world.core;
    const { modelOf } = registry;
    const faults = cmp.world.alarms.length;
    registry.modelOf = async () => {
      throw new Error('the database is away');
    };
    const kup = await talk.send(talk.message(holder, requestBody.kur(wish())));
    registry.modelOf = modelOf;
    expect(kup.said).toBe('kup accepted');
    expect(cmp.world.alarms.slice(faults)).toEqual([expect.objectContaining({ what: 'internal' })]);
    const { certificateDer = Buffer.alloc(0), message } = kup;
    const header = { transactionId: message.transactionId ?? null, recipNonce: message.senderNonce ?? null };
    const certConf = requestBody.certConf({ certificateDer, status: 0 });
    expect((await talk.send(talk.message(holder, certConf, header))).said).toBe('pkiConf');
    const { rows } = await cmp.world.db.pool.query(
      'SELECT generation, state FROM lineage_slot WHERE unit_id = $1 ORDER BY generation',
      [unit.id],
    );
    expect(rows).toEqual([
      { generation: 1, state: 'confirmed' },
      { generation: 2, state: 'confirmed' },
    ]);
  });

  test('the unit that asks again, with the same bytes or new ones, gets the certificate that was made', async () => {
    const { op } = await cmp.activeUnit();
    const holder = holderOf(op);
    const kur = talk.message(holder, requestBody.kur(wish()));
    armFailpoints('cmp-before-answer:error');
    expect((await talk.send(kur)).said).toBe('error rejection systemFailure');
    armFailpoints('');
    await cmp.world.db.pool.query(
      `UPDATE cmp_transaction SET claimed_at = date_trunc('milliseconds', now() - interval '31 seconds')
       WHERE state = 'open'`,
    );
    const again = await talk.send(kur);
    expect(again.said).toBe('kup accepted');
    const { rows } = await cmp.world.db.pool.query(
      `SELECT 1 FROM certificate c JOIN lineage_slot s ON s.id = c.slot_id WHERE s.generation = 2`,
    );
    expect(rows.length).toBeGreaterThan(0);
  });
});

describe('what is kept, and how long', () => {
  const prune = (now: Date) =>
    makeTransactionPruner({
      store: pgTransactionStore,
      transactor: cmp.world.core.transactor,
      clock: { now: () => now },
    })();
  const days = (count: number): Date => new Date(Date.now() + count * 86_400_000);

  test('after a day the answer is gone and its message is still known; after 40 days nothing is', async () => {
    const { op } = await cmp.activeUnit();
    const holder = holderOf(op);
    const kur = talk.message(holder, requestBody.kur(wish()));
    const first = await talk.send(kur);
    await prune(days(0.9));
    expect((await talk.send(kur)).der.equals(first.der)).toBe(true);
    await prune(days(1.1));
    expect((await talk.send(kur)).said).toBe('error rejection transactionIdInUse');
    await prune(days(39));
    expect((await talk.send(kur)).said).toBe('error rejection transactionIdInUse');
    await prune(days(41));
    const { rows } = await cmp.world.db.pool.query('SELECT 1 FROM cmp_transaction');
    expect(rows).toEqual([]);
  });

  test('a certificate may be confirmed after its answer was forgotten: no timer ends it', async () => {
    const { op } = await cmp.activeUnit();
    const holder = holderOf(op);
    const kup = await talk.send(talk.message(holder, requestBody.kur(wish())));
    await prune(days(3));
    const { certificateDer = Buffer.alloc(0), message } = kup;
    const certConf = talk.message(holder, requestBody.certConf({ certificateDer, status: 0 }), {
      transactionId: message.transactionId ?? null,
      recipNonce: message.senderNonce ?? null,
    });
    expect((await talk.send(certConf)).said).toBe('pkiConf');
  });
});
