/**
 * A real SoftHSM token with a whole demo hierarchy and a running signer, for tests. The ceremony runs once for each
 * version of its sources and is copied afterwards, so a fresh installation takes under a second.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse, stringify } from 'yaml';
import { type Hierarchy, type HierarchyEntry, hierarchyPath, readHierarchy } from '../../src/platform/hsm/hierarchy.js';
import { connectSigner } from '../../src/platform/hsm/signer-client.js';
import type { SignerConfig } from '../../src/platform/hsm/signer-config.js';
import type { Signer, SignerRole } from '../../src/platform/signer.js';

const CHECKOUT = resolve(dirname(fileURLToPath(import.meta.url)), '..', '..');
const LOADER = join(CHECKOUT, 'bin', 'ts-loader.mjs');
const CEREMONY = join(CHECKOUT, 'hsm-config', 'ceremony', 'demo.yaml');
const TEMPLATE_AGE_MS_MAX = 6 * 3_600_000;
const READY_MS_MAX = 30_000;

export interface FreshTokenOptions {
  /** Goes into certificates; default http://127.0.0.1:8080. */
  readonly statusUrl?: string;
  /** Changes signer.yaml before the start. */
  readonly configure?: (config: SignerConfig) => void;
  /** Probes and metrics of the signer; default none. */
  readonly metricsPort?: number;
  /** False: the signer is not started. */
  readonly start?: boolean;
}

export interface FreshToken {
  readonly dataDir: string;
  readonly runDir: string;
  readonly signerConfigPath: string;
  readonly hierarchy: Hierarchy;
  entry(label: string): HierarchyEntry;
  /** The parent process, while it runs. */
  signerProcess(): ChildProcess | undefined;
  /** Everything the signer wrote to its outputs so far. */
  signerOutput(): string;
  connect(role: SignerRole, deadlineMs?: number): Signer;
  configure(change: (config: SignerConfig) => void): void;
  /** Resolves when every key class is ready, unless told not to wait. */
  startSigner(options?: { waitUntilReady?: boolean; env?: NodeJS.ProcessEnv }): Promise<void>;
  /** Runs a signer to its end, for starts that must fail. */
  tryStart(): { code: number | null; output: string };
  /** Resolves with the exit code. */
  stopSigner(): Promise<number | null>;
  /** Stops the signer, closes clients, removes the data directory. */
  dispose(): Promise<void>;
}

/** Path of SoftHSM's module; a sentence when it is not installed. */
export function softhsmModule(): string {
  const places = [
    '/usr/lib/softhsm',
    '/usr/lib/x86_64-linux-gnu/softhsm',
    '/usr/lib/aarch64-linux-gnu/softhsm',
    '/usr/lib64/pkcs11',
    '/usr/local/lib/softhsm',
  ];
  const found = places.map((place) => join(place, 'libsofthsm2.so')).find((path) => existsSync(path));
  if (!found) throw new Error('SoftHSM is not installed: apt-get install softhsm2');
  return found;
}

export async function freshToken(options: FreshTokenOptions = {}): Promise<FreshToken> {
  const dataDir = mkdtempSync(join(tmpdir(), 'fp-tok-'));
  cpSync(templateDir(options.statusUrl ?? 'http://127.0.0.1:8080'), dataDir, { recursive: true });
  relocate(dataDir);
  const token = new RunningToken(dataDir, options.metricsPort);
  if (options.configure) token.configure(options.configure);
  if (options.start ?? true) await token.startSigner();
  return token;
}

class RunningToken implements FreshToken {
  readonly runDir: string;
  readonly signerConfigPath: string;
  readonly hierarchy: Hierarchy;
  private child: ChildProcess | undefined;
  private output = '';
  private readonly clients: Signer[] = [];

  constructor(
    readonly dataDir: string,
    private readonly metricsPort: number | undefined,
  ) {
    this.runDir = join(dataDir, 'run');
    this.signerConfigPath = join(dataDir, 'signer', 'signer.yaml');
    this.hierarchy = readHierarchy(hierarchyPath(dataDir));
  }

  entry(label: string): HierarchyEntry {
    const found = this.hierarchy.entries.find((candidate) => candidate.label === label);
    if (!found) throw new Error(`the demo hierarchy has no ${label}`);
    return found;
  }

  signerProcess(): ChildProcess | undefined {
    return this.child;
  }

  signerOutput(): string {
    return this.output;
  }

  connect(role: SignerRole, deadlineMs?: number): Signer {
    const signer = connectSigner({ runDir: this.runDir, role, ...(deadlineMs === undefined ? {} : { deadlineMs }) });
    this.clients.push(signer);
    return signer;
  }

  configure(change: (config: SignerConfig) => void): void {
    const config = parse(readFileSync(this.signerConfigPath, 'utf8')) as SignerConfig;
    change(config);
    writeFileSync(this.signerConfigPath, stringify(config));
  }

  async startSigner({
    waitUntilReady = true,
    env = {},
  }: {
    waitUntilReady?: boolean;
    env?: NodeJS.ProcessEnv;
  } = {}): Promise<void> {
    const args = [
      '--import',
      LOADER,
      join(CHECKOUT, 'src', 'apps', 'signer.ts'),
      '--signer-config',
      this.signerConfigPath,
      ...(this.metricsPort === undefined ? [] : ['--metrics-port', String(this.metricsPort)]),
    ];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    this.child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.output += text;
      });
    }
    if (waitUntilReady) await this.until('every key class is ready');
  }

  tryStart(): { code: number | null; output: string } {
    const args = [
      '--import',
      LOADER,
      join(CHECKOUT, 'src', 'apps', 'signer.ts'),
      '--signer-config',
      this.signerConfigPath,
    ];
    const ended = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: READY_MS_MAX });
    return { code: ended.status, output: ended.stdout + ended.stderr };
  }

  async stopSigner(): Promise<number | null> {
    const { child } = this;
    this.child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
    return new Promise((done) => {
      child.once('exit', (code) => done(code));
      child.kill('SIGTERM');
    });
  }

  async dispose(): Promise<void> {
    await Promise.all(this.clients.map((client) => client.close()));
    await this.stopSigner();
    rmSync(this.dataDir, { recursive: true, force: true });
  }

  private async until(text: string): Promise<void> {
    const endMs = Date.now() + READY_MS_MAX;
    const from = this.output.length;
    while (!this.output.slice(from).includes(text)) {
      if (Date.now() > endMs || this.child?.exitCode !== null) {
        throw new Error(`the signer did not say "${text}":\n${this.output.slice(-4_000)}`);
      }
      await new Promise((wake) => setTimeout(wake, 20));
    }
  }
}

/** The finished ceremony for this version of the sources; made by whoever comes first. */
function templateDir(statusUrl: string): string {
  const version = createHash('sha256').update(statusUrl);
  const folders = ['src/operator/ceremony', 'src/platform/hsm', 'src/x509', 'hsm-config/ceremony'];
  for (const folder of folders) {
    // Files only: what lies deeper (protocol messages) makes no token.
    const entries = readdirSync(join(CHECKOUT, folder), { withFileTypes: true }).filter((entry) => entry.isFile());
    for (const name of entries.map((entry) => entry.name).sort()) {
      version.update(readFileSync(join(CHECKOUT, folder, name)));
    }
  }
  const template = join(CHECKOUT, '.cache', 'token-template', version.digest('hex').slice(0, 16));
  // OCSP signer certificates last days only: an old template would fail tests that are right.
  if (isFresh(template)) return template;
  mkdirSync(dirname(template), { recursive: true });
  const made = mkdtempSync(join(dirname(template), 'making-'));
  const script = join(CHECKOUT, 'test', 'support', 'ceremony-child.ts');
  execFileSync(process.execPath, ['--import', LOADER, script, CEREMONY, made, softhsmModule(), statusUrl], {
    stdio: 'pipe',
  });
  // Another test process was faster, and somebody may be copying its template already: it is as good.
  if (isFresh(template)) {
    rmSync(made, { recursive: true, force: true });
    return template;
  }
  rmSync(template, { recursive: true, force: true });
  try {
    renameSync(made, template);
  } catch (thrown) {
    // The same between two lines of this.
    if (!existsSync(template)) throw thrown;
    rmSync(made, { recursive: true, force: true });
  }
  return template;
}

function isFresh(template: string): boolean {
  return existsSync(template) && Date.now() - statSync(template).mtimeMs < TEMPLATE_AGE_MS_MAX;
}

/** A copied data directory's token is the copy's own from here on: SoftHSM's own files hold absolute paths. */
export function relocate(dataDir: string): void {
  for (const folder of ['signer', join('ca', 'offline')]) {
    const path = join(dataDir, folder, 'softhsm2.conf');
    const text = readFileSync(path, 'utf8').replace(
      /^directories\.tokendir = .*$/m,
      `directories.tokendir = ${join(dataDir, folder, 'tokens')}`,
    );
    writeFileSync(path, text);
  }
  const path = join(dataDir, 'signer', 'signer.yaml');
  const config = parse(readFileSync(path, 'utf8')) as SignerConfig;
  config.module.environment['SOFTHSM2_CONF'] = join(dataDir, 'signer', 'softhsm2.conf');
  writeFileSync(path, stringify(config));
}
