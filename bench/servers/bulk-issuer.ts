/**
 * Issuance as a factory's bulk enrolment drives it: requests read and verified, then `issueMany`, over a real signer and a
 * durable PostgreSQL. Message `{prepare}` makes that many units and requests; `{seconds}` → BulkRound; `check` → findings.
 */
import { generateKeyPairSync, sign as signBytes } from 'node:crypto';
import type { ApprovedRequest } from '../../src/lifecycle/issuance/index.js';
import { assembleCsr, certificationRequestInfo } from '../../src/x509/build-csr.js';
import { readCsr } from '../../src/x509/csr.js';
import { verifyPossession } from '../../src/x509/key-request.js';
import type { TestUnit } from '../../test/support/issuance-world.js';
import { checkBulk } from '../measure/check-bulk.js';
import type { Round } from '../scenario.js';
import { cpuAn, startDurableWorld } from './durable-world.js';

const CHUNK = 256;
const LIFE_SECONDS = 7 * 86_400;
/** Chunks on the way: one is verified while others are signed and written. */
const LANES = 4;

/** `left`: prepared requests that were not used. */
export type BulkRound = Round & {
  readonly issued: number;
  readonly left: number;
  readonly cpu: Record<string, number>;
};

const { world, ready, cpuNow, endWith } = await startDurableWorld();
const stock: { unit: TestUnit; csr: Buffer }[] = [];
let issued = 0;
let refused = 0;
let firstRefusal = '';

async function prepare(count: number): Promise<void> {
  for (let made = 0; made < count; made += CHUNK) {
    for (const unit of await world.addUnits(CHUNK)) stock.push({ unit, csr: requestOf() });
  }
}

function requestOf(): Buffer {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const info = certificationRequestInfo({
    commonName: null,
    spkiDer: publicKey.export({ type: 'spki', format: 'der' }),
  });
  return assembleCsr(info, 'ecdsa-with-SHA256', signBytes('sha256', info, privateKey));
}

function approved({ unit, csr }: (typeof stock)[number]): ApprovedRequest {
  const read = readCsr(csr);
  if (!verifyPossession(read)) throw new Error('a good request was refused');
  return {
    purpose: 'operational',
    unitId: unit.id,
    machineId: null,
    commonName: unit.fqdn,
    sanDns: unit.fqdn,
    spki: read.spki,
    lifeSeconds: LIFE_SECONDS,
    revocationEpoch: unit.revocationEpoch,
    successor: { lineageId: null, generation: 1, preissued: false, displacesSlotId: null },
    actor: `unit:${unit.serialNumber}`,
    keyProved: true,
  };
}

async function round(seconds: number): Promise<BulkRound> {
  const before = cpuNow();
  const startMs = performance.now();
  const from = issued;
  const lane = async (): Promise<void> => {
    while (stock.length > 0 && performance.now() - startMs < seconds * 1_000) {
      const outcomes = await world.issuance.issueMany(stock.splice(0, CHUNK).map(approved));
      for (const outcome of outcomes) {
        if (outcome.ok) issued += 1;
        else {
          refused += 1;
          firstRefusal ||= `${outcome.error.code}: ${outcome.error.message}`;
        }
      }
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  const took = (performance.now() - startMs) / 1_000;
  const made = issued - from;
  return {
    perSecond: made / took,
    ...cpuAn(made, before, cpuNow()),
    generatorBusy: 0, // the caller is part of what is measured
    issued: made,
    left: stock.length,
  };
}

type Order = { seconds: number } | { prepare: number } | 'check';
const obey = async (order: Order): Promise<void> => {
  if (order === 'check') process.send?.(await checkBulk(world, { issued, refused, firstRefusal }));
  else if ('prepare' in order) process.send?.(await prepare(order.prepare).then(() => 'prepared'));
  else process.send?.(await round(order.seconds));
};
process.on('message', (order: Order) => void obey(order));
endWith(async () => undefined);
process.send?.(ready);
