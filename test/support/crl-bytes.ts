import { generateKeyPairSync, sign } from 'node:crypto';
import { assembleCrl, buildCrlTbs, crlEntry } from '../../src/x509/crl.js';
import { certificateName } from '../../src/x509/distinguished-name.js';

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });

/** A CRL of `device-ca-1` by a key of its own, signed right. */
export function crlOf(number: number, entryCount = 1): Buffer {
  const thisUpdate = new Date(1_700_000_000_000 + number * 1_000);
  const serials = Array.from({ length: entryCount }, (_, index) => {
    const serial = Buffer.alloc(16, 1);
    serial.writeUInt32BE(index, 12);
    return serial;
  });
  const tbs = buildCrlTbs({
    issuerSubjectDer: certificateName({ organization: 'Hanbit Mobile', commonName: 'device-ca-1' }),
    issuerKeyIdentifier: Buffer.alloc(20, 7),
    alg: 'ecdsa-with-SHA256',
    number: BigInt(number),
    thisUpdate,
    nextUpdate: new Date(thisUpdate.getTime() + 21_600_000),
    entries: serials.map((serial) => crlEntry({ serial, revokedAt: thisUpdate, reason: 1 })),
  });
  return assembleCrl(tbs, 'ecdsa-with-SHA256', sign('sha256', tbs, privateKey));
}
