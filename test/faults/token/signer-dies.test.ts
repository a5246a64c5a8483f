import { createHash } from 'node:crypto';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { readJournal } from '../../../src/platform/hsm/journal.js';
import { leafRequest } from '../../support/tbs.js';
import { type FreshToken, freshToken } from '../../support/token.js';

let token: FreshToken;
let stateDir: string;

beforeEach(async () => {
  token = await freshToken({ start: false });
  stateDir = join(token.dataDir, 'signer');
}, 60_000);
afterEach(() => token.dispose());

test('killed in the middle of its work, the CA process leaves no signature without its journal line, and comes back', async () => {
  await token.startSigner();
  const enrol = token.connect('enrol');
  const issuer = token.entry('device-ca-1');
  const requests = Array.from({ length: 4_000 }, () => leafRequest({ issuer }));
  const answers = Array.from({ length: 40 }, (_none, part) => enrol.sign(requests.slice(part * 100, part * 100 + 100)));
  const pid = pidOf('ca');
  // As soon as something was signed, and long before all of it is.
  await answers[0];
  process.kill(pid, 'SIGKILL');
  const results = (await Promise.all(answers)).flat();
  const signed = requests.filter((_request, index) => results[index]?.ok);
  expect(signed.length).toBeGreaterThan(0);
  expect(signed.length).toBeLessThan(requests.length);
  for (const result of results) if (!result.ok) expect(result.code).toBe('HSM_UNAVAILABLE');

  const journalled = new Map([...readJournal(stateDir, 'ca')].map((entry) => [entry.name, entry.tbsSha256Hex]));
  for (const { name, tbs } of signed) expect(journalled.get(name)).toBe(createHash('sha256').update(tbs).digest('hex'));
  await until(async () => (await enrol.sign([leafRequest({ issuer })]))[0]?.ok === true);
  const seqs = [...readJournal(stateDir, 'ca')].map(({ seq }) => seq);
  expect(seqs).toEqual(seqs.map((_seq, index) => index + 1));
}, 60_000);

test('a journal line torn by a power cut is cut off, and counting goes on', async () => {
  await token.startSigner();
  const enrol = token.connect('enrol');
  const issuer = token.entry('device-ca-1');
  await enrol.sign([leafRequest({ issuer }), leafRequest({ issuer })]);
  await token.stopSigner();
  appendFileSync(join(stateDir, 'journal-ca.log'), 'v1 3 2026-11-24T00:00:00.000Z operational device-ca-1 0100');
  expect([...readJournal(stateDir, 'ca')]).toHaveLength(2);
  await token.startSigner();
  await enrol.sign([leafRequest({ issuer })]);
  expect([...readJournal(stateDir, 'ca')].map(({ seq }) => seq)).toEqual([1, 2, 3]);
}, 60_000);

test('the journal is closed at its size and read on over its files', async () => {
  token.configure((config) => {
    config.journal.rotateBytes = 4_096;
  });
  await token.startSigner();
  const enrol = token.connect('enrol');
  const issuer = token.entry('device-ca-1');
  for (let batch = 0; batch < 4; batch += 1)
    await enrol.sign(Array.from({ length: 30 }, () => leafRequest({ issuer })));
  await token.stopSigner();
  await token.startSigner();
  await enrol.sign([leafRequest({ issuer })]);
  const seqs = [...readJournal(stateDir, 'ca')].map(({ seq }) => seq);
  expect(seqs).toEqual(Array.from({ length: 121 }, (_none, index) => index + 1));
}, 60_000);

test('above the cap leaves are RATE_LIMITED while CRLs and OCSP answers are not counted', async () => {
  token.configure((config) => {
    config.leavesPerSecondMax = 40;
  });
  await token.startSigner();
  const issuer = token.entry('device-ca-1');
  const results = await token.connect('enrol').sign(Array.from({ length: 200 }, () => leafRequest({ issuer })));
  const signed = results.filter((result) => result.ok).length;
  expect(signed).toBeGreaterThanOrEqual(40);
  expect(signed).toBeLessThan(80);
  for (const result of results) if (!result.ok) expect(result.code).toBe('RATE_LIMITED');
}, 60_000);

test('SIGTERM ends every process, and the parent takes its children along when it is killed', async () => {
  await token.startSigner();
  const pids = (['ca', 'ocsp', 'audit'] as const).map(pidOf);
  const parent = token.signerProcess();
  parent?.kill('SIGKILL');
  await until(() => pids.every((pid) => !isAlive(pid)));
  await token.startSigner();
  expect(await token.stopSigner()).toBe(0);
}, 60_000);

function pidOf(keyClass: 'ca' | 'ocsp' | 'audit'): number {
  const parent = token.signerProcess()?.pid;
  const children = readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').trim().split(' ').map(Number);
  const found = children.find((pid) =>
    readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(`--class\0${keyClass}\0`),
  );
  if (found === undefined) throw new Error(`no ${keyClass} process`);
  return found;
}

function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = Date.now() + 15_000;
  while (!(await holds())) {
    if (Date.now() > endMs) throw new Error(`it did not happen:\n${token.signerOutput().slice(-3_000)}`);
    await pause(50);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((wake) => setTimeout(wake, ms));
}
