import { execFileSync } from 'node:child_process';
import { createPublicKey, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { leafRequest } from '../../support/tbs.js';
import { type FreshToken, freshToken, softhsmModule } from '../../support/token.js';

const THREADS = 3;
/** `ca` and `ocsp` have so many threads each; `audit` signs one head after another in one. */
const SESSIONS = THREADS + THREADS + 1;

let token: FreshToken;
let spyLog: string;

beforeAll(async () => {
  token = await freshToken({ start: false });
  spyLog = join(token.dataDir, 'spy.log');
  token.configure((config) => {
    config.tokenThreads = THREADS;
    config.module.path = pkcs11Spy();
    Object.assign(config.module.environment, { PKCS11SPY: softhsmModule(), PKCS11SPY_OUTPUT: spyLog });
  });
  await token.startSigner();
}, 60_000);
afterAll(() => token.dispose());

test('a batch is signed by several threads under the one login of its class', async () => {
  const issuer = token.entry('device-ca-1');
  const requests = Array.from({ length: 300 }, () => leafRequest({ issuer }));
  const results = await token.connect('enrol').sign(requests);
  const key = createPublicKey(issuer.certificatePem);
  const verified = requests.filter(({ tbs }, index) => {
    const result = results[index];
    return result?.ok && verify('sha256', tbs, key, result.signature);
  });
  expect(verified).toHaveLength(300);
  expect([calls('C_Login'), calls('C_OpenSession')]).toEqual([3, SESSIONS]);
  expect(sessionsThatSigned()).toBe(THREADS);
}, 30_000);

test('at the end every session is closed, and the module finalised once for each time it was initialised', async () => {
  await token.stopSigner();
  expect([calls('C_CloseSession'), calls('C_Initialize'), calls('C_Finalize')]).toEqual([SESSIONS, 3, 3]);
}, 30_000);

function calls(name: string): number {
  return readFileSync(spyLog, 'latin1').match(new RegExp(`: ${name}\\b`, 'g'))?.length ?? 0;
}

/** Different handles that C_SignInit was called with: SoftHSM numbers them from 1 in each process, and 1 has the login. */
function sessionsThatSigned(): number {
  const signs = readFileSync(spyLog, 'latin1').match(/: C_SignInit\n[^\n]*\n\[in\] hSession = 0x\w+/g) ?? [];
  return new Set(signs.map((text) => text.slice(text.lastIndexOf(' ')))).size;
}

function pkcs11Spy(): string {
  const list = execFileSync('dpkg', ['-L', 'opensc-pkcs11'], { encoding: 'utf8' });
  const path = list.split('\n').find((line) => line.endsWith('/pkcs11-spy.so'));
  if (!path) throw new Error('pkcs11-spy.so is not installed: apt-get install opensc');
  return path;
}
