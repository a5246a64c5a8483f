import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { openSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePorts } from '../../test/support/ports.js';
import { cpuSecondsOf } from '../measure/pinned-process.js';
import { PeerMissing } from '../scenario.js';

export interface Cfssl {
  readonly port: number;
  cpuSeconds(): number;
  end(): Promise<void>;
}

const START_MS_MAX = 10_000;
/** As ours: seven days, digital signature, client. */
const CONFIG = { signing: { default: { expiry: '168h', usages: ['digital signature', 'client auth'] } } };

/** `cfssl serve` with a P-256 key in a file and no database, on one core. @throws PeerMissing where it is not to be had */
export async function startCfssl(dir: string, core: number): Promise<Cfssl> {
  install();
  const [key, ca, config] = ['cfssl.key', 'cfssl.pem', 'cfssl.json'].map((name) => join(dir, name)) as [
    string,
    string,
    string,
  ];
  execFileSync('openssl', ['ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', key]);
  execFileSync('openssl', ['req', '-x509', '-new', '-key', key, '-subj', '/CN=Peer CA', '-days', '30', '-out', ca]);
  writeFileSync(config, JSON.stringify(CONFIG));
  const [port = 0] = await freePorts(1);
  const log = openSync(join(dir, 'cfssl.log'), 'w');
  const address = ['-address', '127.0.0.1', '-port', String(port)];
  const serve = ['serve', ...address, '-ca', ca, '-ca-key', key, '-config', config, '-loglevel', '4'];
  const child = spawn('taskset', ['-c', String(core), 'cfssl', ...serve], { stdio: ['ignore', log, log] });
  const exited = new Promise<void>((done) => child.once('exit', () => done()));
  await listening(child, port);
  return {
    port,
    cpuSeconds: () => cpuSecondsOf(child.pid ?? 0),
    end: async () => {
      child.kill('SIGTERM');
      await exited;
    },
  };
}

/** As the tests' peers are installed: by our own script, where it may. */
function install(): void {
  const there = (): boolean => spawnSync('cfssl', ['version'], { stdio: 'ignore' }).error === undefined;
  if (there()) return;
  const script = fileURLToPath(new URL('../../bin/debian-packages.mjs', import.meta.url));
  const code = `import(${JSON.stringify(script)}).then((packages) => packages.installPackages(['peer']))`;
  const { stderr } = spawnSync(process.execPath, ['-e', code], { encoding: 'utf8' });
  if (!there()) throw new PeerMissing(`cfssl (Debian package golang-cfssl) is not installed and cannot be. ${stderr}`);
}

async function listening(child: ChildProcess, port: number): Promise<void> {
  for (const endMs = performance.now() + START_MS_MAX; performance.now() < endMs; await sleep(50)) {
    if (child.exitCode !== null) break;
    const open = await new Promise<boolean>((done) => {
      const socket = connect(port, '127.0.0.1', () => done(true)).once('error', () => done(false));
      socket.once('connect', () => socket.destroy());
    });
    if (open) return;
  }
  child.kill('SIGTERM');
  throw new Error('cfssl did not begin to listen');
}
