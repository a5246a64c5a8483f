/** The feed in a running installation: the gateway's own process, the worker's sequencer, the CLI, and `curl` as a gateway. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type ToldInstallation, toldInstallation } from '../support/told-installation.js';

const GATEWAY = 'segw-gangnam-1';
let told: ToldInstallation;

beforeAll(async () => {
  told = await toldInstallation();
  await told.tellUntil('activation');
}, 400_000);
afterAll(async () => {
  await told?.close();
}, 60_000);

// biome-ignore lint/suspicious/noExplicitAny: a test reads whatever a page holds
async function page(query: string): Promise<any> {
  const { world } = told;
  const { status, text } = await world.curl(`${world.gatewayUrl}/v1/feed?${query}`, { as: GATEWAY });
  if (status !== 200) throw new Error(`the feed answered ${status}: ${text}`);
  return JSON.parse(Buffer.from(text.split('.')[1] ?? '', 'base64url').toString());
}

async function acknowledge(position: string, stage: 'received' | 'enforced'): Promise<void> {
  const { world } = told;
  const body = { position, stage };
  const { status, text } = await world.curl(`${world.gatewayUrl}/v1/feed/acks`, { as: GATEWAY, body });
  if (status !== 200) throw new Error(`the acknowledgement was answered ${status}: ${text}`);
}

test('a unit reported lost reaches a waiting gateway within a second, and the CLI counts who has it', async () => {
  const { world } = told;
  const first = await page('after=0:0');
  expect(first).toMatchObject({ kind: 'resync', reason: 'unknown-epoch', gateway: GATEWAY });
  expect(first.crls.length).toBeGreaterThan(1);
  expect((await world.curl(first.crls[0].url)).status).toBe(200);
  for (const stage of ['received', 'enforced'] as const) await acknowledge(first.to, stage);

  const waiting = page(`after=${first.to}&wait=25`).then((read) => ({ read, heardAt: Date.now() }));
  await sleep(1_000);
  await world.cli(['unit', 'lost', world.serialNumber, '--reason', 'reported stolen']);
  const { read, heardAt } = await waiting;
  expect(read.entries).toContainEqual(
    expect.objectContaining({ event: 'held', unit: world.fqdn, reason: 'certificateHold' }),
  );
  expect(heardAt - Date.parse(read.entries[0].at)).toBeLessThan(1_000);

  const serial = read.entries[0].serial as string;
  const summary = async () => (await world.cli(['feed', 'status', '--serial', serial]))['summary'];
  expect(await summary()).toBe('0 of 1 gateway enforced');
  await acknowledge(read.to, 'received');
  expect(await summary()).toBe('0 of 1 gateway enforced');
  await acknowledge(read.to, 'enforced');
  expect(await summary()).toMatch(/^1 of 1 gateway enforced, slowest \d+ s$/);
  const gateways = (await world.cli(['gateway', 'list'])) as unknown as Record<string, unknown>[];
  expect(gateways).toContainEqual(
    expect.objectContaining({ name: GATEWAY, enforced: read.to, enforcedLagSeconds: 0, behind: null }),
  );
});
