import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readPins } from '../../src/agent/check-server.js';
import { makeEnrolClient } from '../../src/agent/enrol-client.js';
import { wireCore } from '../../src/apps/wire-core.js';
import { dataPaths } from '../../src/platform/data-directory.js';
import { startEmbeddedPostgres } from '../../src/platform/db/embedded-postgres.js';
import { removeHome } from '../../src/platform/db/embedded-postgres-place.js';
import { openPool, type Pool } from '../../src/platform/db/pool.pg.js';
import { transactorOf } from '../../src/platform/db/transaction.pg.js';
import { type Hierarchy, hierarchyPath, readHierarchy } from '../../src/platform/hsm/hierarchy.js';
import { connectSigner } from '../../src/platform/hsm/signer-client.js';
import { startEnrolReplica } from '../../test/support/enrol-replica.js';
import { startInstallation } from '../../test/support/installation.js';
import { leftover } from '../../test/support/leftovers.js';
import { storyContext } from '../../test/support/story-context.js';
import type { UnitSeed } from '../servers/renewal-ports.js';
import type { Servers } from './returning-unit.js';
import { seedReturning } from './seed-returning.js';
import { seededRandom } from './virtual-fleet.js';

const HOUR_SECONDS = 3_600;
const START_MS_MAX = 300_000;
const REGIONS = 17;

export interface OutageWorld {
  readonly dir: string;
  readonly dataDir: string;
  readonly statusPort: number;
  readonly hierarchy: Hierarchy;
  readonly pool: Pool;
  /** Units in service, whose certificates were issued before the outage; each one's moment has come. */
  readonly seeds: readonly UnitSeed[];
  /** Two enrol-servers behind one rate. */
  readonly servers: readonly Servers[];
  /** The installation's time, not ours. */
  readonly now: () => Date;
  close(): Promise<void>;
}

export interface OutageWorldOptions {
  readonly count: number;
  readonly outageMs: number;
  readonly perSecond: number;
  /** Starts a process under the clock after the outage. */
  readonly clock: readonly string[];
}

/**
 * A whole installation that stood still for days: it issues certificates to a fleet, ends, and is started again, its
 * PostgreSQL included, under a clock that has moved on. Its processes are the real ones, and so is their record.
 */
export async function startOutageWorld(options: OutageWorldOptions): Promise<OutageWorld> {
  const undo: (() => Promise<unknown> | unknown)[] = [];
  const close = async (): Promise<void> => {
    isClosed();
    for (const action of undo.splice(0).reverse()) await action();
  };
  const isClosed = leftover(close);
  try {
    const dir = mkdtempSync(join(tmpdir(), 'fp-d6-'));
    const homeDir = join(dir, 'postgres');
    undo.push(() => {
      removeHome(homeDir);
      rmSync(dir, { recursive: true, force: true });
    });
    const files = { homeDir, logFile: join(dir, 'postgres.log') };
    const before = await startEmbeddedPostgres(files);
    undo.push(() => before.stop());
    const { outageMs, perSecond, clock } = options;
    const first = await startInstallation({
      ceremonyFirst: true,
      settings: { databaseUrl: before.url, renewal: { perSecond } },
    });
    undo.push(() => first.remove());
    await first.said('femtopki serves', START_MS_MAX);
    const { dataDir, config } = first;
    const hierarchy = readHierarchy(hierarchyPath(dataDir));
    const seeds = await seed(before.url, dataDir, hierarchy, options);

    // The outage.
    await first.end();
    await before.stop();
    const after = await startEmbeddedPostgres({ ...files, launcher: clock });
    undo.push(() => after.stop());
    const installation = await startInstallation({ dataDir, launcher: clock });
    undo.push(() => installation.end());
    await installation.said('femtopki serves', START_MS_MAX);
    const context = storyContext(dataDir, after.url);
    undo.push(() => context.pool.end());
    const replica = await startEnrolReplica(context, clock);
    undo.push(() => replica.close());
    const now = (): Date => new Date(Date.now() + outageMs);
    const serversOf = serversOver(hierarchy, now);
    return {
      dir,
      dataDir,
      statusPort: config.listen.status.port,
      hierarchy,
      pool: context.pool,
      seeds,
      servers: [
        serversOf(`https://localhost:${config.listen.enrol.port}`, config.listen.cmp.port),
        serversOf(replica.url, replica.cmpPort),
      ],
      now,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

export function pemOf({ entries }: Hierarchy, label: string): string {
  const entry = entries.find((one) => one.label === label);
  if (entry === undefined) throw new Error(`the hierarchy has no ${label}`);
  return entry.certificatePem;
}

/** Lives from 56 to 128 h: after 72 h those have what a fleet of seven-day certificates has left that was due meanwhile. */
async function seed(
  databaseUrl: string,
  dataDir: string,
  { realm }: Hierarchy,
  { count }: OutageWorldOptions,
): Promise<UnitSeed[]> {
  const pool = openPool(databaseUrl, { applicationName: 'drill-seed', connectionsMax: 6 });
  const signer = connectSigner({ runDir: dataPaths(dataDir).run, role: 'enrol' });
  const random = seededRandom(72);
  try {
    return await seedReturning(wireCore(transactorOf(pool)), signer, {
      count,
      realm,
      regions: REGIONS,
      lifeSecondsOf: () => Math.floor((56 + (72 * random(4).readUInt32BE(0)) / 2 ** 32) * HOUR_SECONDS),
    });
  } finally {
    await signer.close();
    await pool.end();
  }
}

function serversOver(hierarchy: Hierarchy, now: () => Date): (url: string, cmpPort: number) => Servers {
  const pins = readPins({
    servicesRootPem: pemOf(hierarchy, 'services-root'),
    accessRootPem: pemOf(hierarchy, 'access-root'),
  });
  return (url, cmpPort) => ({
    enrolPort: Number(new URL(url).port),
    cmpPort,
    client: makeEnrolClient(url, { pins, now, address: '127.0.0.1' }),
    pins,
    now,
    random: randomBytes,
  });
}
