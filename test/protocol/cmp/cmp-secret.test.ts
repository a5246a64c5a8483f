import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readMacAlgorithm } from '../../../src/x509/cmp/index.js';
import { macOf } from '../../support/cmp-mac.js';
import { cmpRequest, pbm, pbmac1, requestBody } from '../../support/cmp-request.js';
import { freshKey, type Talk, talkTo, wish } from '../../support/cmp-talk.js';
import { type CmpWorld, startCmpWorld } from '../../support/cmp-world.js';

let cmp: CmpWorld;
let talk: Talk;

beforeAll(async () => {
  cmp = await startCmpWorld();
  talk = talkTo(cmp);
});
afterAll(() => cmp.close());

describe('a shared secret leads to a bootstrap certificate, and to nothing else (rules section 3, item 2)', () => {
  test('openssl with -ref and -secret gets a bootstrap certificate, under the same MAC, and confirms it', async () => {
    const { unit, reference, secret } = await secretUnit();
    const keyFile = await cmp.newKey();
    const flags = ['-ref', reference, '-secret', `pass:${secret}`, '-newkey', keyFile, '-subject', `/CN=${unit.fqdn}`];
    const run = await cmp.openssl('ir', { flags });
    expect(run).toMatchObject({ code: 0, hasCertificate: true });
    const { rows } = await cmp.world.db.pool.query(
      `SELECT purpose FROM certificate WHERE unit_id = $1 AND purpose <> 'bootstrap'`,
      [unit.id],
    );
    expect(rows).toEqual([]);
    const state = await cmp.world.db.pool.query('SELECT state FROM unit WHERE id = $1', [unit.id]);
    expect(state.rows).toEqual([{ state: 'BOOTSTRAPPED' }]);
    // What it got is what activates.
    await cmp.order(unit);
    const next = await cmp.openssl('ir', {
      as: { pemFile: run.certFile, keyFile },
      flags: ['-newkey', await cmp.newKey(), '-subject', `/CN=${unit.fqdn}`],
    });
    expect(next).toMatchObject({ code: 0, hasCertificate: true });
  });

  test.each([
    ['PBM', () => pbm()],
    ['PBMAC1', () => pbmac1()],
  ])('%s is answered under the same MAC', async (_name, algorithm) => {
    const { reference, secret } = await secretUnit();
    const protect = { kind: 'mac', secret: Buffer.from(secret), reference, algorithmDer: algorithm() } as const;
    const { said, message } = await talk.send(cmpRequest({ body: requestBody.ir(wish()), protect }));
    expect(said).toBe('ip accepted');
    const { protectionAlgDer = Buffer.alloc(0), protectedDer, protection } = message;
    const mac = macOf(readMacAlgorithm(protectionAlgDer), Buffer.from(secret), protectedDer);
    expect(mac).toEqual(protection);
  });

  test('a certificate that the unit refuses stands: it is told so, and may confirm it or ask again with the same key', async () => {
    const { reference, secret } = await secretUnit();
    const key = freshKey();
    const protect = { kind: 'mac', secret: Buffer.from(secret), reference, algorithmDer: pbm() } as const;
    const ip = await talk.send(cmpRequest({ body: requestBody.ir(wish({ key })), protect }));
    const { certificateDer = Buffer.alloc(0), message } = ip;
    const header = { transactionId: message.transactionId ?? null, recipNonce: message.senderNonce ?? null };
    const certConf = (status: number) =>
      talk.send(cmpRequest({ body: requestBody.certConf({ certificateDer, status }), protect, header }));
    expect((await certConf(2)).said).toBe('error rejection notAuthorized');
    const again = await talk.send(cmpRequest({ body: requestBody.ir(wish({ key })), protect }));
    expect(again.certificateDer).toEqual(certificateDer);
    expect((await certConf(0)).said).toBe('pkiConf');
  });

  test('a wrong secret and an unknown reference are badMessageCheck, under signature protection', async () => {
    const { reference } = await secretUnit();
    for (const name of [reference, randomBytes(16).toString('base64url')]) {
      const protect = { kind: 'mac', secret: randomBytes(32), reference: name, algorithmDer: pbm() } as const;
      const { said, message } = await talk.send(cmpRequest({ body: requestBody.ir(wish()), protect }));
      expect(said).toBe('error rejection badMessageCheck');
      // ecdsa-with-SHA256, checked by the talk itself.
      expect(message.protectionAlgDer?.toString('hex')).toBe('300a06082a8648ce3d040302');
    }
  });

  test('openssl sees the wrong secret as badMessageCheck, checked by -trusted', async () => {
    const { reference } = await secretUnit();
    const flags = ['-ref', reference, '-secret', 'pass:wrong', '-newkey', await cmp.newKey(), '-subject', '/CN=x'];
    const run = await cmp.openssl('ir', { flags });
    expect(run.code).not.toBe(0);
    expect(run.text).toContain('badMessageCheck');
  });

  test.each<[string, () => Buffer]>([
    ['kur', () => requestBody.kur(wish())],
    ['rr', () => requestBody.rr({ issuerDer: Buffer.from('3000', 'hex'), serial: randomBytes(16) })],
    ['genm', () => requestBody.genm()],
  ])('%s under a MAC is wrongIntegrity', async (_name, body) => {
    const { reference, secret } = await secretUnit();
    const protect = { kind: 'mac', secret: Buffer.from(secret), reference, algorithmDer: pbm() } as const;
    expect((await talk.send(cmpRequest({ body: body(), protect }))).said).toBe('error rejection wrongIntegrity');
  });

  test('where the model may no longer have secrets, a good one is as wrong as any', async () => {
    const { reference, secret } = await secretUnit();
    await cmp.setModel({ macAllowed: false });
    const protect = { kind: 'mac', secret: Buffer.from(secret), reference, algorithmDer: pbm() } as const;
    expect((await talk.send(cmpRequest({ body: requestBody.ir(wish()), protect }))).said).toBe(
      'error rejection badMessageCheck',
    );
  });
});

async function secretUnit() {
  await cmp.setModel({ macAllowed: true });
  const unit = await cmp.world.addUnit({ state: 'MANIFESTED' });
  // The world makes every unit with a factory certificate; these have none yet.
  await cmp.world.db.pool.query('DELETE FROM key_seen WHERE unit_id = $1', [unit.id]);
  await cmp.world.db.pool.query('DELETE FROM certificate WHERE unit_id = $1', [unit.id]);
  const { reference, secret } = await cmp.first.factory.createMacSecret({ unitId: unit.id, actor: 'person:kim' });
  return { unit, reference, secret };
}
