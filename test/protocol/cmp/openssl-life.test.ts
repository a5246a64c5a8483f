import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readPkiMessage } from '../../../src/x509/cmp/index.js';
import { type CmpWorld, startCmpWorld } from '../../support/cmp-world.js';
import { runClient } from '../../support/command.js';
import type { CurlCredential } from '../../support/curl-unit.js';
import type { WorldUnit } from '../../support/device-world.js';

let cmp: CmpWorld;
let unit: WorldUnit;
let bootstrap: CurlCredential;
let op: CurlCredential;

beforeAll(async () => {
  cmp = await startCmpWorld();
  unit = await cmp.world.addUnit();
  bootstrap = cmp.bootstrapOf(unit);
});
afterAll(() => cmp.close());

describe('openssl cmp takes a unit through its life (RFC 9483 section 4)', () => {
  test('ir under the bootstrap certificate and an installer’s order is activation, certConf confirms it', async () => {
    await cmp.order(unit);
    const keyFile = await cmp.newKey();
    const run = await cmp.openssl('ir', { as: bootstrap, flags: ['-newkey', keyFile, '-subject', `/CN=${unit.fqdn}`] });
    expect(run).toMatchObject({ code: 0, hasCertificate: true });
    op = { pemFile: run.certFile, keyFile };
    expect(kinds(run.received)).toEqual(['ip', 'pkiConf']);
    expect(await slots(unit)).toEqual(['1 confirmed']);
    expect(await subject(op)).toContain(unit.fqdn);
    expect(cmp.world.alarms).toEqual([]);
  });

  test('ip carries the operator’s CAs up to the Access Root, which is its caPubs (TS 33.310 clause 9.5.4)', async () => {
    const other = await cmp.world.addUnit();
    await cmp.order(other);
    const keyFile = await cmp.newKey();
    const [caPubs, chain] = [cmp.file('capubs'), cmp.file('chain')];
    const run = await cmp.openssl('ir', {
      as: cmp.bootstrapOf(other),
      flags: ['-newkey', keyFile, '-cacertsout', caPubs, '-chainout', chain, '-out_trusted', accessRoot()],
    });
    expect(run.code).toBe(0);
    expect(readFileSync(caPubs, 'utf8').trim()).toBe(cmp.world.accessRootPem.trim());
    expect(readFileSync(chain, 'utf8')).toContain('BEGIN CERTIFICATE');
  });

  test('kur under the operational key renews, over TLS too', async () => {
    const keyFile = await cmp.newKey();
    const run = await cmp.openssl('kur', { as: op, tls: true, path: '/keyupdate', flags: ['-newkey', keyFile] });
    expect(run).toMatchObject({ code: 0, hasCertificate: true });
    expect(kinds(run.received)).toEqual(['kup', 'pkiConf']);
    expect(await slots(unit)).toEqual(['1 confirmed', '2 confirmed']);
    op = { pemFile: run.certFile, keyFile };
  });

  test('cr and p10cr under the operational key are renewals', async () => {
    const crKey = await cmp.newKey();
    const cr = await cmp.openssl('cr', { as: op, flags: ['-newkey', crKey] });
    expect(cr).toMatchObject({ code: 0, hasCertificate: true });
    op = { pemFile: cr.certFile, keyFile: crKey };
    const keyFile = await cmp.newKey();
    const csr = cmp.file('csr');
    await runClient('openssl', ['req', '-new', '-key', keyFile, '-subj', `/CN=${unit.fqdn}`, '-out', csr]);
    const p10cr = await cmp.openssl('p10cr', { as: op, path: '/pkcs10/', flags: ['-csr', csr] });
    expect(p10cr).toMatchObject({ code: 0, hasCertificate: true });
    expect(kinds(p10cr.received)).toEqual(['cp', 'pkiConf']);
    op = { pemFile: p10cr.certFile, keyFile };
    expect(await slots(unit)).toEqual(['1 confirmed', '2 confirmed', '3 confirmed', '4 confirmed']);
  });

  test('implicit confirm is granted where it is asked for, and leaves the renewal pending until its first use', async () => {
    const keyFile = await cmp.newKey();
    const run = await cmp.openssl('kur', { as: op, flags: ['-newkey', keyFile, '-implicit_confirm'] });
    expect(run).toMatchObject({ code: 0, hasCertificate: true });
    expect(kinds(run.received)).toEqual(['kup']);
    expect((await slots(unit)).at(-1)).toBe('5 pending');
    op = { pemFile: run.certFile, keyFile };
  });

  test.each(['caCerts', 'certReqTemplate', 'currentCRL', 'signKeyPairTypes'])(
    'genm %s is answered',
    async (infotype) => {
      const run = await cmp.openssl('genm', { as: op, flags: ['-infotype', infotype] });
      expect(run.code).toBe(0);
      expect(kinds(run.received)).toEqual(['genp']);
    },
  );

  test('rr revokes the certificate that protects it and suspends the unit', async () => {
    const run = await cmp.openssl('rr', {
      as: op,
      path: '/revocation',
      flags: ['-oldcert', op.pemFile, '-revreason', '4'],
    });
    expect(run.code).toBe(0);
    expect(kinds(run.received)).toEqual(['rp']);
    const { rows } = await cmp.world.db.pool.query('SELECT state FROM unit WHERE id = $1', [unit.id]);
    expect(rows).toEqual([{ state: 'SUSPENDED' }]);
    const again = await cmp.openssl('rr', { as: op, flags: ['-oldcert', op.pemFile] });
    expect(again.code).not.toBe(0);
    expect(again.text).toContain('certRevoked');
  });
});

function accessRoot(): string {
  return `${cmp.world.dir}/access-root.pem`;
}

function kinds(messages: readonly Buffer[]): string[] {
  return messages.map((der) => readPkiMessage(der).body.kind);
}

async function slots({ id }: WorldUnit): Promise<string[]> {
  const { rows } = await cmp.world.db.pool.query<{ generation: number; state: string }>(
    'SELECT generation, state FROM lineage_slot WHERE unit_id = $1 ORDER BY generation, id',
    [id],
  );
  return rows.map(({ generation, state }) => `${generation} ${state}`);
}

async function subject({ pemFile }: CurlCredential): Promise<string> {
  return (await runClient('openssl', ['x509', '-in', pemFile, '-noout', '-subject'])).text;
}
