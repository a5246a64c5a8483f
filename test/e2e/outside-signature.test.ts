/** The worst insider: a certificate signed by our own token, past the service. It chains, and nothing believes it. */
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { within } from '../../src/apps/story/stolen-acts.js';
import { askGateway, askOcsp, verdictLine, verifyWithCrls } from '../../src/apps/story/unit-tools.js';
import { type ToldInstallation, toldInstallation } from '../support/told-installation.js';

const GATEWAY = 'segw-gangnam-1';
const PATIENCE_MS = 15_000;
const LOADER = fileURLToPath(new URL('../../bin/ts-loader.mjs', import.meta.url));
const SIGNER = fileURLToPath(new URL('../support/outside-signer.ts', import.meta.url));
const CLI = fileURLToPath(new URL('../../bin/femtopki.mjs', import.meta.url));

let told: ToldInstallation;

beforeAll(async () => {
  told = await toldInstallation();
  await told.tellUntil('permit');
}, 300_000);
afterAll(async () => {
  await told?.close();
}, 60_000);

describe('a certificate in the name of a unit, signed with the installation’s token outside the service', () => {
  test('chains for openssl, revocation lists included', async () => {
    await signOutside('outside');
    expect(await verifyWithCrls(told.world, 'outside')).toBe('outside.pem: OK');
  });

  test('is good at no moment: OCSP holds a serial that was never issued for revoked', async () => {
    expect(await askOcsp(told.world, 'outside')).toBe('openssl: revoked; ocsptool: revoked');
    expect(await reasonOf('outside')).toBe('certificateHold');
  });

  test('is denied at a gateway by a decision that openssl verifies', async () => {
    const verdict = await askGateway(told.world, GATEWAY, 'outside');
    expect(verdictLine(verdict, 'NOT_RECORDED')).toBe('Verified OK: deny NOT_RECORDED');
  });

  test('is then entered as revoked: OCSP says so for good, and the next CRL lists it', async () => {
    const reason = await within(
      PATIENCE_MS,
      () => reasonOf('outside'),
      (said) => said === 'keyCompromise',
    );
    expect(reason).toBe('keyCompromise');
    expect(await askOcsp(told.world, 'outside')).toBe('openssl: revoked; ocsptool: revoked');
    const listed = await within(
      PATIENCE_MS,
      () => verifyWithCrls(told.world, 'outside'),
      (said) => said === 'certificate revoked',
    );
    expect(listed).toBe('certificate revoked');
  });

  test('opens one case, however often it is shown', async () => {
    await askGateway(told.world, GATEWAY, 'outside');
    await expectOpenCases(1);
  });

  test('is denied at the enrolment port too, entered as revoked there, and opens a case of its own', async () => {
    const { world } = told;
    await signOutside('second-outside');
    const answer = await world.curl(`${world.enrolUrl}/v1/nonce`, { as: 'second-outside' });
    expect([answer.status, answer.json['code']]).toEqual([403, 'DENIED']);
    const listed = await within(
      PATIENCE_MS,
      () => verifyWithCrls(world, 'second-outside'),
      (said) => said === 'certificate revoked',
    );
    expect(listed).toBe('certificate revoked');
    await expectOpenCases(2);
  });

  test('harms nobody else: the unit in whose name it stands is permitted, and its certificate is good', async () => {
    expect(verdictLine(await askGateway(told.world, GATEWAY, 'unit'))).toBe('Verified OK: permit');
    expect(await askOcsp(told.world, 'unit')).toBe('openssl: good; ocsptool: good');
  });

  test('leaves the ledger whole and every invariant true', async () => {
    const { world } = told;
    expect(await world.cli(['audit', 'verify'])).toMatchObject({ ok: true });
    // CRL and ledger catch up within a second or two; what stays wrong after that is wrong.
    const said = await within(
      PATIENCE_MS,
      async () => {
        const { code, stdout, stderr } = await world.sh(
          process.execPath,
          ...[CLI, 'check-ledger', '--data', told.installation.dataDir, '-o', 'json'],
        );
        const report = JSON.parse(stdout || '{}') as { invariants?: { result: string; name: string }[] };
        const violated = report.invariants?.filter(({ result }) => result === 'violated') ?? [];
        return `exit ${code}; ${report.invariants === undefined ? stderr : JSON.stringify(violated)}`;
      },
      (text) => text === 'exit 0; []',
    );
    expect(said).toBe('exit 0; []');
  });
});

/** `<name>.key` by openssl, `<name>.pem` by the token. */
async function signOutside(name: string): Promise<void> {
  const { world, installation } = told;
  await world.sh('openssl', 'ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', `${name}.key`);
  await world.sh('openssl', 'ec', '-in', `${name}.key`, '-pubout', '-out', `${name}.pub`);
  const said = await world.sh(
    process.execPath,
    ...['--import', LOADER, SIGNER, installation.dataDir, world.fqdn, world.path(`${name}.pub`)],
  );
  if (said.code !== 0) throw new Error(said.stderr);
  world.write(`${name}.pem`, said.stdout);
}

async function reasonOf(name: string): Promise<string> {
  const { world } = told;
  const { stdout } = await world.sh(
    'openssl',
    ...['ocsp', '-issuer', 'device-ca-1.ca.pem', '-cert', `${name}.pem`],
    ...['-url', `${world.statusUrl}/ocsp`, '-CAfile', 'access-root.ca.pem'],
  );
  return /Reason: (\w+)/.exec(stdout)?.[1] ?? stdout;
}

async function expectOpenCases(count: number): Promise<void> {
  const openCases = async (): Promise<number> => {
    const cases = (await told.world.cli(['case', 'list', '--state', 'open'])) as unknown as { kind: string }[];
    return cases.filter(({ kind }) => kind === 'unrecorded-certificate').length;
  };
  const seen = await within(
    PATIENCE_MS,
    async () => String(await openCases()),
    (said) => said === String(count),
  );
  expect(seen).toBe(String(count));
}
