import type { Act } from './act.js';
import { GATEWAY } from './factory-acts.js';
import { askGateway, askOcsp, makeRequest, verdictLine, verifyWithCrls } from './unit-tools.js';
import type { World } from './world.js';

const PATIENCE_MS = 5_000;

/** Reported stolen: known to OCSP, on the CRL, refused at renewal and at the gateway; and the log that proves it. */
export const stolenActs: readonly Act[] = [
  {
    name: 'stolen-ocsp',
    act: 'The unit is reported stolen, in one action; OCSP says so within five seconds',
    by: 'openssl ocsp, ocsptool',
    expected: 'openssl: revoked; ocsptool: revoked',
    happen: async (world) => {
      await world.cli(['unit', 'lost', world.serialNumber, '--reason', 'the customer reported a burglary']);
    },
    judge: (world) =>
      within(
        PATIENCE_MS,
        () => askOcsp(world, 'unit'),
        (said) => !said.includes('good'),
      ),
  },
  {
    name: 'stolen-crl',
    act: 'The next CRL lists it',
    by: 'openssl verify -crl_check_all',
    expected: 'certificate revoked',
    happen: async () => undefined,
    judge: (world) =>
      within(
        PATIENCE_MS,
        () => verifyWithCrls(world, 'unit'),
        (said) => said === 'certificate revoked',
      ),
  },
  {
    name: 'stolen-renewal',
    act: 'The thief asks for a new certificate with the stolen key, and hears no reason',
    by: 'curl',
    expected: '403 DENIED',
    happen: async () => undefined,
    judge: async (world) => {
      const nonce = await world.curl(`${world.enrolUrl}/v1/nonce`, { as: 'unit' });
      if (nonce.status !== 200) return `${nonce.status} ${String(nonce.json['code'])}`;
      const value = String(nonce.json['nonce']);
      await makeRequest(world, 'thief', { nonce: value });
      const signature = await signRenewal(world, value);
      const answer = await world.curl(`${world.enrolUrl}/v1/renew`, {
        as: 'unit',
        headers: ['Idempotency-Key: thief-0123456789abcdef'],
        body: { csr: world.read('thief.csr'), predecessorSignature: signature },
      });
      return `${answer.status} ${String(answer.json['code'])}`;
    },
  },
  {
    name: 'ledger',
    act: 'An auditor verifies the ledger, and openssl the token’s signature on its newest head',
    by: 'femtopki audit verify, openssl dgst',
    expected: 'ledger: whole; head: Verified OK',
    happen: async () => undefined,
    judge: async (world) => {
      const report = (await world.cli(['audit', 'verify'])) as { ok?: boolean; findings?: { message?: string }[] };
      return `ledger: ${report.ok === true ? 'whole' : JSON.stringify(report.findings)}; head: ${await within(
        PATIENCE_MS,
        () => verifyHead(world),
        (said) => said !== 'none yet',
      )}`;
    },
  },
  {
    name: 'stolen-gateway',
    act: 'The thief connects: same key, same certificate, still inside its life',
    by: 'curl, openssl dgst',
    expected: 'Verified OK: deny DEVICE_LOST',
    happen: async () => undefined,
    judge: async (world) => verdictLine(await askGateway(world, GATEWAY, 'unit'), 'DEVICE_LOST'),
  },
];

/** Signs what a renewal signs, with the old key, by openssl. */
export async function signRenewal(world: World, nonce: string): Promise<string> {
  await world.sh('openssl', 'req', '-in', 'thief.csr', '-outform', 'DER', '-out', 'thief.csr.der');
  const { stdout } = await world.sh('openssl', 'dgst', '-sha256', '-r', 'thief.csr.der');
  world.write('renew.txt', `femtopki-renew-v1\n${nonce}\n${stdout.slice(0, 64)}\n`);
  await world.sh('openssl', 'dgst', '-sha256', '-sign', 'unit.key', '-out', 'renew.sig', 'renew.txt');
  return (await world.sh('openssl', 'base64', '-A', '-in', 'renew.sig')).stdout.trim();
}

async function verifyHead(world: World): Promise<string> {
  const { rows } = await world.context.pool.query<{ head_text: string; signature: Buffer }>(
    'SELECT head_text, signature FROM ledger_head ORDER BY epoch DESC, size DESC LIMIT 1',
  );
  const head = rows[0];
  if (!head) return 'none yet';
  world.write('head.txt', head.head_text);
  world.write('head.sig.b64', head.signature.toString('base64'));
  await world.sh('openssl', 'base64', '-d', '-A', '-in', 'head.sig.b64', '-out', 'head.sig');
  await world.sh('openssl', 'x509', '-in', 'audit.ca.pem', '-pubkey', '-noout', '-out', 'audit.pub');
  const said = await world.sh(
    'openssl',
    'dgst',
    '-sha256',
    '-verify',
    'audit.pub',
    '-signature',
    'head.sig',
    'head.txt',
  );
  return said.stdout.trim();
}

/** Asks again until the answer is what it should become, or the time is over; the last answer is the verdict. */
export async function within(
  patienceMs: number,
  ask: () => Promise<string>,
  isFinal: (said: string) => boolean,
): Promise<string> {
  const until = Date.now() + patienceMs;
  for (;;) {
    const said = await ask();
    if (isFinal(said) || Date.now() > until) return said;
    await new Promise((done) => setTimeout(done, 250));
  }
}
