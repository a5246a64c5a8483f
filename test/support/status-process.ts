/** The status server as a process of its own, without an installation round it: no signer, no worker. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import type { ConfigInput } from '../../src/platform/config/config.js';
import { environmentWithoutSettings } from '../../src/platform/config/environment.js';
import { freePorts } from './ports.js';

const LOADER = new URL('../../bin/ts-loader.mjs', import.meta.url).href;
const PROGRAM = fileURLToPath(new URL('../../src/apps/status-server.ts', import.meta.url));

export interface StatusProcess {
  readonly url: string;
  readonly probesUrl: string;
  stop(): Promise<void>;
}

export async function startStatusProcess(settings: ConfigInput): Promise<StatusProcess> {
  const dir = mkdtempSync(join(tmpdir(), 'fp-status-'));
  const [port = 0, probesPort = 0] = await freePorts(2);
  const file = join(dir, 'femtopki.yaml');
  writeFileSync(
    file,
    stringify({ dataDir: dir, listen: { status: { port } }, metrics: { status: probesPort }, ...settings }),
    { mode: 0o600 },
  );
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', '--import', LOADER, PROGRAM, '--config', file],
    { stdio: 'ignore', env: { ...environmentWithoutSettings(), NODE_OPTIONS: '' } },
  );
  const gone = new Promise<void>((done) => child.once('exit', () => done()));
  return {
    url: `http://127.0.0.1:${port}`,
    probesUrl: `http://127.0.0.1:${probesPort}`,
    stop: async () => {
      child.kill('SIGTERM');
      await gone;
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
