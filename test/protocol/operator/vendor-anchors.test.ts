import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { vendorAnchorAct } from '../../../src/operator/api/vendor-anchor-act.js';
import { pemBlock } from '../../../src/x509/pem.js';
import { runClient } from '../../support/command.js';
import { type OperatorWorld, operatorWorld } from '../../support/operator-world.js';
import { certificateOf, type VendorCertificate, VendorPki } from '../../support/vendor-ca.js';

const MAKER = 'Garam Celltech';
const MODEL = 'FC-200';
const data = mkdtempSync(join(tmpdir(), 'fp-vendor-cli-'));
const pki = new VendorPki();
let world: OperatorWorld;
let root: VendorCertificate;
let ca: VendorCertificate;
beforeAll(async () => {
  world = await operatorWorld();
  await world.db.pool.query(
    `INSERT INTO maker (name, manifest_key_spki, eui_prefixes, created_at) VALUES ($1, '\\x00', '{02}', now())`,
    [MAKER],
  );
  root = pki.root({ subject: '/O=Garam Celltech/CN=Root' });
  ca = pki.ca(root, { subject: '/O=Garam Celltech/CN=CA' });
  mkdirSync(join(data, 'secrets'));
  await addPerson('kim', 'operator');
  await addPerson('lee', 'approver');
});
afterAll(async () => {
  rmSync(data, { recursive: true });
  pki.remove();
  await world.close();
});

/** A person with credential and key where the CLI looks for them. */
async function addPerson(name: string, role: 'operator' | 'approver'): Promise<void> {
  const { people, clock } = world.deps;
  const now = clock.now();
  const person = await people.add({ name, role, makerId: null, at: now });
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  await people.setFirstKey(person.id, pair.publicKey.export({ type: 'spki', format: 'der' }));
  const token = randomBytes(32).toString('base64url');
  const hash = createHash('sha256').update(token).digest();
  const expiresAt = new Date(now.getTime() + 3_600_000);
  await people.addToken({ hash, personId: person.id, purpose: 'cli', createdAt: now, expiresAt });
  const secret = (file: string, text: string | Buffer) =>
    writeFileSync(join(data, 'secrets', file), text, { mode: 0o600 });
  secret(`cli-${name}.token`, token);
  secret(`person-${name}.key`, pair.privateKey.export({ type: 'pkcs8', format: 'pem' }));
}

const LOADER = new URL('../../../bin/ts-loader.mjs', import.meta.url).href;
const CLI = fileURLToPath(new URL('../../../src/apps/femtopki.ts', import.meta.url));
function femtopki(as: 'kim' | 'lee', ...args: string[]) {
  const globals = ['--server', world.url, '--data', data, '--as', as];
  return runClient(process.execPath, [
    '--disable-warning=ExperimentalWarning',
    ...['--import', LOADER, CLI, ...args, ...globals],
  ]);
}

function textOf(name: string, certificate = root, model = MODEL) {
  return {
    name,
    maker: MAKER,
    model,
    certificatePem: pemBlock('CERTIFICATE', certificate.der),
    intermediatePems: [] as string[],
  };
}

/** Asked by the operator, agreed to by the approver. */
async function approved(text: ReturnType<typeof textOf>): Promise<number> {
  const act = vendorAnchorAct(text);
  const asked = await world.call('operator', 'POST', '/approvals', {
    ...act,
    signature: world.signAs('operator', act, 'requester'),
  });
  const id = Number(asked.json['id']);
  await world.call('approver', 'POST', `/approvals/${id}/approve`, {
    signature: world.signAs('approver', act, 'approver'),
  });
  return id;
}

const add = (body: object) => world.call('operator', 'POST', '/vendor-anchors', body);

describe('believing a maker’s CA', () => {
  test('takes two people who signed these very certificates, this maker and this model', async () => {
    const text = textOf('api-root');
    expect((await add(text)).json).toMatchObject({ code: 'APPROVAL_REQUIRED' });
    const approval = await approved(text);
    for (const other of [
      textOf('api-root', root, 'FC-300'),
      textOf('other-name'),
      textOf('api-root', pki.root({ subject: '/CN=Rogue' })),
      { ...text, intermediatePems: [pemBlock('CERTIFICATE', ca.der)] },
    ]) {
      expect((await add({ ...other, approval })).json).toMatchObject({ code: 'APPROVAL_REQUIRED' });
    }
    const added = await add({ ...text, approval });
    expect(added).toMatchObject({ status: 200, json: { name: 'api-root', state: 'active', crls: 0, crlsUntil: null } });
    expect((await add({ ...textOf('api-root'), approval })).json['code']).toBe('STATE_CONFLICT');
    const { rows } = await world.db.pool.query(`SELECT body FROM ledger_inbox WHERE kind = 'vendor-anchor.added'`);
    expect(rows.map(({ body }) => JSON.parse(body))).toMatchObject([
      { actor: 'person:operator', approvedBy: 'person:approver', model: MODEL },
    ]);
  });

  test('an approval is kept where the anchor could not be entered', async () => {
    const text = textOf('kept', pki.root({ subject: '/CN=Kept' }), 'FC-400');
    const approval = await approved(text);
    await world.db.pool.query(`UPDATE maker SET name = 'renamed'`);
    expect((await add({ ...text, approval })).json['code']).toBe('NOT_FOUND');
    await world.db.pool.query('UPDATE maker SET name = $1', [MAKER]);
    expect((await add({ ...text, approval })).status).toBe(200);
  });

  test('a dry run judges it, needs one person, and enters nothing', async () => {
    const weak = pki.root({ subject: '/CN=Weak', key: 'rsa1024' });
    const good = await add({ ...textOf('dry', pki.root({ subject: '/CN=Dry' })), dryRun: true });
    expect(good).toMatchObject({ status: 200, json: { name: 'dry', dryRun: true } });
    expect((await add({ ...textOf('dry', weak), dryRun: true })).json['code']).toBe('KEY_WEAK');
    const listed = (await world.call('auditor', 'GET', '/vendor-anchors')).json as unknown as { name: string }[];
    expect(listed.map(({ name }) => name)).not.toContain('dry');
  });

  test('a private key, two certificates or none are no anchor', async () => {
    const key = pemBlock('PRIVATE KEY', Buffer.from('3000', 'hex'));
    const certificate = pemBlock('CERTIFICATE', root.der);
    for (const [certificatePem, code] of [
      [key, 'KEY_BLOCKED'],
      [certificate + certificate, 'BAD_REQUEST'],
      ['', 'BAD_REQUEST'],
      [pemBlock('X509 CRL', root.der), 'BAD_REQUEST'],
    ]) {
      const { json } = await add({ ...textOf('bad'), certificatePem, dryRun: true });
      expect(json['code']).toBe(code);
    }
  });

  test('an approver may end it, too; a CRL is taken by its bytes', async () => {
    const fresh = pki.root({ subject: '/CN=Ended' });
    const text = textOf('ended', fresh, 'FC-500');
    await add({ ...text, approval: await approved(text) });
    const crlBase64 = pki.crl(fresh, { days: 3 }).toString('base64');
    const crl = await world.call('operator', 'POST', '/vendor-anchors/ended/crl', { crlBase64 });
    expect(crl).toMatchObject({ status: 200, json: { crls: 1, crlsUntil: expect.stringMatching(/Z$/) } });
    const ended = await world.call('approver', 'POST', '/vendor-anchors/ended/disable', { reason: 'broken into' });
    expect(ended).toMatchObject({ status: 200, json: { state: 'disabled' } });
    expect((await add(text)).json['code']).toBe('APPROVAL_REQUIRED');
  });
});

test('a model is set by one person, piece by piece, and listed', async () => {
  const set = (body: object) => world.call('operator', 'POST', '/models', { maker: MAKER, model: 'FC-7', ...body });
  await set({ label: 'garam-fc7', tolerate: ['sender-null-dn'] });
  expect((await set({ allowMac: true })).json).toEqual({
    maker: MAKER,
    model: 'FC-7',
    label: 'garam-fc7',
    tolerances: ['sender-null-dn'],
    macAllowed: true,
  });
  expect((await set({ label: null, noTolerate: ['sender-null-dn'], allowMac: false })).json).toMatchObject({
    label: null,
    tolerances: [],
    macAllowed: false,
  });
  expect((await set({ tolerate: ['everything'] })).json['code']).toBe('BAD_REQUEST');
  expect((await world.call('auditor', 'GET', '/models')).json).toMatchObject([{ model: 'FC-7', macAllowed: false }]);
});

describe('by the command line', () => {
  const options = () => [
    '--maker',
    MAKER,
    '--model',
    'FC-600',
    '--certificate',
    root.certFile,
    '--intermediate',
    ca.certFile,
  ];

  test('request, approve, add, crl, list, disable', async () => {
    expect(await femtopki('kim', 'vendor-anchor', 'add', 'cli-root', ...options())).toMatchObject({
      code: 4,
      text: expect.stringContaining('femtopki vendor-anchor request'),
    });
    const checked = await femtopki('kim', 'vendor-anchor', 'add', 'cli-root', ...options(), '--dry-run', '-o', 'json');
    expect([checked.code, JSON.parse(checked.text)]).toMatchObject([
      0,
      { certificateSha256: certificateOf(root).fingerprint, dryRun: true },
    ]);
    const asked = await femtopki('kim', 'vendor-anchor', 'request', 'cli-root', ...options());
    expect(asked).toMatchObject({ code: 0, text: expect.stringContaining(certificateOf(root).fingerprint) });
    const { rows } = await world.db.pool.query('SELECT max(id) AS id FROM approval');
    const id = String(rows[0].id);
    expect(await femtopki('lee', 'approval', 'approve', id)).toMatchObject({ code: 0 });
    const added = await femtopki('kim', 'vendor-anchor', 'add', 'cli-root', ...options(), '--approval', id);
    expect(added).toMatchObject({ code: 0, text: expect.stringContaining('cli-root') });
    const crlFile = join(data, 'ca.crl');
    writeFileSync(crlFile, pemBlock('X509 CRL', pki.crl(ca, {})));
    expect(await femtopki('kim', 'vendor-anchor', 'crl', 'cli-root', '--crl', crlFile)).toMatchObject({ code: 0 });
    const listed = await femtopki('kim', 'vendor-anchor', 'list', '-o', 'json');
    expect(JSON.parse(listed.text)).toContainEqual(
      expect.objectContaining({ name: 'cli-root', maker: MAKER, intermediates: 1, crls: 1, state: 'active' }),
    );
    expect(await femtopki('lee', 'vendor-anchor', 'disable', 'cli-root', '--reason', 'a drill')).toMatchObject({
      code: 0,
      text: expect.stringContaining('disabled'),
    });
  });

  test('model set and list', async () => {
    const model = ['--maker', MAKER, '--model', 'FC-600'];
    const set = (...args: string[]) => femtopki('kim', 'model', 'set', ...model, ...args, '-o', 'json');
    const first = await set(
      '--label',
      'fc600',
      '--tolerate',
      'sender-null-dn',
      '--tolerate',
      'extra-certs-absent',
      '--allow-mac',
    );
    expect(JSON.parse(first.text)).toMatchObject({ label: 'fc600', macAllowed: true });
    const second = await set('--no-tolerate', 'sender-null-dn', '--no-allow-mac', '--no-label');
    expect(JSON.parse(second.text)).toMatchObject({
      label: null,
      tolerances: ['extra-certs-absent'],
      macAllowed: false,
    });
    const listed = await femtopki('kim', 'model', 'list', '-o', 'yaml');
    expect(listed).toMatchObject({ code: 0, text: expect.stringContaining('model: FC-600') });
  });
});
