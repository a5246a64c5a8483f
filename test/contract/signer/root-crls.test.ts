import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { DEMO_CEREMONY, productionFile } from '../../support/ceremony-file.js';
import { softhsmModule } from '../../support/token.js';

const ROOTS = ['access-root', 'bootstrap-root', 'services-root'];

function child(script: string, ...args: string[]) {
  const path = resolve('test', 'support', script);
  return spawnSync(process.execPath, ['--import', resolve('bin', 'ts-loader.mjs'), path, ...args], {
    encoding: 'utf8',
  });
}

function laterCeremony(data: string, ...more: string[]) {
  return child('root-crls-child.ts', DEMO_CEREMONY, data, softhsmModule(), ...more);
}

/** What OpenSSL reads in a root's CRL after it has checked the signature. */
function crlText(data: string, root: string): string {
  const args = ['crl', '-inform', 'DER', '-in', `${root}.crl`, '-CAfile', `${root}.pem`, '-noout', '-text'];
  const { stdout, stderr } = spawnSync('openssl', args, { cwd: join(data, 'ca'), encoding: 'utf8' });
  expect(stderr).toContain('verify OK');
  return stdout;
}

function numberOf(text: string): number {
  return Number(/X509v3 CRL Number:\s+(\d+)/.exec(text)?.[1]);
}

/** openssl verify of a CA against its root and the root's own CRL. */
function verifyCa(data: string, ca: string): string {
  const caDir = join(data, 'ca');
  const crl = spawnSync('openssl', ['crl', '-inform', 'DER', '-in', 'access-root.crl'], {
    cwd: caDir,
    encoding: 'utf8',
  });
  writeFileSync(join(caDir, 'access-root.crl.pem'), crl.stdout);
  const args = ['verify', '-crl_check', '-CAfile', 'access-root.pem', '-CRLfile', 'access-root.crl.pem', `${ca}.pem`];
  const { stdout, stderr } = spawnSync('openssl', args, { cwd: caDir, encoding: 'utf8' });
  unlinkSync(join(caDir, 'access-root.crl.pem'));
  return stdout + stderr;
}

describe('a later ceremony', () => {
  let first: string;
  let data: string;

  beforeAll(() => {
    first = mkdtempSync(join(tmpdir(), 'fp-rcrl-'));
    expect(child('ceremony-child.ts', DEMO_CEREMONY, first, softhsmModule(), 'http://pki.example')).toMatchObject({
      status: 0,
    });
  }, 60_000);
  afterAll(() => rmSync(first, { recursive: true, force: true }));

  /** SoftHSM's configuration names its folder, so the copy takes the original's place while it is used. */
  function onCopy(use: () => void): void {
    const kept = `${first}-kept`;
    cpSync(first, kept, { recursive: true });
    data = first;
    try {
      use();
    } finally {
      rmSync(first, { recursive: true });
      cpSync(kept, first, { recursive: true });
      rmSync(kept, { recursive: true });
    }
  }

  test('every root signs a CRL with the next number and a hundred new days, and the record names the people', () => {
    onCopy(() => {
      const before = ROOTS.map((root) => numberOf(crlText(data, root)));
      expect(laterCeremony(data)).toMatchObject({ status: 0, stderr: '' });
      expect(ROOTS.map((root) => numberOf(crlText(data, root)))).toEqual(before.map((number) => number + 1));
      const [record = ''] = readdirSync(join(data, 'ca')).filter((name) => name.startsWith('root-crls-'));
      const said = JSON.parse(readFileSync(join(data, 'ca', record), 'utf8'));
      expect(said.people).toContainEqual({ name: 'Demo operator', role: 'lead', present: true });
      expect(said.crls.map(({ label }: { label: string }) => label)).toEqual(ROOTS);
    });
  });

  test('a CA that its root takes back is refused by OpenSSL, its sibling is not, and the next CRL still lists it', () => {
    onCopy(() => {
      expect(verifyCa(data, 'device-ca-2')).toContain('device-ca-2.pem: OK');
      expect(laterCeremony(data, 'demo', 'device-ca-2')).toMatchObject({ status: 0, stderr: '' });
      expect(laterCeremony(data)).toMatchObject({ status: 0, stderr: '' });
      expect(crlText(data, 'access-root')).toContain('CA Compromise');
      expect(crlText(data, 'bootstrap-root')).toContain('No Revoked Certificates');
      expect(verifyCa(data, 'device-ca-2')).toContain('certificate revoked');
      expect(verifyCa(data, 'device-ca-1')).toContain('device-ca-1.pem: OK');
      expect(laterCeremony(data, 'demo', 'device-ca-2').stderr).toContain('is revoked already');
    });
  });

  test('doctor counts the days: quiet, a warning with 30 left, critical at the end, and quiet again after the ceremony', () => {
    onCopy(() => {
      const doctorIn = (days: number): string => {
        const cli = ['--import', resolve('bin', 'ts-loader.mjs'), resolve('src', 'apps', 'femtopki.ts')];
        const doctor = ['doctor', '--only', 'root-crl', '-o', 'json', '--data', data];
        const { stdout } = spawnSync('faketime', ['-f', `+${days}d`, process.execPath, ...cli, ...doctor], {
          encoding: 'utf8',
        });
        return JSON.parse(stdout)[0];
      };
      expect(doctorIn(60)).toMatchObject({ severity: 'ok' });
      expect(doctorIn(71)).toMatchObject({ severity: 'warning' });
      expect(doctorIn(101)).toMatchObject({ severity: 'critical', nextStep: expect.stringContaining('ca sign-crls') });
      expect(laterCeremony(data)).toMatchObject({ status: 0 });
      expect(doctorIn(60)).toMatchObject({ severity: 'ok' });
    });
  });

  test('without the last CRL, or with one of another root in its place, nothing is signed', () => {
    onCopy(() => {
      const ca = join(data, 'ca');
      const others = ROOTS.slice(1).map((root) => readFileSync(join(ca, `${root}.crl`)));
      cpSync(join(ca, 'services-root.crl'), join(ca, 'access-root.crl'));
      expect(laterCeremony(data).stderr).toContain('is not signed by access-root');
      unlinkSync(join(ca, 'access-root.crl'));
      expect(laterCeremony(data).stderr).toContain('put the newest published CRL of access-root there');
      expect(existsSync(join(ca, 'access-root.crl'))).toBe(false);
      expect(ROOTS.slice(1).map((root) => readFileSync(join(ca, `${root}.crl`)))).toEqual(others);
    });
  });

  test('a label that is no CA, a file of another mode, and a lost PIN file are refused', () => {
    onCopy(() => {
      expect(laterCeremony(data, 'demo', 'access-root').stderr).toContain('access-root is no CA of this hierarchy');
      expect(laterCeremony(data, 'production').stderr).toContain('The ceremony file is for demo');
      unlinkSync(join(data, 'secrets', 'ceremony', 'femtopki-services-root.pin'));
      expect(laterCeremony(data).stderr).toContain('put the file back');
      expect(numberOf(crlText(data, 'access-root'))).toBe(1);
    });
  });
});

test('in production two people open the roots again with their shares; one alone does not', () => {
  const into = mkdtempSync(join(tmpdir(), 'fp-rcrl2-'));
  const data = join(into, 'data');
  const url = 'http://pki.example';
  const module = softhsmModule();
  expect(child('ceremony-child.ts', productionFile(into, true), data, module, url, 'production').stderr).toBe('');
  const alone = child('root-crls-child.ts', productionFile(into, false), data, module, 'production');
  expect(alone.stderr).toContain('needs two different people present');
  expect(numberOf(crlText(data, 'access-root'))).toBe(1);
  expect(child('root-crls-child.ts', productionFile(into, true), data, module, 'production').stderr).toBe('');
  expect(numberOf(crlText(data, 'access-root'))).toBe(2);
  rmSync(into, { recursive: true });
});
