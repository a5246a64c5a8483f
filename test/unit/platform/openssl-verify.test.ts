import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { ChainQuestion } from '../../../src/platform/chain-judge.js';
import { makeOpensslJudge } from '../../../src/platform/openssl-verify.js';
import { type VendorCertificate, VendorPki } from '../../support/vendor-ca.js';

const pki = new VendorPki();
const scratch = mkdtempSync(join(tmpdir(), 'fp-judge-'));
const directory = mkdtempSync(join(tmpdir(), 'fp-judge-files-'));
let root: VendorCertificate;
let leaf: VendorCertificate;
beforeAll(() => {
  root = pki.root({ subject: '/CN=Root' });
  leaf = pki.leaf(root, { subject: '/CN=unit' });
});
afterEach(() => {
  expect(readdirSync(directory)).toEqual([]);
});
afterAll(() => {
  pki.remove();
  for (const dir of [scratch, directory]) rmSync(dir, { recursive: true });
});

function question(changes: Partial<ChainQuestion> = {}): ChainQuestion {
  return {
    leafDer: leaf.der,
    rootDer: root.der,
    untrusted: [],
    crls: [],
    revocation: 'none',
    at: new Date(),
    ...changes,
  };
}

/** Another program in OpenSSL's place. */
function pretender(script: string): string {
  const file = join(scratch, `p${readdirSync(scratch).length}`);
  writeFileSync(file, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return file;
}

const answerOf = (script: string, timeoutMs = 20_000) =>
  makeOpensslJudge({ directory, program: pretender(script), timeoutMs }).judge(question());

describe('what OpenSSL answers', () => {
  test('a chain that leads to the root is trusted, at the instant that was asked for', async () => {
    const judge = makeOpensslJudge({ directory });
    expect(await judge.judge(question())).toEqual({ isTrusted: true });
    expect(await judge.judge(question({ at: new Date('2100-01-01') }))).toMatchObject({ fault: 'expired' });
    expect(await judge.judge(question({ at: new Date('2001-01-01') }))).toMatchObject({ fault: 'not-yet-valid' });
  });

  test('only the root that was asked for is believed, whatever the environment offers', async () => {
    const other = pki.root({ subject: '/CN=Root' });
    const judge = makeOpensslJudge({ directory });
    const before = { ...process.env };
    process.env['SSL_CERT_FILE'] = root.certFile;
    process.env['OPENSSL_CONF'] = join(scratch, 'no-such.cnf');
    try {
      expect(await judge.judge(question({ rootDer: other.der }))).toMatchObject({
        isTrusted: false,
        fault: 'untrusted',
      });
      expect(await judge.judge(question())).toEqual({ isTrusted: true });
    } finally {
      process.env = before;
    }
  });

  test('a CA on the way is not believed by itself: it proves nothing without its own issuer', async () => {
    const ca = pki.ca(root, { subject: '/CN=CA' });
    const below = pki.leaf(ca, { subject: '/CN=below' });
    const judge = makeOpensslJudge({ directory });
    const other = pki.root({ subject: '/CN=Other' });
    const asked = { leafDer: below.der, untrusted: [ca.der] };
    expect(await judge.judge(question(asked))).toEqual({ isTrusted: true });
    expect(await judge.judge(question({ ...asked, rootDer: other.der }))).toMatchObject({ fault: 'untrusted' });
    // Issued below the root, but no root: a path may not end there.
    expect(await judge.judge(question({ leafDer: below.der, rootDer: ca.der }))).toMatchObject({ fault: 'untrusted' });
  });

  test('of a revoked certificate and an ended CRL the graver is told', async () => {
    const crls = [pki.crl(root, { revoked: [leaf], days: 1 })];
    const at = new Date(Date.now() + 3 * 86_400_000);
    const judge = makeOpensslJudge({ directory });
    expect(await judge.judge(question({ crls, revocation: 'leaf', at }))).toMatchObject({ fault: 'revoked' });
    expect(await judge.judge(question({ revocation: 'leaf' }))).toMatchObject({ fault: 'crl' });
  });
});

describe('a judge that cannot be relied on', () => {
  test('neither the exit code nor the OK line alone means trust', async () => {
    for (const script of [
      'exit 0',
      'cat >/dev/null; echo "stdin: OK"; exit 1',
      'cat >/dev/null; echo "stdin: OK"; echo "error 10 at 0 depth lookup: certificate has expired" >&2',
      'cat >/dev/null; echo "stdin: OK"; echo "stdin: OK"',
      'cat >/dev/null; echo "evil.pem: OK"',
      'cat >/dev/null; echo "stdin: OK" >&2',
      'cat >/dev/null; echo "Error opening file, stdin: OK"',
    ]) {
      expect([script, await answerOf(script)]).toMatchObject([script, { isTrusted: false }]);
    }
  });

  test('one that hangs or floods is stopped, and the caller comes back later', async () => {
    await expect(answerOf('exec sleep 20', 300)).rejects.toMatchObject({ code: 'RETRY_LATER' });
    await expect(answerOf('exec yes')).rejects.toMatchObject({ code: 'RETRY_LATER' });
  });

  test('one that is not there is a fault of the installation', async () => {
    const judge = makeOpensslJudge({ directory, program: join(scratch, 'nothing') });
    await expect(judge.judge(question())).rejects.toMatchObject({
      code: 'INTERNAL',
      message: expect.stringContaining('femtopki doctor'),
    });
  });

  test('it sees files that nobody else may read, and nothing of our environment', async () => {
    const seen = join(scratch, 'seen');
    process.env['FEMTOPKI_TEST_SECRET'] = 'hidden';
    try {
      await answerOf(`cat >/dev/null; env > ${seen}; stat -c '%a %n' ${directory}/* ${directory}/*/* >> ${seen}`);
    } finally {
      delete process.env['FEMTOPKI_TEST_SECRET'];
    }
    const text = readFileSync(seen, 'utf8');
    expect(text).not.toContain('FEMTOPKI_TEST_SECRET');
    expect(text).toMatch(/^700 .*femtopki-chain-\w+$/m);
    expect(text).toMatch(/^600 .*root\.pem$/m);
  });

  test('at most four run at once and sixty-four wait; the next is sent away', async () => {
    const judge = makeOpensslJudge({ directory, program: pretender('cat >/dev/null; sleep 0.02; echo "stdin: OK"') });
    const outcomes = await Promise.allSettled(Array.from({ length: 70 }, () => judge.judge(question())));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(68);
    expect(outcomes.slice(68)).toMatchObject([
      { reason: { code: 'RETRY_LATER' } },
      { reason: { code: 'RETRY_LATER' } },
    ]);
  });
});
