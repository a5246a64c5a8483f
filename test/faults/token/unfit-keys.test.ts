import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type FreshToken, freshToken, softhsmModule } from '../../support/token.js';

const EXIT_KEY_REFUSED = 78;
const LABEL = 'device-ca-3';

let token: FreshToken;

beforeEach(async () => {
  token = await freshToken({ start: false });
}, 60_000);
afterEach(() => token.dispose());

describe('a key that must not be used refuses the start, with the reason (H8)', () => {
  test.each([
    ['extractable', ['--extractable'], 'it can be wrapped out of the token (CKA_EXTRACTABLE is true)'],
    ['able to derive', ['--usage-sign', '--usage-derive'], 'it can do more than sign (CKA_DERIVE is true)'],
  ])('%s', (_what, flags, reason) => {
    tool('--keypairgen', '--key-type', 'EC:prime256v1', '--label', LABEL, ...flags);
    expectRefused(LABEL, reason);
  });

  test('imported', () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const file = join(token.dataDir, 'imported.pem');
    writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }));
    const pin = readFileSync(join(token.dataDir, 'secrets', 'token-online.pin'), 'utf8').trim();
    const args = ['--import', file, '--token', 'femtopki-online', '--label', LABEL, '--id', '77', '--pin', pin];
    execFileSync('softhsm2-util', args, { env: softhsmEnvironment(), stdio: 'pipe' });
    expectRefused(LABEL, 'it was imported, not generated in the token (CKA_LOCAL is false)');
  });

  test('missing', () => expectRefused(LABEL, 'the token holds no private key of this label'));

  test('two of one label', () => {
    tool('--keypairgen', '--key-type', 'EC:prime256v1', '--label', 'device-ca-1');
    expectRefused('device-ca-1', 'the token holds more than one private key of this label', { add: false });
  });

  test('another public key than the certificate of the hierarchy', () => {
    const path = join(token.dataDir, 'ca', 'hierarchy.json');
    const hierarchy = JSON.parse(readFileSync(path, 'utf8'));
    const [one, two] = ['device-ca-1', 'device-ca-2'].map((label) =>
      hierarchy.entries.find((entry: { label: string }) => entry.label === label),
    );
    one.spkiHex = two.spkiHex;
    writeFileSync(path, JSON.stringify(hierarchy));
    expectRefused('device-ca-1', 'the token holds another public key than its certificate', { add: false });
  });

  test('a public object that does not belong to its private key', () => {
    tool('--delete-object', '--type', 'pubkey', '--label', 'device-ca-1');
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const file = join(token.dataDir, 'other.der');
    writeFileSync(file, publicKey.export({ type: 'spki', format: 'der' }));
    tool('--write-object', file, '--type', 'pubkey', '--label', 'device-ca-1');
    expectRefused('device-ca-1', 'its public key object does not belong to its private key', { add: false });
  });
});

test('a PEM key where the module must be refuses the start (H9)', () => {
  token.configure((config) => {
    config.module.path = '/etc/femtopki/ca.pem';
  });
  const { code, output } = token.tryStart();
  expect(code).toBe(1);
  expect(output).toContain('names a key file where a PKCS#11 module must be; CA keys live in a token only.');
});

function expectRefused(label: string, reason: string, { add = true } = {}): void {
  if (add) token.configure((config) => config.purposes.operational.keys.push(label));
  const { code, output } = token.tryStart();
  expect(output).toContain(`Key \\"${label}\\" is refused: `);
  expect(output).toContain(reason);
  expect(code).toBe(EXIT_KEY_REFUSED);
}

function softhsmEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, SOFTHSM2_CONF: join(token.dataDir, 'signer', 'softhsm2.conf') };
}

function tool(...args: string[]): void {
  const pin = readFileSync(join(token.dataDir, 'secrets', 'token-online.pin'), 'utf8').trim();
  const common = ['--module', softhsmModule(), '--token-label', 'femtopki-online', '--login', '--pin', pin];
  execFileSync('pkcs11-tool', [...common, ...args], { env: softhsmEnvironment(), stdio: 'pipe' });
}
