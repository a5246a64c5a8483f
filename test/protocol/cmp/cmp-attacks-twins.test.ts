/**
 * What anybody on the wire can make of a message without its key: the same header and body under other unprotected bytes, or
 * under the other form of an ECDSA signature. Such a twin is the message itself, whoever comes first.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readPkiMessage } from '../../../src/x509/cmp/index.js';
import { bitString, explicitTag, integer, sequence, TAG } from '../../../src/x509/der.js';
import { readDer } from '../../../src/x509/der-reader.js';
import { requestBody } from '../../support/cmp-request.js';
import { type Answered, followUp, type Holder, holderOf, type Talk, talkTo, wish } from '../../support/cmp-talk.js';
import { type CmpWorld, startCmpWorld } from '../../support/cmp-world.js';
import type { WorldUnit } from '../../support/device-world.js';

let cmp: CmpWorld;
let talk: Talk;

beforeAll(async () => {
  cmp = await startCmpWorld();
  talk = talkTo(cmp);
});
afterAll(() => cmp.close());

const TWINS: readonly [string, (der: Buffer) => Buffer][] = [
  ['with a certificate more', (der) => twin(der, { extraCerts: (sent) => [...sent, ...sent] })],
  ['whose signature was turned into its other form', (der) => twin(der, { protection: otherForm })],
];

describe.each(TWINS)('a twin %s', (_name, twinOf) => {
  test('of a kur that comes first gets its answer, and so does the kur', async () => {
    const { unit, holder } = await active();
    const kur = talk.message(holder, requestBody.kur(wish()));
    const first = await talk.send(twinOf(kur));
    expect(first.said).toBe('kup accepted');
    expect((await talk.send(kur)).der.equals(first.der)).toBe(true);
    expect(await slotsOf(unit)).toEqual(['1 confirmed', '2 pending']);
  });

  test('of a certConf that comes first leaves the genuine one its pkiConf', async () => {
    const { unit, holder } = await active();
    const certConf = confirmation(holder, await talk.send(talk.message(holder, requestBody.kur(wish()))));
    const first = await talk.send(twinOf(certConf));
    expect(first.said).toBe('pkiConf');
    expect((await talk.send(certConf)).der.equals(first.der)).toBe(true);
    expect(await slotsOf(unit)).toEqual(['1 confirmed', '2 confirmed']);
  });

  test('of a pollReq that comes first leaves the genuine one its answer', async () => {
    const { unit, holder } = await active();
    await talk.send(talk.message(holder, requestBody.kur(wish())));
    const waiting = await talk.send(talk.message(holder, requestBody.kur(wish())));
    const poll = talk.message(holder, requestBody.pollReq(0), followUp(waiting));
    const first = await talk.send(twinOf(poll));
    expect(first.said).toBe('kup accepted');
    expect((await talk.send(poll)).certificateDer?.equals(first.certificateDer ?? Buffer.alloc(0))).toBe(true);
    expect(await slotsOf(unit)).toEqual(['1 confirmed', '2 displaced', '2 pending']);
  });
});

describe('a recording, sent again and again, is not put down to the unit whose key it needed once (rules 7.5)', () => {
  test.each<[string, (holder: Holder) => Promise<Buffer>]>([
    [
      'a kur whose exchange has moved on',
      async (holder) => {
        const kur = talk.message(holder, requestBody.kur(wish()));
        await talk.send(confirmation(holder, await talk.send(kur)));
        return kur;
      },
    ],
    [
      'a second certConf',
      async (holder) => {
        const kup = await talk.send(talk.message(holder, requestBody.kur(wish())));
        const [first, second] = [confirmation(holder, kup), confirmation(holder, kup)];
        await talk.send(first);
        return second;
      },
    ],
    [
      'a pollReq that lost its race',
      async (holder) => {
        await talk.send(talk.message(holder, requestBody.kur(wish())));
        const waiting = await talk.send(talk.message(holder, requestBody.kur(wish())));
        const header = { ...followUp(waiting), recipNonce: Buffer.alloc(16, 7) };
        return talk.message(holder, requestBody.pollReq(0), header);
      },
    ],
    [
      'a certConf for an exchange that nobody opened',
      async (holder) => talk.message(holder, requestBody.certConf({ status: 0 }), { recipNonce: Buffer.alloc(16, 7) }),
    ],
    [
      'a genm with two questions',
      async (holder) => talk.message(holder, requestBody.genm({ oid: '1.2.3' }, { oid: '1.2.4' })),
    ],
  ])('%s', async (_name, record) => {
    const { unit, holder } = await active();
    const recorded = await record(holder);
    const before = await cmp.world.ledgerKinds(unit);
    for (let time = 0; time < 3; time += 1) {
      expect((await talk.send(recorded)).said).toMatch(/^error rejection /);
    }
    expect(await cmp.world.ledgerKinds(unit)).toEqual(before);
  });

  test('what it is refused for the first time is', async () => {
    const { unit, holder } = await active();
    const recorded = talk.message(holder, requestBody.kur(wish(), wish()));
    for (let time = 0; time < 3; time += 1) {
      expect((await talk.send(recorded)).said).toBe('kup rejection badRequest');
    }
    expect(await cmp.world.ledger(unit, 'request.refused')).toEqual([
      expect.objectContaining({ code: 'BAD_REQUEST', operation: 'cmp kur' }),
    ]);
  });
});

interface Unprotected {
  readonly extraCerts?: (sent: readonly Buffer[]) => readonly Buffer[];
  readonly protection?: (sent: Buffer) => Buffer;
}

function twin(der: Buffer, { extraCerts = (sent) => sent, protection = (sent) => sent }: Unprotected): Buffer {
  const message = readPkiMessage(der);
  return sequence(
    message.headerDer,
    message.bodyDer,
    explicitTag(0, bitString(protection(message.protection ?? Buffer.alloc(0)))),
    explicitTag(1, sequence(...extraCerts(message.extraCerts))),
  );
}

/** (r, n - s) verifies wherever (r, s) does. */
function otherForm(signature: Buffer): Buffer {
  const numbers = readDer(signature, TAG.SEQUENCE, 'signature');
  const r = numbers.expect(TAG.INTEGER).der;
  const s = BigInt(`0x${numbers.expect(TAG.INTEGER).content.toString('hex')}`);
  const magnitude = Buffer.from((P256_ORDER - s).toString(16).padStart(64, '0'), 'hex');
  return sequence(r, integer(magnitude));
}

const P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

async function active(): Promise<{ unit: WorldUnit; holder: Holder }> {
  const { unit, op } = await cmp.activeUnit();
  return { unit, holder: holderOf(op) };
}

function confirmation(holder: Holder, answer: Answered): Buffer {
  const body = requestBody.certConf({ certificateDer: answer.certificateDer ?? Buffer.alloc(0), status: 0 });
  return talk.message(holder, body, followUp(answer));
}

async function slotsOf({ id }: WorldUnit): Promise<string[]> {
  const { rows } = await cmp.world.db.pool.query<{ slot: string }>(
    `SELECT generation || ' ' || state AS slot FROM lineage_slot WHERE unit_id = $1 ORDER BY generation, id`,
    [id],
  );
  return rows.map(({ slot }) => slot);
}
