import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Act } from './act.js';
import { openHomeRouter } from './home-router.js';
import { identityOf, makeRequest, thirdUnit, verifyWithCrls } from './unit-tools.js';
import { MAKER, MODEL, type World } from './world.js';

const ADDRESS = '127.0.0.3';
const ANCHOR = 'garam-root';

/** A unit whose firmware knows nothing of us: the maker's own certificate, an unmodified client, two old protocols. */
export const makerActs: readonly Act[] = [
  {
    name: 'maker-cmp',
    act: 'A third unit speaks only CMP and has only its maker’s certificate (TS 33.310): an installer’s order activates it, and it renews',
    by: 'openssl cmp, openssl verify -crl_check_all',
    expected: 'third.pem: OK; another serial and another key',
    happen: async (world) => {
      await believeMaker(world);
      await orderActivation(world);
      const router = await openHomeRouter({ target: new URL(world.cmpUrl), address: ADDRESS });
      try {
        await askByCmp(world, router.place, {
          command: 'ir',
          path: 'initialization',
          as: 'third-vendor',
          to: 'third-1',
        });
        await askByCmp(world, router.place, { command: 'kur', path: 'keyupdate', as: 'third-1', to: 'third' });
      } finally {
        router.close();
      }
    },
    judge: (world) => verdictOn(world, 'third-1'),
  },
  {
    name: 'est',
    act: 'The same unit renews by EST: one lineage, whatever language it speaks',
    by: 'curl, openssl pkcs7, openssl verify -crl_check_all',
    expected: 'third.pem: OK; another serial and another key',
    happen: async (world) => {
      await world.sh('cp', 'third.pem', 'third-2.pem');
      await world.sh('cp', 'third.key', 'third-2.key');
      await makeRequest(world, 'third', { commonName: thirdUnit(world).fqdn });
      await world.sh('openssl', 'req', '-in', 'third.csr', '-outform', 'DER', '-out', 'third.csr.der');
      await world.sh('openssl', 'base64', '-A', '-in', 'third.csr.der', '-out', 'third.csr.b64');
      const answer = await world.curl(`${world.enrolUrl}/.well-known/est/simplereenroll`, {
        as: 'third-2',
        args: ['--interface', ADDRESS],
        raw: { file: 'third.csr.b64', type: 'application/pkcs10' },
      });
      if (answer.status !== 200) throw new Error(`simplereenroll: ${answer.status} ${answer.text}`);
      world.write('third.p7.b64', answer.text);
      await world.sh('openssl', 'base64', '-d', '-A', '-in', 'third.p7.b64', '-out', 'third.p7');
      const said = await world.sh('openssl', 'pkcs7', '-inform', 'DER', '-in', 'third.p7', '-print_certs');
      world.write('third.pem', said.stdout);
    },
    judge: (world) => verdictOn(world, 'third-2'),
  },
];

async function verdictOn(world: World, before: string): Promise<string> {
  const [old, now] = await Promise.all([identityOf(world, `${before}.pem`), identityOf(world, 'third.pem')]);
  const fresh = old.serial !== now.serial && old.key !== now.key;
  return `${await verifyWithCrls(world, 'third')}; ${fresh ? 'another serial and another key' : 'the same serial or key'}`;
}

/** The maker's root as an anchor for this model: asked for by one person, approved by another, once an installation. */
async function believeMaker(world: World): Promise<void> {
  const known = (await world.cli(['vendor-anchor', 'list'])) as unknown as { name: string }[];
  if (known.some(({ name }) => name === ANCHOR)) return;
  const certificate = join(world.sharedDir, 'garam-root.pem');
  const anchor = [ANCHOR, '--maker', MAKER, '--model', MODEL, '--certificate', certificate];
  const asked = await world.cli(['vendor-anchor', 'request', ...anchor]);
  await world.cli(['approval', 'approve', String(asked['id'])], 'approver');
  await world.cli(['vendor-anchor', 'add', ...anchor, '--approval', String(asked['id'])]);
}

async function orderActivation(world: World): Promise<void> {
  const { serialNumber } = thirdUnit(world);
  const line = `${world.line}-V`;
  await world.cli(['line', 'add', line, '--region', 'gangnam', '--prefix', `${ADDRESS}/32`]);
  await world.cli(['grant', 'create', serialNumber, '--line', line, '--kind', 'order']);
}

async function askByCmp(
  world: World,
  server: string,
  { command, path, as, to }: { command: 'ir' | 'kur'; path: string; as: string; to: string },
): Promise<void> {
  await world.sh('openssl', 'ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', `${to}.key`);
  const said = await world.sh(
    'openssl',
    'cmp',
    ...['-cmd', command, '-server', server, '-path', `.well-known/cmp/${path}`],
    ...['-cert', `${as}.pem`, '-key', `${as}.key`, '-trusted', 'services-root.ca.pem'],
    ...['-newkey', `${to}.key`, '-certout', `${to}.pem`],
  );
  if (said.code !== 0) throw new Error(`openssl cmp -cmd ${command}: ${said.stderr.trim()}`);
}

/** The maker's root, made at the first telling, and the certificate that this unit leaves the maker's line with. */
export async function makeVendorCertificate(world: World): Promise<void> {
  const [key, root] = [join(world.sharedDir, 'garam-root.key'), join(world.sharedDir, 'garam-root.pem')];
  if (!existsSync(root)) {
    await world.sh(
      ...['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-noenc'],
      ...['-keyout', key, '-out', root, '-days', '3650', '-subj', '/O=Garam Celltech/CN=Garam Device Root'],
      ...['-addext', 'keyUsage=critical,keyCertSign,cRLSign'],
    );
  }
  await makeRequest(world, 'third-vendor', { commonName: thirdUnit(world).serialNumber });
  world.write(
    'third-vendor.ext',
    'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n',
  );
  const said = await world.sh(
    ...['openssl', 'x509', '-req', '-in', 'third-vendor.csr', '-CA', root, '-CAkey', key, '-days', '3650'],
    ...['-extfile', 'third-vendor.ext', '-out', 'third-vendor.pem'],
  );
  if (said.code !== 0) throw new Error(`openssl x509: ${said.stderr.trim()}`);
}
