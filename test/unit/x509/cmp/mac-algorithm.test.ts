import { describe, expect, test } from '@jest/globals';
import {
  CmpFault,
  computeMac,
  deriveMacKey,
  type MacAlgorithm,
  protectionOf,
  readMacAlgorithm,
  readPkiMessage,
  verifyMac,
} from '../../../../src/x509/cmp/index.js';
import { integer, octetString, oid, sequence } from '../../../../src/x509/der.js';
import { OID } from '../../../../src/x509/oids.js';
import { algorithmIdentifier } from '../../../../src/x509/signature-algorithm.js';
import { cmpRequest, pbm, pbmac1, requestBody } from '../../../support/cmp-request.js';
import { openssl } from '../openssl.js';
import { recordedMessages } from './recorded-messages.js';

const SECRET = Buffer.from('femto-secret');
const SALT = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
const DATA = Buffer.from('3003020105', 'hex');
const MD5 = '1.2.840.113549.2.5';

// Computed by Python's hashlib and hmac; the PBMAC1 ones also by `openssl kdf` and `openssl mac`.
const VECTORS: readonly [string, Buffer, string][] = [
  [
    'PBM, SHA-256, 500 rounds, HMAC-SHA1 as OpenSSL names it',
    pbm({ salt: SALT }),
    '5e2fd29c1ccb29129894d2df224463000b587824',
  ],
  [
    'PBM, HMAC-SHA1 by its PKCS number',
    pbm({ salt: SALT, hmac: OID.hmacWithSha1 }),
    '5e2fd29c1ccb29129894d2df224463000b587824',
  ],
  [
    'PBM, SHA-256, 500 rounds, HMAC-SHA256',
    pbm({ salt: SALT, hmac: OID.hmacWithSha256 }),
    '9392d7f64ee9edaaaeab6c99bd94f1232855557b85b545f53cf5bb44043cf7d9',
  ],
  [
    'PBM, SHA-512, 1,000 rounds, HMAC-SHA384',
    pbm({ salt: SALT, owf: OID.sha512, rounds: 1_000, hmac: OID.hmacWithSha384 }),
    '4848525afb12ee8811d32cf603ee53b024ba08a7ed82135e02da0bf6398af165fda6badd83391411abad532e9b628f3b',
  ],
  [
    'PBMAC1, SHA-256, 1,000 rounds, 32 octets',
    pbmac1({ salt: SALT }),
    'c008f5049390c2dcc3a846d60fe19b79e5aebe3c51bf529981a0442ca0d9ec68',
  ],
  [
    'PBMAC1, SHA-512, 2,000 rounds, 64 octets by default',
    pbmac1({ salt: SALT, rounds: 2_000, keyOctets: null, prf: OID.hmacWithSha512, hmac: OID.hmacWithSha512 }),
    '72695f937a3f8e96d22d604dee422156f8d127c5be40a2fc7559de2133d4f478a4e652a56452c44dc5b40f1234de913796f84b706cbe98ad63c934508fcb247d',
  ],
];

describe('MAC protection, RFC 9810 section 5.1.3.1 and RFC 8018 section 7.1', () => {
  test.each(VECTORS)('%s', async (_, algorithmDer, mac) => {
    const algorithm = readMacAlgorithm(algorithmDer);
    const [key, other] = [await keyOf(algorithm, SECRET), await keyOf(algorithm, Buffer.from('femto-secreT'))];
    expect(computeMac(algorithm, key, DATA).toString('hex')).toBe(mac);
    expect(verifyMac(algorithm, key, DATA, Buffer.from(mac, 'hex'))).toBe(true);
    expect(verifyMac(algorithm, other, DATA, Buffer.from(mac, 'hex'))).toBe(false);
    expect(verifyMac(algorithm, key, Buffer.from('3003020106', 'hex'), Buffer.from(mac, 'hex'))).toBe(false);
    expect(verifyMac(algorithm, key, DATA, Buffer.from(mac, 'hex').subarray(1))).toBe(false);
    expect(verifyMac(algorithm, key, DATA, Buffer.alloc(0))).toBe(false);
  });

  test.each([
    ['SHA256', OID.hmacWithSha256, 32],
    ['SHA384', OID.hmacWithSha384, 48],
    ['SHA512', OID.hmacWithSha512, 24],
  ])('PBMAC1 with %s is what openssl kdf and openssl mac make of it', async (digest, hash, keyOctets) => {
    const [salt, rounds] = ['a1b2c3d4e5f60718', 4_321];
    const derivation = ['kdf', '-keylen', String(keyOctets), '-kdfopt', `digest:${digest}`];
    const options = [
      '-kdfopt',
      'pass:femto-secret',
      '-kdfopt',
      `hexsalt:${salt}`,
      '-kdfopt',
      `iter:${rounds}`,
      'PBKDF2',
    ];
    const key = openssl([...derivation, ...options]).replaceAll(/[:\s]/g, '');
    const mac = openssl(['mac', '-digest', digest, '-macopt', `hexkey:${key}`, '-in', 'data', 'HMAC'], { data: DATA });
    const algorithm = readMacAlgorithm(
      pbmac1({ salt: Buffer.from(salt, 'hex'), rounds, prf: hash, keyOctets, hmac: hash }),
    );
    const macKey = await keyOf(algorithm, SECRET);
    expect(computeMac(algorithm, macKey, DATA).toString('hex').toUpperCase()).toBe(mac.trim());
  });

  test.each([
    'ir-pbm.request1',
    'ir-pbm.response1',
    'ir-pbm.request2',
    'ir-pbm-sha256.request1',
    'ir-pbm-sha256.response2',
  ])('openssl %s verifies under its secret and no other', async (name) => {
    const { messages, secret } = recordedMessages();
    const message = readPkiMessage(messages.get(name) ?? Buffer.alloc(0));
    const found = protectionOf(message);
    if (found.kind !== 'mac') throw new Error(found.kind);
    const mac = message.protection ?? Buffer.alloc(0);
    expect(found.algorithm).toMatchObject({ kind: 'pbm', owf: 'sha256', rounds: 500 });
    const [key, other] = [await keyOf(found.algorithm, secret), await keyOf(found.algorithm, Buffer.from('one-timE'))];
    expect(verifyMac(found.algorithm, key, message.protectedDer, mac)).toBe(true);
    expect(verifyMac(found.algorithm, other, message.protectedDer, mac)).toBe(false);
  });

  test('a PBMAC1 request of ours verifies, with its reference as senderKID', async () => {
    const protect = { kind: 'mac', secret: SECRET, reference: 'unit-7', algorithmDer: pbmac1() } as const;
    const message = readPkiMessage(cmpRequest({ body: requestBody.ir(), protect }));
    const found = protectionOf(message);
    if (found.kind !== 'mac') throw new Error(found.kind);
    expect(message.senderKid?.toString()).toBe('unit-7');
    expect(found.algorithm.kind).toBe('pbmac1');
    const key = await keyOf(found.algorithm, SECRET);
    expect(verifyMac(found.algorithm, key, message.protectedDer, message.protection ?? Buffer.alloc(0))).toBe(true);
  });
});

describe('what a MAC costs', () => {
  test('others have their turn every few hundred rounds, or all the time', async () => {
    let turns = 0;
    const turn = async (): Promise<void> => {
      turns += 1;
    };
    await deriveMacKey(readMacAlgorithm(pbm({ rounds: 10_000 })), SECRET, turn);
    expect(turns).toBeGreaterThanOrEqual(10);
    let isFree = false;
    setImmediate(() => {
      isFree = true;
    });
    await deriveMacKey(readMacAlgorithm(pbmac1({ rounds: 10_000, keyOctets: 64 })), SECRET, turn);
    expect(isFree).toBe(true);
  });
});

describe('bounds of a MAC algorithm: outside them it is badAlg and nothing is computed', () => {
  test.each<[string, Buffer]>([
    ['PBM with SHA-1 as one-way function', pbm({ owf: OID.sha1 })],
    ['PBM with HMAC-MD5', pbm({ hmac: MD5 })],
    ['PBM with 7 octets of salt', pbm({ salt: Buffer.alloc(7) })],
    ['PBM with 129 octets of salt', pbm({ salt: Buffer.alloc(129) })],
    ['PBM with 99 rounds', pbm({ rounds: 99 })],
    ['PBM with 10,001 rounds', pbm({ rounds: 10_001 })],
    ['PBM with rounds beyond 32 bits', pbm({ rounds: 2 ** 40 })],
    ['PBM with negative rounds', pbm({ rounds: -500 })],
    ['PBMAC1 with 99 rounds', pbmac1({ rounds: 99 })],
    ['PBMAC1 with 10,001 rounds', pbmac1({ rounds: 10_001 })],
    ['PBMAC1 with HMAC-SHA1 by default', pbmac1({ prf: null })],
    ['PBMAC1 with HMAC-SHA1', pbmac1({ hmac: OID.hmacWithSha1 })],
    ['PBMAC1 with a key of 65 octets', pbmac1({ keyOctets: 65 })],
    ['PBMAC1 with a key of 15 octets', pbmac1({ keyOctets: 15 })],
    [
      'PBMAC1 with another derivation',
      sequence(oid(OID.pbmac1), sequence(sequence(oid(MD5), sequence()), sequence(oid(MD5)))),
    ],
    ['PBM without parameters', sequence(oid(OID.passwordBasedMac))],
    [
      'PBM with a field too many',
      sequence(
        oid(OID.passwordBasedMac),
        sequence(
          octetString(SALT),
          sequence(oid(OID.sha256)),
          integer(500),
          sequence(oid(OID.hmacWithSha256)),
          integer(1),
        ),
      ),
    ],
    ['a Diffie-Hellman based MAC', sequence(oid('1.2.840.113533.7.66.30'), sequence())],
    ['a signature algorithm', algorithmIdentifier('ecdsa-with-SHA256')],
    ['an empty AlgorithmIdentifier', sequence()],
  ])('%s', (_, algorithmDer) => {
    expect(() => readMacAlgorithm(algorithmDer)).toThrow(CmpFault);
    expect(() => readMacAlgorithm(algorithmDer)).toThrow(expect.objectContaining({ failInfo: 'badAlg' }));
  });

  test('the bounds themselves are inside', () => {
    for (const algorithmDer of [
      pbm({ salt: Buffer.alloc(8), rounds: 100 }),
      pbm({ salt: Buffer.alloc(128), rounds: 10_000 }),
      pbmac1({ keyOctets: 16, rounds: 100 }),
      pbmac1({ keyOctets: 64, rounds: 10_000 }),
    ]) {
      expect(readMacAlgorithm(algorithmDer).der).toEqual(algorithmDer);
    }
  });
});

function keyOf(algorithm: MacAlgorithm, secret: Buffer): Promise<Buffer> {
  return deriveMacKey(algorithm, secret, async () => undefined);
}
