import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parse, stringify } from 'yaml';
import { enterHierarchy, loadHierarchy } from '../../../src/lifecycle/registry/index.js';
import { issuerStore } from '../../../src/lifecycle/registry/issuer-store.pg.js';
import { transactorOf } from '../../../src/platform/db/transaction.pg.js';
import { type Hierarchy, hierarchyPath, readHierarchy } from '../../../src/platform/hsm/hierarchy.js';
import { ledger } from '../../../src/platform/ledger/ledger.pg.js';
import { freshDatabase, type TestDatabase } from '../../support/database.js';
import { extend, NEXT_ROOT } from '../../support/extension.js';
import { leafRequest } from '../../support/tbs.js';
import { type FreshToken, freshToken } from '../../support/token.js';

let token: FreshToken;
let first: Hierarchy;
let next: Hierarchy;
beforeAll(async () => {
  token = await freshToken();
  first = token.hierarchy;
}, 60_000);
afterAll(() => token.dispose());

const openssl = (...args: string[]) => {
  const { stdout, stderr } = spawnSync('openssl', args, { cwd: join(token.dataDir, 'ca'), encoding: 'utf8' });
  return stdout + stderr;
};

describe('a later ceremony that brings a new Access Root and spares', () => {
  test('wants nothing that there is already, and nobody who is missing', () => {
    const file = join(token.dataDir, 'bad.yaml');
    const wish = parse(readFileSync(NEXT_ROOT, 'utf8'));
    wish.cas[0].label = 'device-ca-1';
    writeFileSync(file, stringify(wish));
    expect(extend(token.dataDir, file)).toContain('device-ca-1 are in the hierarchy already');
    writeFileSync(file, stringify({ ...wish, root: { ...wish.root, succeeds: 'services-root' } }));
    expect(extend(token.dataDir, file)).toContain('services-root is no Access Root');
    writeFileSync(file, stringify({ ...parse(readFileSync(NEXT_ROOT, 'utf8')), mode: 'production' }));
    expect(extend(token.dataDir, file)).toContain('this hierarchy was made for demo');
    expect(existsSync(join(token.dataDir, 'ca', 'access-root-2.pem'))).toBe(false);
  });

  test('openssl walks from the old root to the new CA, and from the new root to the old one', () => {
    expect(extend(token.dataDir)).toBe('');
    const link = 'access-root-2.by-access-root.pem';
    expect(openssl('verify', '-x509_strict', '-CAfile', 'access-root.pem', 'device-ca-3.pem')).toContain('error 20');
    for (const args of [
      ['-CAfile', 'access-root.pem', '-untrusted', link, 'device-ca-3.pem'],
      ['-CAfile', 'access-root-2.pem', '-untrusted', 'access-root.by-access-root-2.pem', 'device-ca-1.pem'],
      ['-CAfile', 'access-root-2.pem', 'device-ca-3.pem'],
      ['-CAfile', 'access-root.pem', 'device-ca-4.pem'],
    ]) {
      expect(openssl('verify', '-x509_strict', ...args)).toContain(': OK');
    }
    expect(
      openssl('crl', '-inform', 'DER', '-in', 'access-root-2.crl', '-CAfile', 'access-root-2.pem', '-noout'),
    ).toContain('verify OK');
    const record = readdirSync(join(token.dataDir, 'ca')).find((name) => /^extension-.*\.json$/.test(name)) ?? '';
    openssl('x509', '-in', 'audit.pem', '-pubkey', '-noout', '-out', 'audit.pub');
    expect(openssl('dgst', '-sha256', '-verify', 'audit.pub', '-signature', `${record}.sig`, record)).toContain('OK');
    next = readHierarchy(hierarchyPath(token.dataDir));
  }, 60_000);

  test('the running signer takes the new keys up by itself, and what it signed with before goes on', async () => {
    const enrol = token.connect('enrol');
    const young = next.entries.find(({ label }) => label === 'device-ca-3');
    const old = next.entries.find(({ label }) => label === 'device-ca-1');
    if (!young || !old) throw new Error('the hierarchy lacks a CA');
    for (let tries = 0; ; tries += 1) {
      const [result] = await enrol.sign([leafRequest({ issuer: young })]);
      if (result?.ok) break;
      if (tries > 300) throw new Error(`${result?.code}: ${result?.message}\n${token.signerOutput().slice(-2_000)}`);
      await sleep(100);
    }
    expect(await enrol.sign([leafRequest({ issuer: old })])).toMatchObject([{ ok: true }]);
  }, 60_000);

  test('held again it only finishes: the signer’s file is made whole, no key is made', () => {
    const path = join(token.dataDir, 'signer', 'signer.yaml');
    const whole = readFileSync(path, 'utf8');
    const config = parse(whole);
    config.purposes.crl.keys = config.purposes.crl.keys.filter((label: string) => label !== 'device-ca-3');
    writeFileSync(path, stringify(config));
    expect(extend(token.dataDir)).toBe('');
    expect(parse(readFileSync(path, 'utf8')).purposes.crl.keys).toContain('device-ca-3');
    expect(readHierarchy(hierarchyPath(token.dataDir))).toEqual(next);
  });
});

describe('what a later ceremony made, in the record', () => {
  let db: TestDatabase;
  beforeAll(async () => {
    db = await freshDatabase();
    await transactorOf(db.pool).run((tx) => loadHierarchy({ issuers: issuerStore }, tx, first, new Date()));
  });
  afterAll(() => db.drop());
  const enter = (hierarchy: Hierarchy) =>
    transactorOf(db.pool).run((tx) => enterHierarchy({ issuers: issuerStore, ledger }, tx, hierarchy, new Date()));

  test('a root that the one on record has not signed is refused, with everything under it', async () => {
    const [link] = next.links ?? [];
    if (!link) throw new Error('there is no link');
    const { links: _links, ...unlinked } = next;
    await expect(enter(unlinked)).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    for (const forged of [
      { ...link, newWithOldPem: next.entries.find(({ label }) => label === 'access-root-2')?.certificatePem ?? '' },
      { ...link, oldWithNewPem: link.newWithOldPem },
      { ...link, predecessor: 'services-root' },
    ]) {
      await expect(enter({ ...next, links: [forged] })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    }
    const { rows } = await db.pool.query(`SELECT label FROM issuer WHERE label = 'access-root-2'`);
    expect(rows).toEqual([]);
  });

  test('the new root and the spares are entered once, and the ledger says so', async () => {
    const made = ['access-root-2', 'device-ca-3', 'device-ca-4'];
    expect((await enter(next)).sort()).toEqual(made);
    expect(await enter(next)).toEqual([]);
    const { rows } = await db.pool.query(
      `SELECT subject, body FROM ledger_inbox WHERE kind = 'ca.entered' ORDER BY subject`,
    );
    expect(rows.map(({ subject }) => subject)).toEqual(made.map((label) => `issuer:${label}`));
    const states = await db.pool.query(`SELECT label, state FROM issuer WHERE label = ANY($1) ORDER BY label`, [made]);
    expect(states.rows.map(({ state }) => state)).toEqual(['offline', 'spare', 'spare']);
  });
});
