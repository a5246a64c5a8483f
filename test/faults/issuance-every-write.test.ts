/**
 * F13: the issuing process is killed at its first write, its second, … until it lives through the whole issuance. strace
 * strikes in the kernel, so no line of ours knows about it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { reconcile } from '../../src/lifecycle/issuance/index.js';
import { readSpki } from '../../src/x509/spki.js';
import { checkIssuance } from '../support/check-issuance.js';
import { startIssuanceProcess, type WireRequest } from '../support/issuance-process.js';
import {
  freshSpki,
  type IssuanceWorld,
  operational,
  startIssuanceWorld,
  type TestUnit,
} from '../support/issuance-world.js';

/** More than one issuance writes; if this is reached the counting went wrong. */
const WRITES_MAX = 120;

let world: IssuanceWorld;
beforeAll(async () => {
  world = await startIssuanceWorld();
}, 120_000);
afterAll(async () => {
  await world?.close();
});

test('killed at every write, one after the other, an issuance leaves nothing unexplained and its unit unharmed', async () => {
  const codes: string[] = [];
  for (let write = 1; write <= WRITES_MAX; write++) {
    const unit = await world.addUnit();
    const request = opening(unit);
    codes.push(await issueUntilWrite(request, write));
    await reconcile(world.reconciler, { signingLimitMs: 0 });
    const { rows } = await world.db.pool.query<{ state: string }>(
      `SELECT state FROM lineage_slot WHERE unit_id = $1 AND state IN ('pending', 'confirmed')`,
      [unit.id],
    );
    // Recorded or not at all; where it is not, the same request with the same key is served now.
    if (rows.length === 0) expect(await serveAgain(request)).toBe('ok');
    else expect(rows).toHaveLength(1);
    if (codes.at(-1) === 'ok') break;
  }
  expect(codes.at(-1)).toBe('ok');
  expect(codes.filter((code) => code === 'died').length).toBeGreaterThan(8);
  expect(await checkIssuance(world)).toEqual([]);
}, 600_000);

async function issueUntilWrite(request: WireRequest, write: number): Promise<string> {
  const issuing = await startIssuanceProcess(world);
  const tracer = await trace(issuing.child.pid ?? 0, write);
  const [outcome] = await issuing.issueMany([request]);
  if (outcome?.code !== 'died') await issuing.end();
  await issuing.ended;
  if (tracer.exitCode === null) await new Promise((done) => tracer.once('exit', done));
  return outcome?.code ?? '';
}

async function serveAgain(request: WireRequest): Promise<string> {
  const [outcome] = await world.issuance.issueMany([
    operational(request.unit, { spki: readSpki(Buffer.from(request.spkiHex, 'hex')), successor: request.successor }),
  ]);
  return outcome?.ok === true ? 'ok' : (outcome?.error.code ?? '');
}

/** Resolves once strace has attached to every thread. */
async function trace(pid: number, write: number): Promise<ChildProcess> {
  const calls = 'write,writev,sendto,sendmsg';
  const tracer = spawn(
    'strace',
    [
      '-f',
      '-p',
      String(pid),
      '-o',
      '/dev/null',
      '-e',
      `trace=${calls}`,
      '-e',
      `inject=${calls}:signal=KILL:when=${write}`,
    ],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  await new Promise<void>((attached, failed) => {
    let said = '';
    tracer.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (said.includes('attached')) attached();
    });
    tracer.once('error', failed);
    tracer.once('exit', () => failed(new Error(`strace ended: ${said}`)));
  });
  return tracer;
}

function opening(unit: TestUnit): WireRequest {
  return {
    unit,
    spkiHex: freshSpki().spkiDer.toString('hex'),
    successor: { lineageId: null, generation: 1, preissued: false, displacesSlotId: null },
  };
}
