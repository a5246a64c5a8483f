/** Two hosts over one database; one is cut off, the other carries on, and both agree when it is back. */
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ACTS } from '../../src/apps/story/story.js';
import { askOcsp } from '../../src/apps/story/unit-tools.js';
import type { World } from '../../src/apps/story/world.js';
import { startTwoHosts, type TwoHosts } from '../support/two-hosts.js';

/** A lease of a host that is away runs out, and another's statements end on this side. */
const TAKEN_OVER_MS = 90_000;

let hosts: TwoHosts;
let unit: World;
let unitAtB: World;
beforeAll(async () => {
  hosts = await startTwoHosts();
  unit = await hosts.a.world();
  const other = await hosts.b.world();
  const { enrolUrl, gatewayUrl, cmpUrl } = other;
  // Certificates name one place for status; this asks the host itself.
  const statusUrl = `http://127.0.0.1:${hosts.b.installation.config.listen.status.port}`;
  unitAtB = { ...unit, context: other.context, enrolUrl, gatewayUrl, statusUrl, cmpUrl, cli: other.cli };
}, 400_000);
afterAll(async () => {
  await hosts?.close();
}, 120_000);

test('a unit made and activated at one host is renewed and permitted at the other', async () => {
  for (const name of ['machines', 'manifest', 'bootstrap', 'activation']) await tell(unit, name);
  await tell(unitAtB, 'ocsp-good');
  await tell(unitAtB, 'permit');
  await tell(unitAtB, 'renewal');
}, 180_000);

test('with one host cut off, the other issues, revokes, and publishes; the one cut off says so and signs nothing', async () => {
  hosts.a.cut();
  await unitAtB.cli(['unit', 'lost', unit.serialNumber, '--reason', 'the customer reported a burglary']);
  await until(() => askOcsp(unitAtB, 'unit'), 'openssl: revoked; ocsptool: revoked');
  await until(() => verdictOf(unitAtB, 'stolen-crl'), 'certificate revoked');
  const next = await hosts.b.world();
  for (const name of ['machines', 'manifest', 'bootstrap', 'activation']) await tell(next, name);

  const answer = await unit.curl(`${unit.enrolUrl}/v1/nonce`, { as: 'unit', args: ['--max-time', '30'] });
  expect({ status: answer.status, code: answer.json['code'] }).toEqual({ status: 503, code: 'RETRY_LATER' });
  const fresh = await unit.sh(
    ...['openssl', 'ocsp', '-url', `${unit.statusUrl}/ocsp`, '-issuer', 'device-ca-1.ca.pem', '-cert', 'unit.pem'],
    ...['-CAfile', 'access-root.ca.pem', '-timeout', '20'],
  );
  expect(fresh.stdout + fresh.stderr).toMatch(/trylater/i);
}, 240_000);

test('back on the network it tells what happened meanwhile, and every record of both hosts agrees', async () => {
  hosts.a.join();
  await until(() => askOcsp(unit, 'unit'), 'openssl: revoked; ocsptool: revoked');
  await until(() => verdictOf(unit, 'stolen-renewal'), '403 DENIED');
  await until(async () => (await hosts.a.femtopki('audit', 'verify')).code, 0);
  await until(violations, []);
}, 240_000);

/** Of everything that both hosts wrote, by the ledger's own check on the host that was away. */
async function violations(): Promise<unknown[]> {
  const { text } = await hosts.a.femtopki(
    ...['check-ledger', '-o', 'json', '--signer-state', join(hosts.b.installation.dataDir, 'signer')],
  );
  const { invariants } = JSON.parse(text) as { invariants: { id: number; result: string; violations: unknown }[] };
  return invariants.filter(({ result }) => result !== 'ok');
}

function act(name: string): (typeof ACTS)[number] {
  const found = ACTS.find((candidate) => candidate.name === name);
  if (found === undefined) throw new Error(`the story has no act ${name}`);
  return found;
}

async function tell(world: World, name: string): Promise<void> {
  await act(name).happen(world);
  expect(`${name}: ${await act(name).judge(world)}`).toBe(`${name}: ${act(name).expected}`);
}

async function verdictOf(world: World, name: string): Promise<string> {
  return act(name).judge(world);
}

async function until<Seen>(look: () => Promise<Seen>, expected: Seen): Promise<void> {
  for (const end = Date.now() + TAKEN_OVER_MS; ; await new Promise((resolve) => setTimeout(resolve, 500))) {
    const got = await look();
    if (isDeepStrictEqual(got, expected)) return;
    if (Date.now() > end) expect(got).toEqual(expected);
  }
}
