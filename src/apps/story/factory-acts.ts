import { createPrivateKey } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CompactSign } from 'jose';
import type { Act } from './act.js';
import { makeRequest, secondEui, thirdUnit } from './unit-tools.js';
import { EUI_PREFIX, MAKER, type World } from './world.js';

const STATION = 'garam-station-1';
const GATEWAY = 'segw-gangnam-1';

/** The ceremony, the people, the factory: until the unit has an identity that is worth nothing at a gateway. */
export const factoryActs: readonly Act[] = [
  {
    name: 'ceremony',
    act: 'Three roots came from the ceremony; the Access Root vouches for the Device CA and for no other CA',
    by: 'openssl verify',
    expected: 'device-ca-1: OK; bootstrap-ca and services-ca: refused',
    happen: async () => undefined,
    judge: async (world) => {
      const verdict = async (label: string) =>
        (await world.sh('openssl', 'verify', '-x509_strict', '-CAfile', 'access-root.ca.pem', `${label}.ca.pem`)).stdout
          .trim()
          .endsWith(': OK');
      const device = await verdict('device-ca-1');
      const others = (await verdict('bootstrap-ca')) || (await verdict('services-ca'));
      return `device-ca-1: ${device ? 'OK' : 'refused'}; bootstrap-ca and services-ca: ${others ? 'OK' : 'refused'}`;
    },
  },
  {
    name: 'machines',
    act: 'A station and a gateway ask with their own keys; a second person approves; the rotation worker certifies them',
    by: 'openssl verify',
    expected: `${STATION}.pem: OK, ${GATEWAY}.pem: OK`,
    happen: async (world) => {
      await ensureMaker(world);
      await certifyMachine(world, 'station', STATION, ['--maker', MAKER]);
      await certifyMachine(world, 'gateway', GATEWAY, ['--dns', `${GATEWAY}.hanbit.example`]);
    },
    judge: async (world) => {
      const { stdout } = await world.sh(
        'openssl',
        'verify',
        '-CAfile',
        'services-root.ca.pem',
        '-untrusted',
        'services-ca.ca.pem',
        `${STATION}.pem`,
        `${GATEWAY}.pem`,
      );
      return stdout.trim().split('\n').join(', ');
    },
  },
  {
    name: 'manifest',
    act: 'The maker submits a signed manifest, and an altered copy of it',
    by: 'curl',
    expected: 'signed: accepted; altered: refused',
    happen: async (world) => {
      world.write('manifest.jws', await signedManifest(world));
    },
    judge: async (world) => {
      const [header = '', payload = '', signature = ''] = world.read('manifest.jws').split('.');
      const altered = Buffer.from(Buffer.from(payload, 'base64url').toString().replace('FC-200', 'FC-900')).toString(
        'base64url',
      );
      world.write('altered.jws', [header, altered, signature].join('.'));
      const refused = await submit(world, 'altered.jws');
      const accepted = await submit(world, 'manifest.jws');
      return `signed: ${isAccepted(accepted) ? 'accepted' : `${accepted.status} ${accepted.text}`}; altered: ${refused.status >= 400 ? 'refused' : isAccepted(refused) ? 'accepted' : 'no answer'}`;
    },
  },
  {
    name: 'bootstrap',
    act: `The operator accepts the batch; the station enrols the unit with a request that openssl made`,
    by: 'curl, openssl verify',
    expected: 'stranger: 403 NOT_ON_MANIFEST; unit: bootstrap.pem: OK',
    happen: async (world) => {
      const batches = (await world.cli(['batch', 'list'])) as unknown as { id: number; name: string }[];
      const batch = batches.find(({ name }) => name === world.batch);
      if (!batch) throw new Error(`batch ${world.batch} is not in the list`);
      await world.cli(['batch', 'accept', String(batch.id)]);
      await world.cli([
        'factory-credential',
        'add',
        `cred-${world.batch.toLowerCase()}`,
        '--maker',
        MAKER,
        '--batch',
        world.batch,
        '--site',
        'pyeongtaek',
        '--cidr',
        '127.0.0.0/8',
        '::1/128',
        '--station',
        STATION,
        '--hours',
        '12',
      ]);
      await makeRequest(world, 'bootstrap');
    },
    judge: async (world) => {
      const stranger = await world.curl(`${world.enrolUrl}/v1/factory/enrol`, {
        as: STATION,
        body: { serialNumber: 'SHB-24-99999X', csr: world.read('bootstrap.csr') },
      });
      const enrolled = await enrol(world, 'bootstrap.pem');
      const { stdout, stderr } = await world.sh(
        'openssl',
        'verify',
        '-CAfile',
        'bootstrap-root.ca.pem',
        '-untrusted',
        'bootstrap-ca.ca.pem',
        'bootstrap.pem',
      );
      return `stranger: ${stranger.status} ${String(stranger.json['code'])}; unit: ${enrolled < 300 ? stdout.trim() || stderr.trim() : enrolled}`;
    },
  },
  {
    name: 'factory-retry',
    act: 'The station lost the answer and asks again with the same key',
    by: 'cmp',
    expected: 'identical',
    happen: async (world) => {
      await enrol(world, 'bootstrap-again.pem');
    },
    judge: async (world) => {
      const { code, stdout } = await world.sh('cmp', 'bootstrap.pem', 'bootstrap-again.pem');
      return code === 0 ? 'identical' : stdout.trim();
    },
  },
];

export { GATEWAY, STATION };

async function enrol(world: World, file: string): Promise<number> {
  const answer = await world.curl(`${world.enrolUrl}/v1/factory/enrol`, {
    as: STATION,
    body: { serialNumber: world.serialNumber, csr: world.read('bootstrap.csr') },
  });
  if (answer.status < 300) world.write(file, String(answer.json['certificate']));
  return answer.status;
}

function submit(world: World, file: string) {
  return world.curl(`${world.enrolUrl}/v1/factory/manifests`, { as: STATION, raw: { file, type: 'application/jose' } });
}

/** Curl without an answer has the status 0. */
function isAccepted({ status }: { status: number }): boolean {
  return status >= 200 && status < 300;
}

/** The maker, with its key, is made at the first telling and stays. */
async function ensureMaker(world: World): Promise<void> {
  const key = join(world.sharedDir, 'garam.key');
  if (!existsSync(key)) {
    await world.sh('openssl', 'ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', key);
    await world.sh('openssl', 'ec', '-in', key, '-pubout', '-out', join(world.sharedDir, 'garam.pub'));
  }
  const makers = (await world.cli(['maker', 'list'])) as unknown as { name: string }[];
  if (makers.some(({ name }) => name === MAKER)) return;
  await world.cli([
    'maker',
    'add',
    MAKER,
    '--manifest-key',
    join(world.sharedDir, 'garam.pub'),
    '--eui-prefix',
    EUI_PREFIX,
  ]);
}

/** Request, approval by the second person, certificate; a machine that has one already only hands it over. */
async function certifyMachine(
  world: World,
  kind: 'station' | 'gateway',
  name: string,
  options: readonly string[],
): Promise<void> {
  const key = join(world.sharedDir, `${name}.key`);
  if (!existsSync(key)) await world.sh('openssl', 'ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', key);
  await world.sh('cp', key, `${name}.key`);
  const known = (await world.cli([kind, 'list'])) as unknown as { name: string }[];
  if (!known.some((machine) => machine.name === name)) {
    await world.sh('openssl', 'req', '-new', '-key', key, '-subj', `/CN=${name}`, '-out', `${name}.csr`);
    await world.cli([kind, 'add', name, '--csr', world.path(`${name}.csr`), ...options]);
    await world.cli(['machine', 'approve', name], 'approver');
  }
  for (let tries = 0; tries < 60; tries++) {
    const machine = await world.cli(['machine', 'show', name]);
    if (typeof machine['certificatePem'] === 'string') return world.write(`${name}.pem`, machine['certificatePem']);
    await new Promise((done) => setTimeout(done, 500));
  }
  throw new Error(`${name} got no certificate within 30 s`);
}

/** Three units: the one of the story, one whose key cannot change (for pre-issue), and one that speaks CMP and EST. */
async function signedManifest(world: World): Promise<string> {
  const third = thirdUnit(world);
  const payload = {
    maker: MAKER,
    batch: world.batch,
    model: 'FC-200',
    firmwareSha256: 'a3'.repeat(32),
    units: [
      { serialNumber: world.serialNumber, eui: world.eui, hardwareId: `HW-${world.eui}`, productClass: 'FC200' },
      {
        serialNumber: `${world.serialNumber}-P`,
        eui: secondEui(world),
        hardwareId: `HW-${secondEui(world)}`,
        productClass: 'FC200',
      },
      {
        serialNumber: third.serialNumber,
        eui: third.eui,
        hardwareId: `HW-${third.eui}`,
        productClass: 'FC200',
      },
    ],
    createdAt: new Date().toISOString(),
    nonce: `${world.serialNumber}-${Date.now()}`,
  };
  const { stdout } = await world.sh(
    'openssl',
    'pkcs8',
    '-topk8',
    '-nocrypt',
    '-in',
    join(world.sharedDir, 'garam.key'),
  );
  return await new CompactSign(Buffer.from(JSON.stringify(payload)))
    .setProtectedHeader({ alg: 'ES256' })
    .sign(createPrivateKey(stdout));
}
