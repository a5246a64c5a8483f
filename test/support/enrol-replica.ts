/** A second enrol-server over the same database, token and data directory, as another host would run it. */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { StoryContext } from '../../src/apps/installation-context.js';
import { nodeFlags } from '../../src/apps/node-flags.js';
import { serializeConfig } from '../../src/platform/config/config.js';
import { freePorts } from './ports.js';

export interface EnrolReplica {
  readonly url: string;
  readonly cmpPort: number;
  close(): Promise<void>;
}

const PROGRAM = fileURLToPath(new URL('../../dist/apps/enrol-server.js', import.meta.url));
const READY_MS_MAX = 60_000;

/** @param launcher  a command that starts it, e.g. under another clock */
export async function startEnrolReplica(
  { config, paths }: StoryContext,
  launcher: readonly string[] = [],
): Promise<EnrolReplica> {
  const [enrol = 0, cmp = 0, metrics = 0] = await freePorts(3);
  const configFile = join(paths.run, 'second-enrol.yaml');
  const changed = {
    ...config,
    listen: {
      ...config.listen,
      enrol: { ...config.listen.enrol, port: enrol },
      cmp: { ...config.listen.cmp, port: cmp },
    },
    metrics: { ...config.metrics, enrol: metrics },
  };
  writeFileSync(configFile, serializeConfig(changed), { mode: 0o600 });
  const [program = '', ...args] = [
    ...launcher,
    process.execPath,
    ...nodeFlags('enrol-server'),
    PROGRAM,
    '--config',
    configFile,
  ];
  const child = spawn(program, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const gone = new Promise<void>((done) => child.once('exit', () => done()));
  const isReady = (): Promise<boolean> =>
    fetch(`http://127.0.0.1:${metrics}/readyz`).then(
      ({ ok }) => ok,
      () => false,
    );
  for (const until = Date.now() + READY_MS_MAX; !(await isReady()); await sleep(100)) {
    if (child.exitCode !== null || Date.now() > until)
      throw new Error(`the second enrol-server is not ready:\n${said}`);
  }
  return {
    url: `https://localhost:${enrol}`,
    cmpPort: cmp,
    close: async () => {
      child.kill('SIGTERM');
      await gone;
    },
  };
}
