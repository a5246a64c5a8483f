import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Hierarchy, hierarchyPath, readHierarchy } from '../../../src/platform/hsm/hierarchy.js';
import { DEMO_CEREMONY, productionFile } from '../../support/ceremony-file.js';
import { softhsmModule } from '../../support/token.js';

let dataDir: string;
let hierarchy: Hierarchy;

beforeAll(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'fp-cer-'));
  expect(ceremony(DEMO_CEREMONY, dataDir)).toMatchObject({ status: 0 });
  hierarchy = readHierarchy(hierarchyPath(dataDir));
}, 60_000);
afterAll(() => rmSync(dataDir, { recursive: true, force: true }));

function ceremony(file: string, into: string, mode = 'demo') {
  const script = resolve('test', 'support', 'ceremony-child.ts');
  const args = [
    '--import',
    resolve('bin', 'ts-loader.mjs'),
    script,
    file,
    into,
    softhsmModule(),
    'http://pki.example',
    mode,
  ];
  return spawnSync(process.execPath, args, { encoding: 'utf8' });
}

function inCa(...args: string[]): string {
  return execFileSync('openssl', args, { cwd: join(dataDir, 'ca'), encoding: 'utf8' });
}

function textOf(label: string): string {
  return inCa('x509', '-in', `${label}.pem`, '-noout', '-text');
}

describe('the demo ceremony, judged by OpenSSL', () => {
  test('three roots that never cross: each CA verifies under its own root and under no other', () => {
    const roots = {
      'access-root': ['device-ca-1', 'device-ca-2'],
      'bootstrap-root': ['bootstrap-ca'],
      'services-root': ['services-ca'],
    };
    for (const [root, cas] of Object.entries(roots)) {
      for (const ca of cas) {
        expect(inCa('verify', '-x509_strict', '-CAfile', `${root}.pem`, `${ca}.pem`)).toContain(`${ca}.pem: OK`);
        for (const other of Object.keys(roots).filter((name) => name !== root)) {
          expect(() => inCa('verify', '-CAfile', `${other}.pem`, `${ca}.pem`)).toThrow();
        }
      }
    }
  });

  test('CAs have path length 0 and pointers; Device CAs are bound to the realm; lives are 20 and 5 years', () => {
    for (const label of ['device-ca-1', 'device-ca-2', 'bootstrap-ca', 'services-ca']) {
      expect(textOf(label)).toMatch(/CA:TRUE, pathlen:0/);
      expect(textOf(label)).toContain(
        `URI:http://pki.example/crl/${hierarchy.entries.find((entry) => entry.label === label)?.issuerLabel}.crl`,
      );
      expect(/Permitted:\s+DNS:femto.hanbit.example/.test(textOf(label))).toBe(label.startsWith('device-ca'));
    }
    const years = (label: string) => {
      const entry = hierarchy.entries.find((candidate) => candidate.label === label);
      return new Date(entry?.notAfter ?? 0).getUTCFullYear() - new Date(entry?.notBefore ?? 0).getUTCFullYear();
    };
    expect([years('access-root'), years('device-ca-1')]).toEqual([20, 5]);
    expect(textOf('access-root')).toContain('ASN1 OID: secp384r1');
    expect(textOf('device-ca-1')).toContain('ASN1 OID: prime256v1');
  });

  test('every issuer name and key identifier is there once', () => {
    const issuers = hierarchy.entries.filter((entry) => entry.crlUrl !== undefined);
    expect(issuers).toHaveLength(7);
    for (const field of ['subjectDerHex', 'keyIdentifierHex', 'spkiHex'] as const) {
      expect(new Set(hierarchy.entries.map((entry) => entry[field])).size).toBe(hierarchy.entries.length);
    }
    for (const { certificatePem } of issuers) {
      const subject = execFileSync('openssl', ['x509', '-noout', '-subject'], {
        input: certificatePem,
        encoding: 'utf8',
      });
      expect(subject).toContain(hierarchy.installation);
    }
  });

  test('root CRLs verify and live 100 days; OCSP signers carry no-check and 14 days; the audit key a year', () => {
    for (const root of ['access-root', 'bootstrap-root', 'services-root']) {
      const verified = spawnSync(
        'openssl',
        ['crl', '-inform', 'DER', '-in', `${root}.crl`, '-CAfile', `${root}.pem`, '-noout', '-text'],
        { cwd: join(dataDir, 'ca'), encoding: 'utf8' },
      );
      expect(verified.stderr).toContain('verify OK');
      const [last, next] = ['Last', 'Next'].map((word) =>
        Date.parse(new RegExp(`${word} Update: (.*)`).exec(verified.stdout)?.[1] ?? ''),
      );
      expect(((next ?? 0) - (last ?? 0)) / 86_400_000).toBe(100);
    }
    expect(textOf('ocsp-device-ca-1')).toMatch(/OCSP Signing[\s\S]*OCSP No Check/);
    expect(
      inCa(
        'verify',
        '-x509_strict',
        '-CAfile',
        'access-root.pem',
        '-untrusted',
        'device-ca-1.pem',
        'ocsp-device-ca-1.pem',
      ),
    ).toContain('OK');
    expect(textOf('audit')).toContain('OU = audit');
    expect(inCa('verify', '-CAfile', 'services-root.pem', '-untrusted', 'services-ca.pem', 'audit.pem')).toContain(
      'OK',
    );
  });

  test('the transcript verifies with OpenSSL alone, says that one person ran a demo, and lists every key as sensitive', () => {
    writeFileSync(join(dataDir, 'audit.pub'), inCa('x509', '-in', 'audit.pem', '-noout', '-pubkey'));
    const check = [
      'dgst',
      '-sha256',
      '-verify',
      join(dataDir, 'audit.pub'),
      '-signature',
      'transcript.json.sig',
      'transcript.json',
    ];
    expect(inCa(...check)).toContain('Verified OK');
    const transcript = JSON.parse(readFileSync(join(dataDir, 'ca', 'transcript.json'), 'utf8'));
    expect(transcript.statement).toMatch(/^DEMO: one person/);
    expect(transcript.keys).toHaveLength(12);
    expect(new Set(transcript.keys.slice(-3).map((key: { token: string }) => key.token)).size).toBe(3);
    for (const { attributes } of transcript.keys) {
      expect(attributes).toMatchObject({
        sensitive: true,
        extractable: false,
        local: true,
        sign: true,
        decrypt: false,
      });
    }
  });

  test('the online store holds no root, and PINs are in 0600 files and nowhere else', () => {
    expect(readdirSync(join(dataDir, 'signer', 'tokens'))).toHaveLength(1);
    expect(readdirSync(join(dataDir, 'ca', 'offline', 'tokens'))).toHaveLength(3);
    const pins = ['token-online.pin', 'ceremony/femtopki-access-root.pin'].map((name) =>
      join(dataDir, 'secrets', name),
    );
    for (const path of pins) {
      expect(statSync(path).mode & 0o777).toBe(0o600);
      const pin = readFileSync(path, 'utf8').trim();
      expect(spawnSync('grep', ['-rlF', pin, dataDir], { encoding: 'utf8' }).stdout.trim()).toBe(path);
    }
  });
});

describe('a ceremony happens once', () => {
  test('a second one is refused and changes nothing', () => {
    const before = readFileSync(hierarchyPath(dataDir));
    const again = ceremony(DEMO_CEREMONY, dataDir);
    expect(again.status).not.toBe(0);
    expect(again.stderr).toContain('has its CA hierarchy already');
    expect(readFileSync(hierarchyPath(dataDir))).toEqual(before);
  });

  test('tokens of an interrupted one are moved aside, not deleted, and the next one succeeds', () => {
    const copy = mkdtempSync(join(tmpdir(), 'fp-cer2-'));
    cpSync(dataDir, copy, { recursive: true });
    rmSync(hierarchyPath(copy));
    expect(ceremony(DEMO_CEREMONY, copy)).toMatchObject({ status: 0 });
    expect(existsSync(hierarchyPath(copy))).toBe(true);
    expect(readdirSync(join(copy, 'signer')).filter((name) => name.startsWith('tokens-unfinished-'))).toHaveLength(1);
    expect(readdirSync(join(copy, 'secrets')).filter((name) => name.includes('.unfinished-'))).toHaveLength(1);
    rmSync(copy, { recursive: true });
  });

  test('a production file is refused in demo mode', () => {
    const path = join(dataDir, 'production.yaml');
    writeFileSync(path, readFileSync(DEMO_CEREMONY, 'utf8').replace('mode: demo', 'mode: production'));
    const into = mkdtempSync(join(tmpdir(), 'fp-cer3-'));
    const refused = ceremony(path, into);
    expect(refused.stderr).toContain('this installation runs as demo');
    expect(readdirSync(into)).toEqual([]);
    rmSync(into, { recursive: true });
  });
});

describe('a production ceremony', () => {
  let into: string;
  beforeAll(() => {
    into = mkdtempSync(join(tmpdir(), 'fp-prod-'));
  });
  afterAll(() => rmSync(into, { recursive: true, force: true }));

  test('refuses one person, and makes nothing', () => {
    const data = join(into, 'one');
    expect(ceremony(productionFile(into, false), data, 'production').stderr).toContain(
      'needs two different people present',
    );
    expect(existsSync(data)).toBe(false);
  });

  test('two people together open a root token; the PIN of neither does, and no file holds it', () => {
    const data = join(into, 'two');
    expect(ceremony(productionFile(into, true), data, 'production')).toMatchObject({ status: 0 });
    const login = (pin: string) => {
      const args = [
        '--module',
        softhsmModule(),
        '--token-label',
        'femtopki-access-root',
        '--login',
        '--pin',
        pin,
        '-O',
      ];
      const env = { ...process.env, SOFTHSM2_CONF: join(data, 'ca', 'offline', 'softhsm2.conf') };
      return spawnSync('pkcs11-tool', args, { env, encoding: 'utf8' });
    };
    const together = 'kim-user-sharelee-user-share';
    expect(login(together).stdout).toContain('access-root');
    for (const share of ['kim-user-share', 'lee-user-share']) expect(login(share).status).not.toBe(0);
    expect(spawnSync('grep', ['-rlF', 'user-share', data], { encoding: 'utf8' }).stdout).toBe('');
    expect(JSON.parse(readFileSync(join(data, 'ca', 'transcript.json'), 'utf8')).statement).toMatch(
      /^Two people were present/,
    );
  });
});
