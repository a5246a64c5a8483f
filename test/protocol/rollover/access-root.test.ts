import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readPins } from '../../../src/agent/check-server.js';
import { deviceFiles } from '../../../src/agent/device-files.js';
import { makeEnrolClient } from '../../../src/agent/enrol-client.js';
import { type FemtocellDeps, step } from '../../../src/agent/femtocell.js';
import { factoryState, loadState, saveState } from '../../../src/agent/unit-state.js';
import { rolloverState } from '../../../src/apps/doctor-rollover.js';
import { ceremonyWatch } from '../../../src/apps/worker-ceremonies.js';
import { hierarchyPath } from '../../../src/platform/hsm/hierarchy.js';
import { run, runClient } from '../../support/command.js';
import type { CurlCredential } from '../../support/curl-unit.js';
import { runEstPage } from '../../support/est-page.js';
import { extend } from '../../support/extension.js';
import { pageCommands } from '../../support/page-commands.js';
import { type RolloverWorld, startRolloverWorld } from '../../support/rollover-world.js';

let rollover: RolloverWorld;
let gateway: CurlCredential;
let sleeper: FemtocellDeps;
let estUnit: CurlCredential;
let cmpUnit: CurlCredential;
beforeAll(async () => {
  rollover = await startRolloverWorld();
  gateway = await rollover.world.addGateway('segw-1');
  sleeper = await agentUnit();
  estUnit = (await rollover.activeUnit(rollover.est)).op;
  cmpUnit = (await rollover.activeUnit(rollover.cmp)).op;
}, 60_000);
afterAll(() => rollover.close());

const alone = async (): Promise<string> => 'person:approver';

async function agentUnit(): Promise<FemtocellDeps> {
  const { world } = rollover;
  const unit = await world.addUnit();
  const files = deviceFiles(join(world.dir, `agent-${unit.serialNumber}`));
  saveState(files, factoryState({ keyPem: readFileSync(unit.keyFile, 'utf8'), certificatePem: unit.bootstrapPem }));
  const now = () => new Date();
  const pins = readPins(world);
  const client = makeEnrolClient(`https://localhost:${world.port}`, { pins, now, address: '127.0.0.1' });
  const deps = { files, client, accessRoot: pins.accessRoot, now, random: randomBytes };
  expect(await step(deps, { code: await world.grant(unit) })).toMatchObject({ did: 'activated' });
  return deps;
}

test('nothing is issued under a new Access Root before the gateways have acknowledged it and its CA (H11)', async () => {
  const { world, publish, acknowledge } = rollover;
  const { core, token } = world;
  expect(extend(token.dataDir)).toBe('');
  const entered = await ceremonyWatch(core, hierarchyPath(token.dataDir))();
  expect(entered.sort()).toEqual(['access-root-2', 'device-ca-3', 'device-ca-4']);
  // The signer takes the new keys up by itself.
  for (let tries = 0; tries < 300; tries += 1) {
    await publish().catch(() => undefined);
    const { rows } = await world.db.pool.query(
      `SELECT 1 FROM crl JOIN issuer i ON i.id = issuer_id WHERE label = 'device-ca-3'`,
    );
    if (rows.length > 0) break;
    await sleep(200);
  }
  const activate = () => core.caOffice.activate({ label: 'device-ca-3', actor: 'person:operator' }, alone);
  const shown = await world.client.call('GET', '/v1/anchors', { as: gateway });
  const { roots, cas, links } = shown.body;
  const shaOf = (list: { label: string; sha256: string }[], label: string) =>
    list.find((one) => one.label === label)?.sha256 ?? '';
  await expect(activate()).rejects.toMatchObject({ message: expect.stringContaining('access-root-2: segw-1') });
  expect(links).toMatchObject([{ from: 'access-root', to: 'access-root-2' }]);
  expect(await acknowledge(gateway, shaOf(roots, 'access-root-2'))).toBe(200);
  await expect(activate()).rejects.toMatchObject({ message: expect.stringContaining('device-ca-3: segw-1') });
  expect(await acknowledge(gateway, shaOf(cas, 'device-ca-3'))).toBe(200);
  expect(await activate()).toMatchObject({ state: 'active' });
}, 120_000);

test('a unit asleep through it all comes to the new root by the old one’s signature, keeps both, and openssl agrees', async () => {
  const { core } = rollover.world;
  await core.caOffice.retire({ label: 'device-ca-1', reason: 'the old root ends', actor: 'person:operator' }, alone);
  expect(await step(sleeper, { renewNow: true })).toMatchObject({ did: 'renewed' });
  const state = loadState(sleeper.files);
  expect(state?.accessRoots).toHaveLength(1);
  const file = (name: string, text = ''): string => {
    const path = join(rollover.world.dir, `sleeper-${name}`);
    writeFileSync(path, text);
    return path;
  };
  const leaf = file('leaf.pem', state?.current?.certificatePem);
  const chain = file('chain.pem', state?.current?.chainPem);
  const learnt = file('learnt.pem', state?.accessRoots?.[0]);
  expect(run('openssl', ['verify', '-CAfile', learnt, '-untrusted', chain, leaf]).text).toContain(': OK');
  const answer = await sleeper.client.call('GET', '/v1/anchors', { as: state?.bootstrap ?? fail() });
  const link = file('link.pem', String(answer.body['newWithOld']));
  // Without the self-signed new root: openssl would follow it instead of the link.
  const [caPem = ''] = state?.current?.chainPem.match(/-----BEGIN[\s\S]*?-----END CERTIFICATE-----\n/) ?? [];
  const ca = file('ca.pem', caPem);
  const byOld = ['-CAfile', join(rollover.world.dir, 'access-root.pem'), '-untrusted', ca, '-untrusted', link];
  expect(run('openssl', ['verify', ...byOld, leaf]).text).toContain(': OK');
  expect(await step(sleeper, { renewNow: true })).toMatchObject({ did: 'renewed' });
}, 60_000);

test('a root that no trusted one has signed is not believed, and the certificate under it is not kept', async () => {
  const fresh = loadState(sleeper.files);
  if (fresh === null) throw new Error('no state');
  const { accessRoots: _learnt, ...before } = fresh;
  saveState(sleeper.files, before);
  const unsigned: FemtocellDeps['client'] = {
    ...sleeper.client,
    call: async (method, path, options) => {
      const answer = await sleeper.client.call(method, path, options);
      return path === '/v1/anchors'
        ? { ...answer, body: { ...answer.body, newWithOld: answer.body['roots'] } }
        : answer;
    },
  };
  await expect(step({ ...sleeper, client: unsigned }, { renewNow: true })).rejects.toMatchObject({
    code: 'UNKNOWN_ISSUER',
  });
  expect(loadState(sleeper.files)?.accessRoots).toBeUndefined();
  expect(loadState(sleeper.files)?.current?.generation).toBe(before.current?.generation);
  expect(await step(sleeper)).toMatchObject({ did: 'renewed' });
  expect(loadState(sleeper.files)?.accessRoots).toHaveLength(1);
}, 60_000);

test('units that speak EST and CMP renew across the switch; openssl cmp trusts the old root alone, and takes it', async () => {
  for (const [protocol, op] of [
    [rollover.est, estUnit],
    [rollover.cmp, cmpUnit],
  ] as const) {
    expect([protocol.name, rollover.issuerOf(op)]).toEqual([protocol.name, 'device-ca-1']);
    const renewed = await protocol.renew(op);
    if (renewed.kind !== 'issued') throw new Error(JSON.stringify(renewed));
    expect([protocol.name, rollover.issuerOf(renewed.op)]).toEqual([protocol.name, 'device-ca-3']);
  }
});

test.each(['With curl and openssl', 'With strongSwan'])(
  'the commands of docs/est.md, %s, hold for a unit that knows the old root alone',
  async (heading) => {
    const { world } = rollover;
    const { code, text } = await runEstPage(world, await world.addUnit(), pageCommands('est.md', heading));
    expect([code, text]).toEqual([0, expect.stringContaining('.pem: OK')]);
  },
  60_000,
);

test('a signer killed in the middle costs a renewal nothing but time', async () => {
  const { token } = rollover.world;
  const before = loadState(sleeper.files)?.current?.generation ?? 0;
  token.signerProcess()?.kill('SIGKILL');
  const cut = await step(sleeper, { renewNow: true });
  await token.stopSigner();
  await token.startSigner();
  let did = cut.did as string;
  for (let tries = 0; did !== 'renewed' && tries < 100; tries += 1) {
    await sleep(200);
    did = await step(sleeper).then((result) => result.did);
  }
  expect(did).toBe('renewed');
  expect(loadState(sleeper.files)?.current?.generation).toBe(before + 1);
}, 60_000);

test('EST cacerts has both roots and both links, and doctor names the overlap', async () => {
  const { world } = rollover;
  const url = `https://localhost:${world.port}/.well-known/est/cacerts`;
  const trust = `--cacert ${join(world.dir, 'services-root.pem')} --resolve localhost:${world.port}:127.0.0.1`;
  const bag = `curl -sSf ${trust} ${url} | openssl base64 -d -A | openssl pkcs7 -inform DER -print_certs`;
  const { text } = await runClient('sh', ['-c', bag]);
  const pairs = [...text.matchAll(/subject=.*CN = (Access Root(?: 2)?) \S+\s+issuer=.*CN = (Access Root(?: 2)?) \S+/g)];
  expect(pairs.map(([, subject, issuer]) => `${subject} by ${issuer}`).sort()).toEqual([
    'Access Root 2 by Access Root',
    'Access Root 2 by Access Root 2',
    'Access Root by Access Root',
    'Access Root by Access Root 2',
  ]);
  const { evidence } = await rolloverState(world.db.url, null);
  expect(evidence).toContain('access-root-2 overlaps with access-root');
  expect(evidence).toContain('device-ca-2 is not acknowledged by segw-1');
});

test('doctor sees a key that may sign although its CA has stopped, and one that is barred too early', async () => {
  const { url } = rollover.world.db;
  const about = (...barred: string[]) => rolloverState(url, barred);
  const open = await about();
  expect(open).toMatchObject({ severity: 'warning', nextStep: expect.stringContaining('ca bar device-ca-1') });
  expect(open.evidence).toContain('device-ca-1 is closing, and the signer may still use its key');
  expect((await about('device-ca-1')).evidence).not.toMatch(/its key/);
  expect(await about('device-ca-1', 'device-ca-3')).toMatchObject({
    severity: 'critical',
    evidence: expect.stringContaining('device-ca-3 is active, and its key is barred'),
  });
  expect((await rolloverState(url, null)).evidence).not.toMatch(/its key/);
});

test('the old root is retired when nothing under it is left; who sleeps on comes to the new one all the same', async () => {
  const { world, femtopki } = rollover;
  const { caOffice } = world.core;
  const asked = femtopki(
    'operator',
    'ca',
    'request',
    '--act',
    'retire',
    'access-root',
    '--reason',
    'over',
    '-o',
    'json',
  );
  const { id } = JSON.parse(await asked) as { id: number };
  await femtopki('approver', 'approval', 'approve', String(id));
  const retire = () =>
    femtopki('operator', 'ca', 'retire', 'access-root', '--reason', 'over', '--approval', String(id), '-o', 'json');
  await expect(retire()).rejects.toThrow(
    /device-ca-1 \(closing\), device-ca-2 \(spare\), device-ca-4 \(spare\) under access-root are not retired/,
  );
  for (const label of ['device-ca-2', 'device-ca-4']) {
    await caOffice.retire({ label, reason: 'over', actor: 'person:operator' }, alone);
  }
  await endCertificatesOf('device-ca-1', 'device-ca-2', 'device-ca-4');
  expect((await caOffice.settleClosing()).sort()).toEqual(['device-ca-1', 'device-ca-2', 'device-ca-4']);
  expect(JSON.parse(await retire())).toMatchObject({ label: 'access-root', state: 'retired' });

  const shown = await world.client.call('GET', '/v1/anchors', { as: gateway });
  expect(shown.body).toMatchObject({ roots: [{ label: 'access-root-2' }], links: [{ to: 'access-root-2' }] });
  const state = loadState(sleeper.files);
  if (state === null) throw new Error('no state');
  const { accessRoots: _learnt, ...asleep } = state;
  saveState(sleeper.files, asleep);
  expect(await step(sleeper, { renewNow: true })).toMatchObject({ did: 'renewed' });
  expect(loadState(sleeper.files)?.accessRoots).toHaveLength(1);
  const { op } = await rollover.activeUnit(rollover.cmp);
  expect(rollover.issuerOf(op)).toBe('device-ca-3');
}, 60_000);

/** As if their life were over, and the minute in which another process may not know yet. */
async function endCertificatesOf(...labels: string[]): Promise<void> {
  const { pool } = rollover.world.db;
  const of = 'issuer_id IN (SELECT id FROM issuer WHERE label = ANY ($1))';
  await pool.query(`UPDATE issuer SET closed_at = now() - interval '2 minutes' WHERE label = ANY ($1)`, [labels]);
  await pool.query(`DELETE FROM revoked_certificate WHERE ${of}`, [labels]);
  await pool.query(`DELETE FROM certificate WHERE not_after > now() AND ${of}`, [labels]);
}

function fail(): never {
  throw new Error('no state');
}
