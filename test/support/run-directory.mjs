/**
 * Jest's globalSetup: one scratch directory for the whole run, known to every worker through the environment. Shared
 * services (PostgreSQL) are started by the first test file that needs one, so unit tests start nothing.
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export default function makeRunDirectory() {
  const dir = mkdtempSync(join(tmpdir(), 'fp-test-'));
  process.env.FP_TEST_RUN_DIR = dir;
  process.env.FP_TEST_RUN_PID = String(process.pid);
}
