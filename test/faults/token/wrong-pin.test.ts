import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { leafRequest } from '../../support/tbs.js';
import { type FreshToken, freshToken, softhsmModule } from '../../support/token.js';

let token: FreshToken;
let spyLog: string;
let pinFile: string;
let marker: string;

beforeEach(async () => {
  token = await freshToken({ start: false });
  spyLog = join(token.dataDir, 'spy.log');
  pinFile = join(token.dataDir, 'secrets', 'token-online.pin');
  marker = join(token.dataDir, 'signer', 'pin-refused.json');
  token.configure((config) => {
    config.module.path = pkcs11Spy();
    Object.assign(config.module.environment, { PKCS11SPY: softhsmModule(), PKCS11SPY_OUTPUT: spyLog });
  });
}, 60_000);
afterEach(() => token.dispose());

test('a wrong PIN costs exactly one C_Login over all classes and restarts, until a person clears the marker (H5)', async () => {
  const rightPin = readFileSync(pinFile, 'utf8');
  const wrongPin = 'wrong-pin-0123456789';
  writeFileSync(pinFile, `${wrongPin}\n`, { mode: 0o600 });

  await token.startSigner({ waitUntilReady: false });
  await until(() => existsSync(marker));
  await pause(2_500);
  expect(logins()).toBe(1);
  expect(JSON.parse(readFileSync(marker, 'utf8'))).toMatchObject({ tokenLabel: 'femtopki-online', rv: 'a0' });

  const enrol = token.connect('enrol');
  const ask = async () => (await enrol.sign([leafRequest({ issuer: token.entry('device-ca-1') })]))[0];
  expect(await ask()).toMatchObject({
    ok: false,
    code: 'HSM_UNAVAILABLE',
    message: expect.stringContaining('femtopki doctor'),
  });

  for (let restart = 0; restart < 2; restart += 1) {
    await token.stopSigner();
    await token.startSigner({ waitUntilReady: false });
    await pause(1_500);
  }
  expect(logins()).toBe(1);

  // The marker alone goes while the PIN is still wrong: one more try, no more.
  rmSync(marker);
  await until(() => existsSync(marker));
  await pause(2_000);
  expect(logins()).toBe(2);

  writeFileSync(pinFile, rightPin, { mode: 0o600 });
  rmSync(marker);
  await until(async () => (await ask())?.ok === true);
  await until(() => logins() === 5);
  expect(token.signerOutput()).not.toContain(wrongPin);
  expect(token.signerOutput()).not.toContain(rightPin.trim());
}, 60_000);

test('a PIN file that others may read is refused before any login', async () => {
  execFileSync('chmod', ['644', pinFile]);
  await token.startSigner({ waitUntilReady: false });
  await until(() => token.signerOutput().includes('is readable by others; run chmod 600'));
  expect(logins()).toBe(0);
}, 30_000);

function logins(): number {
  const text = existsSync(spyLog) ? readFileSync(spyLog, 'latin1') : '';
  return text.match(/: C_Login\b/g)?.length ?? 0;
}

function pkcs11Spy(): string {
  const list = execFileSync('dpkg', ['-L', 'opensc-pkcs11'], { encoding: 'utf8' });
  const path = list.split('\n').find((line) => line.endsWith('/pkcs11-spy.so'));
  if (!path) throw new Error('pkcs11-spy.so is not installed: apt-get install opensc');
  return path;
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = Date.now() + 15_000;
  while (!(await holds())) {
    if (Date.now() > endMs) throw new Error(`it did not happen:\n${token.signerOutput().slice(-3_000)}`);
    await pause(50);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((wake) => setTimeout(wake, ms));
}
