/** The fuzz targets, small; at full count: `npm run fuzz`. */
import { describe, expect, test } from '@jest/globals';
import { protectAnew, proveAnew } from '../../../bench/fuzz/cmp/oracle.js';
import { fuzzRooms } from '../../../bench/fuzz/cmp/rooms.js';
import { cmpSeeds } from '../../../bench/fuzz/cmp/seeds.js';
import { cmpTarget } from '../../../bench/fuzz/cmp/target.js';
import { HOLDERS } from '../../../bench/fuzz/cmp/world.js';
import { seededRandom } from '../../../bench/fuzz/mutate.js';
import { runTarget } from '../../../bench/fuzz/run-target.js';
import { TARGETS } from '../../../bench/fuzz/targets.js';
import { readCertRequest, readPkiMessage } from '../../../src/x509/cmp/index.js';

test('a CMP message that is not bent is granted what it asks for, so that a bent one had something to lose', async () => {
  for (const seed of cmpSeeds()) {
    const depth = await cmpTarget([seed]).judge(seed.der);
    expect([seed.name, depth]).toEqual([seed.name, seed.waits ? 'policy' : 'accepted']);
  }
});

test('a room that is reached past the protection, or by a request that proves nothing, is told on', async () => {
  const seed = cmpSeeds().find(({ name }) => name === 'kur plain operational');
  if (seed === undefined) throw new Error('no such seed');
  const { body } = readPkiMessage(seed.der);
  const [request] = 'requests' in body ? body.requests : [];
  const csr = request === undefined ? null : readCertRequest(request).keyRequest;
  if (csr === null) throw new Error('no request');
  const reachedBy = async (message: Buffer): Promise<string[]> => {
    const rooms = fuzzRooms();
    const { faults } = rooms.begin(message, seed);
    await rooms.deps.renewal.renew({ csr } as never);
    return [...faults];
  };
  expect(await reachedBy(seed.der)).toEqual([]);
  const unprotected = Buffer.from(seed.der);
  const nonceAt = seed.der.indexOf(readPkiMessage(seed.der).senderNonce ?? 'none');
  unprotected[nonceAt] = (unprotected[nonceAt] ?? 0) ^ 1;
  expect(await reachedBy(unprotected)).toEqual(['renew was reached by a message without a right protection']);
  const anotherKey = protectAnew(proveAnew(seed.der, HOLDERS.vendor.key), seed.key);
  expect(await reachedBy(anotherKey)).toEqual(['renew was reached by a request that proves no possession']);
});

describe('bent messages never crash, hang or reach what they may not, and get deep enough to prove it', () => {
  test.each([
    ['csr', 1_000],
    ['ocsp', 1_000],
    ['cmp', 3_000],
  ])('%s, %i of them', async (name, runs) => {
    const make = TARGETS[name];
    if (make === undefined) throw new Error(`no target ${name}`);
    const seed = Date.now() % 2 ** 31;
    const report = await runTarget(make(), runs, seededRandom(seed));
    expect({ seed, crashes: report.crashes, crashed: report.counts.crash }).toEqual({ seed, crashes: [], crashed: 0 });
    const { counts } = report;
    expect(counts['DER gate'] / runs).toBeLessThan(0.5);
    expect((counts.policy + counts.accepted) / runs).toBeGreaterThan(0.1);
  });
});
