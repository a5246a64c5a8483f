import type { Act } from './act.js';
import { GATEWAY, STATION } from './factory-acts.js';
import { within } from './stolen-acts.js';
import { unitAgent } from './unit-agent.js';
import { askGateway, askOcsp, identityOf, makeRequest, secondEui, verdictLine, verifyWithCrls } from './unit-tools.js';
import type { World } from './world.js';

const PATIENCE_MS = 30_000;

/** At the customer's line: activated, permitted, renewed by itself and by the rotation worker. */
export const serviceActs: readonly Act[] = [
  {
    name: 'bootstrap-at-gateway',
    act: 'Somebody tries the factory identity at a gateway',
    by: 'curl, openssl dgst',
    expected: 'Verified OK: deny UNKNOWN_ISSUER',
    happen: async () => undefined,
    judge: async (world) => verdictLine(await askGateway(world, GATEWAY, 'bootstrap'), 'UNKNOWN_ISSUER'),
  },
  {
    name: 'no-grant',
    act: 'The unit asks to be activated before the operator allowed it',
    by: 'curl',
    expected: '403 DENIED',
    happen: async (world) => {
      await makeRequest(world, 'early', { nonce: await nonceOf(world, 'bootstrap') });
    },
    judge: async (world) => {
      const answer = await world.curl(`${world.enrolUrl}/v1/activate`, {
        as: 'bootstrap',
        headers: ['Idempotency-Key: early-0123456789abcdef'],
        body: { csr: world.read('early.csr'), code: 'AAAA-AAAA-AAAA-AAAA' },
      });
      return `${answer.status} ${String(answer.json['code'])}`;
    },
  },
  {
    name: 'activation',
    act: 'The operator grants a one-time code for one line; the unit, its clock at 1970, asks the time and activates',
    by: 'openssl verify -crl_check_all',
    expected: 'unit.pem: OK',
    happen: async (world) => {
      await world.cli(['line', 'add', world.line, '--region', 'gangnam', '--prefix', '127.0.0.1/32', '::1/128']);
      const grant = await world.cli(['grant', 'create', world.serialNumber, '--line', world.line]);
      await unitAgent(world).activate(String(grant['code']));
    },
    judge: (world) => verifyWithCrls(world, 'unit'),
  },
  {
    name: 'ocsp-good',
    act: 'Two relying parties ask for the status of the new certificate',
    by: 'openssl ocsp, ocsptool',
    expected: 'openssl: good; ocsptool: good',
    happen: async () => undefined,
    judge: (world) =>
      within(
        5_000,
        () => askOcsp(world, 'unit'),
        (said) => said === 'openssl: good; ocsptool: good',
      ),
  },
  {
    name: 'permit',
    act: 'The unit connects; the gateway asks and gets a signed answer',
    by: 'curl, openssl dgst',
    expected: 'Verified OK: permit',
    happen: async () => undefined,
    judge: async (world) => verdictLine(await askGateway(world, GATEWAY, 'unit')),
  },
  {
    name: 'renewal',
    act: 'The operator moves the advised window to now; the unit renews by itself, with a new key, and confirms',
    by: 'openssl verify, openssl x509',
    expected: 'unit.pem: OK; another serial and another key',
    happen: async (world) => {
      await world.sh('cp', 'unit.pem', 'generation-1.pem');
      await moveWindowToNow(world, world.serialNumber);
      await unitAgent(world).renew();
    },
    judge: async (world) => {
      const [old, now] = await Promise.all([identityOf(world, 'generation-1.pem'), identityOf(world, 'unit.pem')]);
      const fresh = old.serial !== now.serial && old.key !== now.key;
      return `${await verifyWithCrls(world, 'unit')}; ${fresh ? 'another serial and another key' : 'the same serial or key'}`;
    },
  },
  {
    name: 'pre-issue',
    act: 'A second unit has a key that cannot change: the rotation worker issues its next certificate ahead (story only, until attestation lands)',
    by: 'openssl verify, openssl x509',
    expected: 'second.pem: OK; another serial and the same key',
    happen: (world) => preIssue(world),
    judge: async (world) => {
      const [old, now] = await Promise.all([identityOf(world, 'second-1.pem'), identityOf(world, 'second.pem')]);
      const right = old.serial !== now.serial && old.key === now.key;
      return `${await verifyWithCrls(world, 'second')}; ${right ? 'another serial and the same key' : 'the same serial or another key'}`;
    },
  },
];

/** The second unit, by curl and openssl alone: enrolled, activated from its own address, then served by the worker. */
async function preIssue(world: World): Promise<void> {
  const serialNumber = `${world.serialNumber}-P`;
  const commonName = `${secondEui(world)}.${world.fqdn.split('.').slice(1).join('.')}`;
  const from = ['--interface', '127.0.0.2'];
  await makeRequest(world, 'second-bootstrap', { commonName });
  const enrolled = await world.curl(`${world.enrolUrl}/v1/factory/enrol`, {
    as: STATION,
    body: { serialNumber, csr: world.read('second-bootstrap.csr') },
  });
  world.write('second-bootstrap.pem', String(enrolled.json['certificate']));
  await world.cli(['unit', 'profile', serialNumber, 'operational-7d-preissue']);
  await world.cli(['line', 'add', `${world.line}-P`, '--region', 'gangnam', '--prefix', '127.0.0.2/32']);
  const grant = await world.cli(['grant', 'create', serialNumber, '--line', `${world.line}-P`]);
  await makeRequest(world, 'second', { commonName, nonce: await nonceOf(world, 'second-bootstrap') });
  const activated = await world.curl(`${world.enrolUrl}/v1/activate`, {
    as: 'second-bootstrap',
    args: from,
    headers: ['Idempotency-Key: second-0123456789abcdef'],
    body: { csr: world.read('second.csr'), code: grant['code'] },
  });
  if (activated.status !== 200) throw new Error(`activation: ${activated.status} ${activated.text}`);
  world.write('second.pem', String(activated.json['certificate']));
  world.write('second-1.pem', String(activated.json['certificate']));
  const confirmed = await world.curl(`${world.enrolUrl}/v1/confirm`, { as: 'second', args: from, body: {} });
  await moveWindowToNow(world, serialNumber);
  await within(
    PATIENCE_MS,
    async () => String((await world.curl(`${world.enrolUrl}/v1/advice`, { as: 'second', args: from })).json['pickup']),
    (pickup) => pickup === 'true',
  );
  const picked = await world.curl(`${world.enrolUrl}/v1/pickup`, {
    as: 'second',
    args: from,
    body: { lineageToken: confirmed.json['lineageToken'] },
  });
  if (picked.status !== 200) throw new Error(`pick-up: ${picked.status} ${picked.text}`);
  world.write('second.pem', String(picked.json['certificate']));
  const second = await world.curl(`${world.enrolUrl}/v1/confirm`, { as: 'second', args: from, body: {} });
  if (second.status !== 200) throw new Error(`confirm: ${second.status} ${second.text}`);
}

async function moveWindowToNow(world: World, serialNumber: string): Promise<void> {
  const from = new Date(Date.now() - 60_000).toISOString();
  const until = new Date(Date.now() + 3_600_000).toISOString();
  await world.cli(['unit', 'window', serialNumber, '--from', from, '--until', until]);
}

async function nonceOf(world: World, as: string): Promise<string> {
  const answer = await world.curl(`${world.enrolUrl}/v1/nonce`, { as });
  if (answer.status !== 200) throw new Error(`nonce: ${answer.status} ${answer.text}`);
  return String(answer.json['nonce']);
}
