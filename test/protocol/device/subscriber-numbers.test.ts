/** ADM-3 at every door that a unit, or whoever says to be one, can knock at: no subscriber's number is kept of it. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type CmpWorld, startCmpWorld } from '../../support/cmp-world.js';
import { curlUnit } from '../../support/curl-unit.js';
import { estUnit } from '../../support/est-unit.js';
import { keptAnywhere } from '../../support/kept-anywhere.js';

const IMSI = '450081234567890';

let cmp: CmpWorld;
let unit: ReturnType<typeof curlUnit>;
let est: ReturnType<typeof estUnit>;
beforeAll(async () => {
  cmp = await startCmpWorld();
  unit = curlUnit(cmp.world.dir, cmp.world.port);
  est = estUnit(cmp.world.dir, cmp.world.port);
});
afterAll(() => cmp.close());

const kept = () => keptAnywhere(cmp.world.db, IMSI);

describe('an IMSI in a name', () => {
  test('the scan finds what is kept', async () => {
    const who = await cmp.world.addUnit();
    expect(await keptAnywhere(cmp.world.db, who.serialNumber)).toContain('unit');
  });

  test('REST: the subject of a request is looked past, the certificate bears the record’s name; nothing of it is kept', async () => {
    const who = await cmp.world.addUnit();
    const code = await cmp.world.grant(who);
    const csr = await unit.csr(await unit.newKey(), await unit.nonce(who), `/CN=${IMSI}`);
    const answer = await unit.call('POST', '/v1/activate', {
      as: who,
      json: { csr: await unit.base64(csr), code },
      headers: [`Idempotency-Key: ${randomUUID()}`],
    });
    expect(answer.status).toBe(200);
    const certificate = await unit.openssl(
      'x509',
      '-in',
      unit.store('imsi.pem', answer.body.certificate),
      '-noout',
      '-text',
    );
    expect(certificate).toContain(who.fqdn);
    expect(certificate).not.toContain(IMSI);
    expect(await kept()).toEqual([]);
  });

  test('REST: an unknown member, an idempotency key and a code with it are refused', async () => {
    const who = await cmp.world.addUnit();
    const csr = await unit.base64(await unit.csr(await unit.newKey(), await unit.nonce(who)));
    for (const { json, key } of [
      { json: { csr, code: IMSI }, key: randomUUID() },
      { json: { csr, code: 'AAAA-AAAA', imsi: IMSI }, key: randomUUID() },
      { json: { csr, code: 'AAAA-AAAA' }, key: IMSI },
    ]) {
      const headers = [`Idempotency-Key: ${key}`];
      const { status } = await unit.call('POST', '/v1/activate', { as: who, json, headers });
      expect([400, 403]).toContain(status);
    }
    expect(await kept()).toEqual([]);
  });

  test('EST: in the subject, and as the name before the code', async () => {
    const who = await cmp.world.addUnit();
    const csr = await unit.base64(await unit.csr(await unit.newKey(), null, `/CN=${IMSI}`));
    const code = await cmp.world.grant(who);
    const flags = ['--user', `${IMSI}:${code}`];
    const answer = await est.call('simpleenroll', { as: who, body: unit.store('imsi.p10', csr), flags });
    expect(answer.status).toBe(200);
    expect(await kept()).toEqual([]);
  });

  test('CMP: in the template’s subject, the sender, the key identifier and the message’s free text', async () => {
    const { op } = await cmp.activeUnit();
    const tries = [
      ['-subject', `/CN=${IMSI}`],
      ['-ref', IMSI, '-secret', `pass:${'0123456789abcdef'.repeat(2)}`],
      ['-geninfo', `1.3.6.1.4.1.99999.1:int:${IMSI}`],
    ];
    for (const flags of tries) {
      const answer = await cmp.openssl('kur', { as: op, flags: ['-newkey', await cmp.newKey(), ...flags] });
      if (flags[0] !== '-geninfo') expect(answer.hasCertificate).toBe(false);
    }
    expect(await kept()).toEqual([]);
  });
});
