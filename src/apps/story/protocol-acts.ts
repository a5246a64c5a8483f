import type { Act } from './act.js';
import { STATION } from './factory-acts.js';
import { openHomeRouter } from './home-router.js';
import { identityOf, makeRequest, thirdUnit, verifyWithCrls } from './unit-tools.js';
import type { World } from './world.js';

const ADDRESS = '127.0.0.3';

/** A unit whose firmware knows nothing of us: unmodified clients of two protocols that femtocells speak already. */
export const protocolActs: readonly Act[] = [
  {
    name: 'cmp',
    act: 'A third unit speaks only CMP, with an unmodified client: an installer’s order activates it, and it renews',
    by: 'openssl cmp, openssl verify -crl_check_all',
    expected: 'third.pem: OK; another serial and another key',
    happen: async (world) => {
      await enrolThird(world);
      await orderActivation(world);
      const router = await openHomeRouter({ target: new URL(world.cmpUrl), address: ADDRESS });
      try {
        await askByCmp(world, router.place, {
          command: 'ir',
          path: 'initialization',
          as: 'third-bootstrap',
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

async function enrolThird(world: World): Promise<void> {
  const { serialNumber, fqdn } = thirdUnit(world);
  await makeRequest(world, 'third-bootstrap', { commonName: fqdn });
  const enrolled = await world.curl(`${world.enrolUrl}/v1/factory/enrol`, {
    as: STATION,
    body: { serialNumber, csr: world.read('third-bootstrap.csr') },
  });
  if (enrolled.status >= 300) throw new Error(`factory: ${enrolled.status} ${enrolled.text}`);
  world.write('third-bootstrap.pem', String(enrolled.json['certificate']));
}

async function orderActivation(world: World): Promise<void> {
  const { serialNumber } = thirdUnit(world);
  const line = `${world.line}-C`;
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
