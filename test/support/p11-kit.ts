/** A token that can be pulled out and put back: SoftHSM behind a p11-kit server, as another host's token would be. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type FreshToken, softhsmModule } from './token.js';

const READY_MS_MAX = 5_000;

export class PluggableToken {
  private server: ChildProcess | undefined;
  private readonly socket: string;
  private readonly softhsmConf: string;

  /** Points the signer of `token` at the server; call before it is started. */
  constructor(token: Pick<FreshToken, 'dataDir' | 'configure'>) {
    this.socket = join(token.dataDir, 'p11.sock');
    this.softhsmConf = join(token.dataDir, 'signer', 'softhsm2.conf');
    token.configure((config) => {
      config.module.path = p11KitClient();
      config.module.environment = { P11_KIT_SERVER_ADDRESS: `unix:path=${this.socket}` };
    });
  }

  async plugIn(): Promise<void> {
    rmSync(this.socket, { force: true });
    // A session of its own: the server forks one process per client, and all of them must go or stop together.
    this.server = spawn('p11-kit', ['server', '-f', '--provider', softhsmModule(), '-n', this.socket, 'pkcs11:'], {
      detached: true,
      stdio: 'ignore',
      env: { ...process.env, SOFTHSM2_CONF: this.softhsmConf },
    });
    const endMs = Date.now() + READY_MS_MAX;
    while (!existsSync(this.socket)) {
      if (Date.now() > endMs) throw new Error('p11-kit server made no socket; is p11-kit installed?');
      await new Promise((wake) => setTimeout(wake, 20));
    }
  }

  pullOut(): void {
    this.signal('SIGKILL');
    this.server = undefined;
  }

  /** The device answers nothing until {@link thaw}. */
  freeze(): void {
    this.signal('SIGSTOP');
  }

  thaw(): void {
    this.signal('SIGCONT');
  }

  private signal(signal: NodeJS.Signals): void {
    const pid = this.server?.pid;
    if (pid !== undefined) process.kill(-pid, signal);
  }
}

function p11KitClient(): string {
  const list = execFileSync('dpkg', ['-L', 'p11-kit-modules'], { encoding: 'utf8' });
  const path = list.split('\n').find((line) => line.endsWith('/p11-kit-client.so'));
  if (!path) throw new Error('p11-kit-client.so is not installed: apt-get install p11-kit-modules');
  return path;
}
