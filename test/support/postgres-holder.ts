/**
 * Holds the PostgreSQL of one test run: a process of its own, because a Jest worker may be replaced at any time.
 * Started by the first test file that asks (database.ts); ends on SIGTERM from the teardown, or when the run is gone.
 *
 * usage: postgres-holder.ts RUN_DIR RUN_PID
 */
import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { startEmbeddedPostgres } from '../../src/platform/db/embedded-postgres.js';
import { removeHome } from '../../src/platform/db/embedded-postgres-place.js';
import { migrate } from '../../src/platform/db/migrate.js';

const [runDir = '', runPid = ''] = process.argv.slice(2);
const homeDir = join(runDir, 'postgres');
const pidFile = join(runDir, 'holder.pid');
writeFileSync(pidFile, String(process.pid));

try {
  // Not durable: a test that needs a power cut takes an installation of its own.
  const server = await startEmbeddedPostgres({
    homeDir,
    logFile: join(runDir, 'postgres.log'),
    durable: false,
    maxConnections: 400,
  });
  const stop = async (): Promise<void> => {
    await server.stop();
    removeHome(homeDir);
    rmSync(pidFile, { force: true });
    process.exit(0);
  };
  process.on('SIGTERM', () => void stop());
  process.on('SIGINT', () => void stop());
  setInterval(() => {
    if (!existsSync(`/proc/${runPid}`)) void stop().then(() => rmSync(runDir, { recursive: true, force: true }));
  }, 1_000);

  const admin = new pg.Client({ connectionString: server.url });
  await admin.connect();
  await admin.query('CREATE DATABASE femtopki_template');
  await admin.end();
  const template = new URL(server.url);
  template.pathname = '/femtopki_template';
  await migrate(template.href);
  writeFileSync(join(runDir, 'postgres.url.new'), server.url);
  renameSync(join(runDir, 'postgres.url.new'), join(runDir, 'postgres.url')); // readers never see half a line
} catch (error) {
  writeFileSync(join(runDir, 'postgres.failed'), (error as Error).stack ?? String(error));
  removeHome(homeDir);
  rmSync(pidFile, { force: true });
  process.exit(1);
}
