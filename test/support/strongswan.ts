/**
 * A strongSwan gateway and a strongSwan femtocell, each in a network namespace of its own, joined by a veth pair. No ESP:
 * `childless = force` (RFC 6023) ends at authentication, which is all that certificates decide.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type CommandResult, runClient } from './command.js';

const CHARON = '/usr/sbin/charon-systemd';
const READY_MS_MAX = 15_000;

/** What one side holds: file names are kept, contents are PEM. */
export interface IkeCredentials {
  /** Trust anchors. */
  readonly anchors: Readonly<Record<string, string>>;
  /** Its own certificate and the intermediates it sends along, trusted by nothing but a chain. */
  readonly certificates: Readonly<Record<string, string>>;
  readonly keys: Readonly<Record<string, string>>;
  /** What it has fetched before, as it were. */
  readonly crls?: Readonly<Record<string, string>>;
}

export interface IkePeer {
  /** Puts files in place of those before and loads them with the configuration. */
  load(credentials: IkeCredentials, connections: string): Promise<void>;
  swanctl(...args: string[]): Promise<CommandResult>;
  /** What the daemon wrote since the last call. */
  newLog(): string;
}

export interface IkeLab {
  readonly gateway: IkePeer;
  readonly unit: IkePeer;
  close(): Promise<void>;
}

export const GATEWAY_ADDRESS = '10.91.7.1';
export const UNIT_ADDRESS = '10.91.7.2';

/**
 * @param dir         scratch; short, because it holds unix sockets
 * @param statusPort  the loopback port of CRL and OCSP, which certificates name: each namespace gets it too
 * @param namedPort   where certificates name another one than listens
 * @param ocsp        false: both sides know CRLs alone
 */
export async function openIkeLab(
  dir: string,
  statusPort: number,
  { namedPort = statusPort, ocsp = true }: { namedPort?: number; ocsp?: boolean } = {},
): Promise<IkeLab> {
  checkMachine();
  const undo: (() => Promise<void> | void)[] = [];
  const close = async (): Promise<void> => {
    for (const action of undo.splice(0).reverse()) await action();
  };
  try {
    const [gatewayNamespace, unitNamespace] = makeNamespaces(undo);
    const relay = join(dir, 'status.sock');
    undo.push(await outerRelay(relay, statusPort));
    for (const namespace of [gatewayNamespace, unitNamespace]) await innerRelay(namespace, relay, namedPort, undo);
    const gateway = await startCharon(join(dir, 'gw'), gatewayNamespace, undo, { ocsp });
    const unit = await startCharon(join(dir, 'unit'), unitNamespace, undo, { ocsp });
    return { gateway, unit, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Says what is missing for namespaces with a charon in each; nothing is skipped for want of it. */
export function checkMachine(): void {
  if (process.getuid?.() !== 0) {
    throw new Error('Network namespaces and IKE ports need root: run "sudo npm test", or this file alone as root.');
  }
  if (!existsSync(CHARON)) throw new Error('charon-systemd is not installed: node bin/prepare.mjs test');
}

/** Network only: `ip netns exec` would also remount /sys, which fails in a chroot whose root is no mount point. */
export function inNamespace(namespace: string): string {
  return `--net=/run/netns/${namespace}`;
}

export function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'] });
}

export function ipInside(namespace: string, ...args: string[]): void {
  execFileSync('nsenter', [inNamespace(namespace), 'ip', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
}

/** One namespace for each side, its loopback up. */
export function addNamespaces(sides: readonly string[], undo: (() => unknown)[]): string[] {
  const names = sides.map((side) => `fp-${side}-${process.pid}`);
  // The first namespace of a machine makes its directory a mount point; who made it takes it away again.
  if (!isMountPoint(NETNS_DIR)) undo.push(() => unmountIfEmpty(NETNS_DIR));
  for (const name of names) {
    ip('netns', 'add', name);
    undo.push(() => ip('netns', 'del', name));
    ipInside(name, 'link', 'set', 'lo', 'up');
  }
  return names;
}

function makeNamespaces(undo: (() => void)[]): [string, string] {
  const inside = ipInside;
  const names = addNamespaces(['g', 'u'], undo) as [string, string];
  const [gateway, unit] = names;
  ip('link', 'add', 'ike0', 'netns', gateway, 'type', 'veth', 'peer', 'name', 'ike0', 'netns', unit);
  inside(gateway, 'addr', 'add', `${GATEWAY_ADDRESS}/30`, 'dev', 'ike0');
  inside(unit, 'addr', 'add', `${UNIT_ADDRESS}/30`, 'dev', 'ike0');
  for (const name of names) inside(name, 'link', 'set', 'ike0', 'up');
  return names;
}

const NETNS_DIR = '/run/netns';

function isMountPoint(dir: string): boolean {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .some((line) => line.split(' ')[4] === dir);
}

function unmountIfEmpty(dir: string): void {
  if (existsSync(dir) && readdirSync(dir).length === 0 && isMountPoint(dir)) {
    execFileSync('umount', ['--lazy', dir], { stdio: ['ignore', 'pipe', 'pipe'] });
  }
}

/** A path of the file system is the one road between namespaces that share no network. */
export async function outerRelay(path: string, port: number): Promise<() => Promise<void>> {
  const server: Server = createServer((inner) => {
    const outer = connect(port, '127.0.0.1');
    // A side that breaks off takes the other with it; the client inside sees a closed connection, as it should.
    inner.on('error', () => outer.destroy()).on('close', () => outer.destroy());
    outer.on('error', () => inner.destroy()).on('close', () => inner.destroy());
    inner.pipe(outer).pipe(inner);
  });
  await new Promise<void>((done) => server.listen(path, done));
  return () => new Promise((done) => void server.close(() => done()));
}

const INNER = `
const { createServer, connect } = require('node:net');
createServer((inner) => {
  const outer = connect(process.argv[1]);
  inner.on('error', () => outer.destroy());
  outer.on('error', () => inner.destroy());
  inner.pipe(outer).pipe(inner);
}).listen(Number(process.argv[2]), '127.0.0.1', () => console.log('listens'));
`;

export async function innerRelay(
  namespace: string,
  path: string,
  port: number,
  undo: (() => Promise<void> | void)[],
): Promise<void> {
  const child = spawn('nsenter', [inNamespace(namespace), process.execPath, '-e', INNER, path, String(port)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  undo.push(() => ended(child));
  await new Promise<void>((done, fail) => {
    child.stdout.once('data', () => done());
    child.once('exit', (code) => fail(new Error(`the relay in ${namespace} ended with ${code}`)));
  });
}

/** @param innerTraffic  ESP in user space: inner packets come and go by a TUN device, `ipsec0` */
export async function startCharon(
  dir: string,
  namespace: string,
  undo: (() => Promise<void> | void)[],
  {
    innerTraffic = false,
    ocsp = true,
    crl = true,
    environment = {},
  }: { innerTraffic?: boolean; ocsp?: boolean; crl?: boolean; environment?: NodeJS.ProcessEnv } = {},
): Promise<IkePeer> {
  mkdirSync(dir, { recursive: true });
  const vici = `unix://${join(dir, 'vici')}`;
  const log = join(dir, 'charon.log');
  writeFileSync(
    join(dir, 'strongswan.conf'),
    [
      'charon-systemd {',
      'load_modular = no',
      // From 5.9.6 on kdf and hmac are plugins of their own.
      `load = random nonce openssl hmac kdf x509 revocation constraints pubkey pem pkcs1 pkcs8 curl ${innerTraffic ? 'kernel-libipsec ' : ''}kernel-netlink socket-default vici`,
      `piddir = ${dir}`,
      'retransmit_tries = 1',
      'filelog {',
      'log {',
      `path = ${log}`,
      'default = 1',
      'flush_line = yes',
      '}',
      '}',
      'plugins {',
      'vici {',
      `socket = ${vici}`,
      '}',
      'revocation {',
      `enable_crl = ${crl ? 'yes' : 'no'}`,
      `enable_ocsp = ${ocsp ? 'yes' : 'no'}`,
      // Where nobody answers, OCSP for the unit and for its CA must both be over before the unit gives up.
      `timeout = ${innerTraffic ? 2 : 10}s`,
      '}',
      '}',
      '}',
    ].join('\n'),
  );
  const env = { ...process.env, STRONGSWAN_CONF: join(dir, 'strongswan.conf'), SWANCTL_DIR: dir };
  writeFileSync(log, '');
  const child = spawn('nsenter', [inNamespace(namespace), CHARON], {
    env: { ...env, ...environment },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  undo.push(() => ended(child));
  const swanctl = (...args: string[]): Promise<CommandResult> =>
    runClient('env', [
      `STRONGSWAN_CONF=${env.STRONGSWAN_CONF}`,
      `SWANCTL_DIR=${dir}`,
      'swanctl',
      ...args,
      '--uri',
      vici,
    ]);
  for (const until = Date.now() + READY_MS_MAX; ; await sleep(50)) {
    if (existsSync(join(dir, 'vici')) && (await swanctl('--stats')).code === 0) break;
    if (child.exitCode !== null || Date.now() > until)
      throw new Error(`charon did not start in ${namespace}:\n${readFileSync(log, 'utf8')}`);
  }
  let read = 0;
  return {
    swanctl,
    load: async ({ anchors, certificates, keys, crls = {} }, connections) => {
      const folders = { x509ca: anchors, x509: certificates, private: keys, x509crl: crls };
      for (const [name, files] of Object.entries(folders)) {
        rmSync(join(dir, name), { recursive: true, force: true });
        mkdirSync(join(dir, name), { mode: 0o700 });
        for (const [file, pem] of Object.entries(files)) writeFileSync(join(dir, name, file), pem, { mode: 0o600 });
      }
      writeFileSync(join(dir, 'swanctl.conf'), connections);
      const { code, text } = await swanctl('--load-all', '--clear');
      if (code !== 0) throw new Error(`swanctl --load-all: ${text}`);
    },
    newLog: () => {
      const text = readFileSync(log, 'utf8');
      const fresh = text.slice(read);
      read = text.length;
      return fresh;
    },
  };
}

/** `nsenter` becomes the program, so the child's id is the program's own. */
export async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((done) => child.once('exit', () => done()));
  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), 5_000);
  await gone;
  clearTimeout(late);
}
