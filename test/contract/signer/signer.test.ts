import { spawnSync } from 'node:child_process';
import { createHash, createPublicKey, randomBytes, verify } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readJournal } from '../../../src/platform/hsm/journal.js';
import { signerSocketPath } from '../../../src/platform/hsm/socket-path.js';
import type { Signer, SignRequest, SignResult } from '../../../src/platform/signer.js';
import { assembleCertificate, certificatePem } from '../../../src/x509/certificate.js';
import { newSerial } from '../../../src/x509/serial.js';
import { crlRequest, leafRequest } from '../../support/tbs.js';
import { type FreshToken, freshToken } from '../../support/token.js';

const DAY = 86_400;

let token: FreshToken;
let enrol: Signer;
let status: Signer;
let worker: Signer;

beforeAll(async () => {
  token = await freshToken();
  enrol = token.connect('enrol');
  status = token.connect('status');
  worker = token.connect('worker');
}, 60_000);
afterAll(() => token.dispose());

async function one(signer: Signer, request: SignRequest): Promise<SignResult> {
  const [result] = await signer.sign([request]);
  if (!result) throw new Error('no result');
  return result;
}

/** DER signature of an answer that must be one. */
async function signatureOf(signer: Signer, request: SignRequest): Promise<Buffer> {
  const result = await one(signer, request);
  if (!result.ok) throw new Error(`${result.code}: ${result.message}`);
  return result.signature;
}

/** The same TBS with some of its bytes changed to as many others. */
function bent(request: SignRequest, fromHex: string, toHex: string): SignRequest {
  const hex = request.tbs.toString('hex');
  if (hex.split(fromHex).length !== 2 || fromHex.length !== toHex.length)
    throw new Error(`${fromHex} is not there once`);
  return { ...request, tbs: Buffer.from(hex.replace(fromHex, toHex), 'hex') };
}

describe('leaves', () => {
  test('an operational certificate verifies with OpenSSL up to the Access Root', async () => {
    const issuer = token.entry('device-ca-1');
    const request = leafRequest({ issuer });
    const der = assembleCertificate(request.tbs, 'ecdsa-with-SHA256', await signatureOf(enrol, request));
    const leaf = join(token.dataDir, 'leaf.pem');
    writeFileSync(leaf, certificatePem(der));
    const ca = join(token.dataDir, 'ca');
    const args = [
      'verify',
      '-x509_strict',
      '-CAfile',
      join(ca, 'access-root.pem'),
      '-untrusted',
      join(ca, 'device-ca-1.pem'),
      leaf,
    ];
    expect(spawnSync('openssl', args, { encoding: 'utf8' }).stdout).toContain('leaf.pem: OK');
  });

  test('a bootstrap and a services certificate are signed for the roles that may ask', async () => {
    const bootstrap = leafRequest({
      issuer: token.entry('bootstrap-ca'),
      profile: 'bootstrap',
      purpose: 'bootstrap',
      lifeSeconds: 730 * DAY,
    });
    const services = leafRequest({
      issuer: token.entry('services-ca'),
      profile: 'services-server',
      purpose: 'services',
      commonName: 'localhost',
    });
    const decision = leafRequest({
      issuer: token.entry('services-ca'),
      profile: 'services-decision',
      purpose: 'services',
      lifeSeconds: DAY,
    });
    expect(await one(enrol, bootstrap)).toMatchObject({ ok: true });
    expect(await worker.sign([services, decision])).toMatchObject([{ ok: true }, { ok: true }]);
  });

  test('the life ceiling is inclusive of the last second, whatever a profile says', async () => {
    const issuer = token.entry('device-ca-1');
    expect(await one(enrol, leafRequest({ issuer, lifeSeconds: 31 * DAY }))).toMatchObject({ ok: true });
    const refused = { ok: false, code: 'LIFETIME_EXCEEDS_CEILING' };
    expect(await one(enrol, leafRequest({ issuer, lifeSeconds: 31 * DAY + 1 }))).toMatchObject({
      ...refused,
      message: "The life of 2678401 s is above the signer's ceiling of 2678400 s; shorten the profile.",
    });
    expect(await one(enrol, leafRequest({ issuer, lifeSeconds: 3_650 * DAY }))).toMatchObject(refused);
  });

  const issuer = () => token.entry('device-ca-1');
  const denied: readonly (readonly [string, () => SignRequest, string])[] = [
    [
      'a root label',
      () => leafRequest({ issuer: token.entry('access-root') }),
      'The key "access-root" does not sign operational.',
    ],
    [
      'a root label under a CA name',
      () => leafRequest({ issuer: issuer(), keyLabel: 'access-root' }),
      'does not sign operational',
    ],
    [
      'an OCSP key',
      () => leafRequest({ issuer: issuer(), keyLabel: 'ocsp-device-ca-1' }),
      'The key "ocsp-device-ca-1" does not sign operational.',
    ],
    ['the audit key', () => leafRequest({ issuer: issuer(), keyLabel: 'audit' }), 'does not sign operational'],
    [
      'the Bootstrap CA for an operational certificate',
      () => leafRequest({ issuer: token.entry('bootstrap-ca') }),
      'does not sign operational',
    ],
    [
      "another CA's name",
      () => leafRequest({ issuer: token.entry('device-ca-2'), keyLabel: 'device-ca-1' }),
      'The issuer name is not',
    ],
    [
      'a CA certificate',
      () => leafRequest({ issuer: issuer(), profile: 'device-ca' }),
      'The certificate has an extension|claims to be a CA',
    ],
    [
      'a CA certificate with a name constraint',
      () => leafRequest({ issuer: issuer(), profile: 'device-ca', nameConstraintDns: 'x.example' }),
      'extension that no profile',
    ],
    [
      "an OCSP signer's profile",
      () => leafRequest({ issuer: issuer(), profile: 'ocsp-signer' }),
      'extended key usages',
    ],
    [
      "a gateway's profile",
      () => leafRequest({ issuer: issuer(), profile: 'services-gateway' }),
      'extended key usages',
    ],
    [
      'a name outside the realm',
      () => leafRequest({ issuer: issuer(), commonName: 'aa.other.example' }),
      'The name is not under femto.hanbit.example.',
    ],
    ['a wildcard', () => leafRequest({ issuer: issuer(), commonName: '*.femto.hanbit.example' }), 'not under'],
    [
      'a certificate of next week',
      () => leafRequest({ issuer: issuer(), notBefore: new Date(Date.now() + 7 * DAY * 1_000) }),
      'begins in the future',
    ],
    [
      'a certificate of last week',
      () => leafRequest({ issuer: issuer(), notBefore: new Date(Date.now() - 7 * DAY * 1_000) }),
      'backdated too far',
    ],
    [
      'a serial of 2049',
      () => leafRequest({ issuer: issuer(), serial: newSerial(new Date('2049-01-01'), randomBytes) }),
      'an hour that has not come yet',
    ],
    [
      'a serial that is not ours',
      () => leafRequest({ issuer: issuer(), serial: randomBytes(20).fill(2, 0, 1) }),
      'not of our form',
    ],
    [
      "one of the token's own keys",
      () =>
        leafRequest({ issuer: issuer(), publicKey: createPublicKey(token.entry('ocsp-device-ca-1').certificatePem) }),
      "one of this token's own keys",
    ],
    [
      'another name in the journal',
      () => ({ ...leafRequest({ issuer: issuer() }), name: '01'.repeat(16) }),
      'not the serial number in the TBS',
    ],
    [
      "another CA's key identifier",
      () => leafRequest({ issuer: { ...issuer(), keyIdentifierHex: token.entry('device-ca-2').keyIdentifierHex } }),
      'The authority key identifier is not',
    ],
    [
      'a key usage that signs certificates',
      () => bent(leafRequest({ issuer: issuer() }), '0302078030', '0302020430'),
      'would let the certificate sign certificates',
    ],
    [
      'a signature algorithm of another key',
      () => bent(leafRequest({ issuer: issuer() }), '300a06082a8648ce3d040302', '300a06082a8648ce3d040303'),
      'The signature algorithm is not',
    ],
    [
      'a compressed-looking public key',
      () => bent(leafRequest({ issuer: issuer() }), '2a8648ce3d03010703420004', '2a8648ce3d03010703420006'),
      'not an uncompressed point',
    ],
    [
      'another extended key usage',
      () => bent(leafRequest({ issuer: issuer() }), '2b06010505070311', '2b06010505070301'),
      'The extended key usages are not',
    ],
    [
      'an extension no profile has',
      () => bent(leafRequest({ issuer: issuer() }), '0603551d1f', '0603551d1e'),
      'an extension that no profile of ours has',
    ],
  ];
  test.each(denied)('refuses %s', async (_what, make, message) => {
    const result = await one(enrol, make());
    expect(result).toMatchObject({ ok: false, code: 'DENIED' });
    expect(!result.ok && result.message).toMatch(new RegExp(message));
  });

  test('refuses bytes that are no certificate, and signs the neighbours of every bad row', async () => {
    const good = [0, 1, 2, 3].map(() => leafRequest({ issuer: issuer() }));
    const junk = { ...leafRequest({ issuer: issuer() }), tbs: randomBytes(300) };
    const cut = leafRequest({ issuer: issuer() });
    const trailing = leafRequest({ issuer: issuer() });
    const batch = [
      good[0],
      junk,
      good[1],
      { ...cut, tbs: cut.tbs.subarray(0, 200) },
      good[2],
      { ...trailing, tbs: Buffer.concat([trailing.tbs, Buffer.from([5, 0])]) },
      good[3],
      { ...leafRequest({ issuer: issuer() }), name: 'two words' },
    ].filter((request): request is SignRequest => request !== undefined);
    const results = await enrol.sign(batch);
    expect(results.map((result) => (result.ok ? 'ok' : result.code))).toEqual([
      'ok',
      'BAD_REQUEST',
      'ok',
      'BAD_REQUEST',
      'ok',
      'BAD_REQUEST',
      'ok',
      'BAD_REQUEST',
    ]);
    const key = createPublicKey(issuer().certificatePem);
    for (const [index, result] of results.entries()) {
      if (result.ok) expect(verify('sha256', batch[index]?.tbs ?? Buffer.alloc(0), key, result.signature)).toBe(true);
    }
  });
});

describe('roles', () => {
  const asks: readonly (readonly [string, () => Signer, () => SignRequest])[] = [
    ['status asks for a certificate', () => status, () => leafRequest({ issuer: token.entry('device-ca-1') })],
    ['enrol asks for a CRL', () => enrol, () => crlRequest({ issuer: token.entry('device-ca-1'), number: 900n })],
    [
      'worker asks for an operational certificate',
      () => worker,
      () => leafRequest({ issuer: token.entry('device-ca-1') }),
    ],
    [
      'enrol asks for a services certificate',
      () => enrol,
      () => leafRequest({ issuer: token.entry('services-ca'), profile: 'services-server', purpose: 'services' }),
    ],
  ];
  test.each(asks)('%s: denied', async (_what, signer, request) => {
    expect(await one(signer(), request())).toMatchObject({ ok: false, code: 'DENIED' });
  });

  test('a role that lies to its own client is denied by the socket it uses', async () => {
    // A client that believes it is the worker, on the enrol socket: what a stolen enrol-server would try.
    const { encodeRequests, decodeResults, FrameReader } = await import('../../../src/platform/hsm/frames.js');
    const socket = createConnection(signerSocketPath(token.runDir, 'ca', 'enrol'));
    const frames = new FrameReader(1_000_000);
    const answer = new Promise<SignResult[]>((resolve) => {
      socket.on('data', (chunk) => {
        for (const body of frames.push(chunk)) resolve(decodeResults(body).results);
      });
    });
    socket.write(encodeRequests(1, [crlRequest({ issuer: token.entry('device-ca-1'), number: 901n })]));
    expect(await answer).toMatchObject([{ ok: false, code: 'DENIED', message: 'The role enrol may not ask for crl.' }]);
    socket.destroy();
  });

  test('the sockets are open to their group and to nobody else', () => {
    for (const [keyClass, role] of [
      ['ca', 'enrol'],
      ['ca', 'worker'],
      ['ocsp', 'status'],
      ['audit', 'worker'],
    ] as const) {
      expect(statSync(signerSocketPath(token.runDir, keyClass, role)).mode & 0o777).toBe(0o660);
    }
    expect(() => statSync(signerSocketPath(token.runDir, 'audit', 'enrol'))).toThrow('ENOENT');
    expect(() => statSync(signerSocketPath(token.runDir, 'ca', 'status'))).toThrow('ENOENT');
  });

  test('a stream of rubbish ends its own connection and disturbs nobody', async () => {
    const socket = createConnection(signerSocketPath(token.runDir, 'ca', 'enrol'));
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => undefined);
    socket.write(randomBytes(4_096).fill(0xff, 0, 4));
    await closed;
    expect(await one(enrol, leafRequest({ issuer: token.entry('device-ca-1') }))).toMatchObject({ ok: true });
  });
});

describe('journal and secrets', () => {
  test('every signature was in the journal first, by its name and hash, and no refused row is', async () => {
    const issuer = token.entry('device-ca-1');
    const good = Array.from({ length: 300 }, () => leafRequest({ issuer }));
    const bad = Array.from({ length: 20 }, () => leafRequest({ issuer, lifeSeconds: 99 * DAY }));
    const results = await enrol.sign([...good, ...bad]);
    expect(results.filter((result) => result.ok)).toHaveLength(300);
    const entries = [...readJournal(join(token.dataDir, 'signer'), 'ca')];
    const byName = new Map(entries.map((entry) => [entry.name, entry]));
    for (const request of good) {
      expect(byName.get(request.name)).toMatchObject({
        purpose: 'operational',
        keyLabel: 'device-ca-1',
        tbsSha256Hex: createHash('sha256').update(request.tbs).digest('hex'),
      });
    }
    for (const request of bad) expect(byName.has(request.name)).toBe(false);
    expect(entries.map(({ seq }) => seq)).toEqual(entries.map((_entry, index) => index + 1));
  });

  test('no PIN in outputs, arguments, environment or state of any signer process', () => {
    const pin = readFileSync(join(token.dataDir, 'secrets', 'token-online.pin'), 'utf8').trim();
    expect(pin.length).toBeGreaterThan(20);
    const parent = token.signerProcess()?.pid ?? 0;
    const children = readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').trim().split(' ').map(Number);
    expect(children).toHaveLength(3);
    for (const pid of [parent, ...children]) {
      for (const file of ['cmdline', 'environ'])
        expect(readFileSync(`/proc/${pid}/${file}`, 'latin1')).not.toContain(pin);
    }
    expect(token.signerOutput()).not.toContain(pin);
    expect(spawnSync('grep', ['-rlF', pin, token.dataDir], { encoding: 'utf8' }).stdout.trim()).toBe(
      join(token.dataDir, 'secrets', 'token-online.pin'),
    );
  });

  test('the start log lists the attributes of every key', () => {
    for (const label of ['device-ca-1', 'bootstrap-ca', 'services-ca', 'ocsp-device-ca-1', 'audit']) {
      expect(token.signerOutput()).toMatch(
        new RegExp(`"key":"${label}".*sensitive=true.*extractable=false.*local=true`),
      );
    }
  });

  test('a second signer on the same installation is refused with a sentence', () => {
    const second = token.tryStart();
    expect(second).toMatchObject({ code: 1 });
    expect(second.output).toContain('A signer already runs here');
  });
});
