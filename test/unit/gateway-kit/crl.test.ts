import { X509Certificate } from 'node:crypto';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { certify, crlBy, kitModule, type Party } from './kit.js';

const { readCrl } = await kitModule('crl');
const THIS_UPDATE = new Date('2026-11-25T08:00:00Z');
const SERIAL = '019a3c0d5e7f8a1b2c3d4e5f60718293';

let ca: Party;
beforeAll(async () => {
  ca = await certify('CN=Device CA 1');
});
const crlOf = (serials: readonly string[]) => crlBy(ca, { serials, thisUpdate: THIS_UPDATE });
const read = (der: Buffer, by = ca) => readCrl(der, new X509Certificate(by.pem));

describe('what the connector reads of a CRL', () => {
  test('its times, and whether it lists a serial number', async () => {
    const crl = read(await crlOf([SERIAL, '00f0a1']));
    expect(crl.thisUpdateMs).toBe(THIS_UPDATE.getTime());
    expect(crl.nextUpdateMs).toBe(THIS_UPDATE.getTime() + 6 * 3_600_000);
    for (const serial of [SERIAL, SERIAL.toUpperCase(), 'f0a1']) expect(crl.lists(serial)).toBe(true);
    expect(crl.lists('019a3c0d5e7f8a1b2c3d4e5f60718294')).toBe(false);
  });

  test('an empty one lists nothing', async () => {
    expect(read(await crlOf([])).lists('01')).toBe(false);
  });

  test('one that another key of the same name signed is none', async () => {
    const der = await crlOf([SERIAL]);
    const other = await certify('CN=Device CA 1');
    expect(() => read(der, other)).toThrow('signature does not hold');
  });

  test('half of one is none, wherever it is cut', async () => {
    const der = await crlOf([SERIAL]);
    for (let length = 0; length < der.length; length++) expect(() => read(der.subarray(0, length))).toThrow(/DER/);
    expect(() => read(Buffer.concat([der, Buffer.from([0])]))).toThrow('no DER CRL');
    expect(() => read(Buffer.from('<html>not here</html>'))).toThrow(/DER/);
  });
});
