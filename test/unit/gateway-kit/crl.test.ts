import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { cryptoProvider, X509CrlGenerator } from '@peculiar/x509';
import { kitModule } from './kit.js';

const { readCrl } = await kitModule('crl');
cryptoProvider.set(webcrypto as unknown as Parameters<typeof cryptoProvider.set>[0]);
const THIS_UPDATE = new Date('2026-11-25T08:00:00Z');

describe('what the connector reads of a CRL', () => {
  test('its time, and whether it lists a serial number', async () => {
    const crl = readCrl(await crlOf(['019a3c0d5e7f8a1b2c3d4e5f60718293', '00f0a1']));
    expect(crl.thisUpdateMs).toBe(THIS_UPDATE.getTime());
    for (const serial of ['019a3c0d5e7f8a1b2c3d4e5f60718293', '019A3C0D5E7F8A1B2C3D4E5F60718293', 'f0a1'])
      expect(crl.lists(serial)).toBe(true);
    expect(crl.lists('019a3c0d5e7f8a1b2c3d4e5f60718294')).toBe(false);
  });

  test('an empty one lists nothing', async () => {
    expect(readCrl(await crlOf([])).lists('01')).toBe(false);
  });

  test('half of one is none, wherever it is cut', async () => {
    const der = await crlOf(['019a3c0d5e7f8a1b2c3d4e5f60718293']);
    for (let length = 0; length < der.length; length++) expect(() => readCrl(der.subarray(0, length))).toThrow(/DER/);
    expect(() => readCrl(Buffer.concat([der, Buffer.from([0])]))).toThrow('no DER CRL');
    expect(() => readCrl(Buffer.from('<html>not here</html>'))).toThrow(/DER/);
  });
});

async function crlOf(serials: readonly string[]): Promise<Buffer> {
  const signingAlgorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const { privateKey } = await webcrypto.subtle.generateKey(signingAlgorithm, true, ['sign', 'verify']);
  const crl = await X509CrlGenerator.create({
    issuer: 'CN=Device CA 1',
    thisUpdate: THIS_UPDATE,
    nextUpdate: new Date('2026-11-25T14:00:00Z'),
    entries: serials.map((serialNumber) => ({ serialNumber, revocationDate: THIS_UPDATE })),
    signingAlgorithm,
    signingKey: privateKey,
  });
  return Buffer.from(crl.rawData);
}
