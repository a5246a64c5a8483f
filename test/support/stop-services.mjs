/** Jest's globalTeardown: ends the run's PostgreSQL, if a test file started it, and removes the scratch directory. */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export default async function stopServices() {
  const dir = process.env.FP_TEST_RUN_DIR;
  if (!dir) return;
  const pidFile = join(dir, 'holder.pid');
  if (existsSync(pidFile)) {
    const pid = Number(readFileSync(pidFile, 'utf8'));
    try {
      process.kill(pid, 'SIGTERM');
      for (let tries = 0; tries < 300 && existsSync(pidFile); tries++) await sleep(50);
    } catch (error) {
      if (error.code !== 'ESRCH') throw error; // it is gone already
    }
  }
  rmSync(dir, { recursive: true, force: true });
}
