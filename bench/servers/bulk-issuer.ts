/**
 * Issuance as a factory's bulk enrolment drives it: requests read and verified, then `issueMany`, over a real signer and a
 * durable PostgreSQL. Message `{prepare}` makes that many units and requests; `{seconds}` → BulkRound; `check` → findings.
 */
import { generateKeyPairSync, sign as signBytes } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ApprovedRequest } from '../../src/lifecycle/issuance/index.js';
import { startEmbeddedPostgres } from '../../src/platform/db/embedded-postgres.js';
import { removeHome } from '../../src/platform/db/embedded-postgres-place.js';
import { migrate } from '../../src/platform/db/migrate.js';
import { openPool } from '../../src/platform/db/pool.pg.js';
import { readSignerConfig } from '../../src/platform/hsm/signer-config.js';
import { assembleCsr, certificationRequestInfo } from '../../src/x509/build-csr.js';
import { readCsr } from '../../src/x509/csr.js';
import { verifyPossession } from '../../src/x509/key-request.js';
import { startIssuanceWorld, type TestUnit } from '../../test/support/issuance-world.js';
import { checkBulk } from '../measure/check-bulk.js';
import { treeCpuSeconds } from '../measure/process-tree.js';
import type { Round } from '../scenario.js';

const CHUNK = 256;
const LIFE_SECONDS = 7 * 86_400;
/** Chunks on the way: one is verified while others are signed and written. */
const LANES = 4;

export interface BulkReady {
  readonly databaseUrl: string;
  readonly token: { path: string; environment: Record<string, string>; tokenLabel: string; pinFile: string };
  readonly keyLabel: string;
}

/** `left`: prepared requests that were not used. */
export type BulkRound = Round & {
  readonly issued: number;
  readonly left: number;
  readonly cpu: Record<string, number>;
};

const home = mkdtempSync(join(tmpdir(), 'fp-bench-pg-'));
const postgres = await startEmbeddedPostgres({ homeDir: home, logFile: join(home, 'log') });
await migrate(postgres.url);
const pool = openPool(postgres.url, { applicationName: 'bench', connectionsMax: 10 });
const world = await startIssuanceWorld({
  database: { url: postgres.url, pool, drop: () => pool.end() },
  token: {
    configure: (config) => {
      config.leavesPerSecondMax = 1_000_000;
    },
  },
});
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

const cpuNow = () => {
  const { user, system } = process.cpuUsage();
  return {
    issuing: (user + system) / 1e6,
    signer: treeCpuSeconds(world.token.signerProcess()?.pid ?? 0),
    database: treeCpuSeconds(postgres.pid),
  };
};

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
  const after = cpuNow();
  const made = issued - from;
  const cpu = {
    issuing: (after.issuing - before.issuing) / made,
    signer: (after.signer - before.signer) / made,
    database: (after.database - before.database) / made,
  };
  return {
    perSecond: made / took,
    cpuSecondsPerOperation: cpu.issuing + cpu.signer + cpu.database,
    generatorBusy: 0, // the caller is part of what is measured
    issued: made,
    left: stock.length,
    cpu,
  };
}

type Order = { seconds: number } | { prepare: number } | 'check';
const obey = async (order: Order): Promise<void> => {
  if (order === 'check') process.send?.(await checkBulk(world, { issued, refused, firstRefusal }));
  else if ('prepare' in order) process.send?.(await prepare(order.prepare).then(() => 'prepared'));
  else process.send?.(await round(order.seconds));
};
process.on('message', (order: Order) => void obey(order));
let isEnding = false;
const end = async (): Promise<void> => {
  if (isEnding) return;
  isEnding = true;
  await world.close();
  await postgres.stop();
  removeHome(home);
  process.exit(0);
};
process.on('SIGTERM', () => void end());
process.on('disconnect', () => void end());
const { module, tokenLabel, pinFile } = readSignerConfig(world.token.signerConfigPath);
process.send?.({
  databaseUrl: postgres.url,
  token: { ...module, tokenLabel, pinFile },
  keyLabel: 'device-ca-1',
} satisfies BulkReady);
