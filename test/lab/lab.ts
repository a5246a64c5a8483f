/**
 * Gateways and femtocells as real strongSwan, each in a network namespace of its own, with inner traffic (ESP in user space)
 * and the connector of `deploy/gateway` beside each gateway. The one way from a namespace to the servers is a relay.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { World } from '../../src/apps/story/world.js';
import { type CommandResult, runClient } from '../support/command.js';
import { leftover } from '../support/leftovers.js';
import {
  addNamespaces,
  checkMachine,
  ended,
  type IkePeer,
  inNamespace,
  innerRelay,
  ip,
  ipInside,
  outerRelay,
  startCharon,
} from '../support/strongswan.js';
import { type Echoes, startEcho, startEchoes } from './echoes.js';

const KIT = fileURLToPath(new URL('../../deploy/gateway/', import.meta.url));
/** Behind every gateway, on the inside. */
const CORE_ADDRESS = '10.77.0.1';
const READY_MS_MAX = 15_000;
const FAKETIME = `/usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu/faketime/libfaketimeMT.so.1`;

export interface LabGateway {
  readonly name: string;
  readonly peer: IkePeer;
  /** Starts it; resolves once it watches. */
  startConnector(): Promise<void>;
  /** SIGTERM unless said otherwise; nothing of it is left to run. */
  stopConnector(signal?: NodeJS.Signals): Promise<void>;
  /** What the connector said, over all its starts. */
  said(): string;
  /** Inner addresses that may pass now. */
  permitted(): string[];
  /** What the connector finds of itself, without running. */
  check(): Promise<CommandResult>;
  /** What a HeMS with this gateway's credential hears of a unit's certificate at an address; with a cell, a HeNB gateway. */
  mayConfigure(certificate: string, address: string, cell?: string): Promise<CommandResult>;
}

export interface LabHost {
  /** From the next connection on it is this world's unit, at first the lab's; it holds `<own>.pem` and `<own>.key` of it. */
  become(world: World, own?: string): void;
  /** Brings the tunnel to a gateway up; `established` as the unit's own charon saw it. */
  connect(gateway: LabGateway): Promise<{ established: boolean; text: string }>;
  disconnect(gateway: LabGateway): Promise<void>;
  /** Is there an IKE_SA, by this side's charon? */
  isUp(gateway: LabGateway): Promise<boolean>;
  /** Sends through the tunnel from now on, every 20 ms, and counts what comes back. */
  echoes(): Promise<Echoes>;
}

export interface Lab {
  readonly gateways: readonly LabGateway[];
  /** A femtocell with a key and certificate of the world, at an address of the outer network. */
  host(address: string): LabHost;
  close(): Promise<void>;
}

export interface LabOptions {
  readonly world: World;
  /** Scratch; short, because it holds unix sockets. */
  readonly dir: string;
  readonly ports: { readonly status: number; readonly gateway: number };
  /** Names of gateways whose `<name>.pem` and `<name>.key` the world has. */
  readonly gateways: readonly string[];
  /** Outer addresses, one a host. */
  readonly hosts: readonly string[];
  /** How long a permit is used, by gateway; what stands in the kit where one is absent. */
  readonly permitSeconds?: Readonly<Record<string, number>>;
  /** Names of gateways whose strongSwan looks at no revocation: what they refuse, the server refuses. */
  readonly careless?: readonly string[];
  /** How often a connector fetches the snapshot; what stands in the kit where it is absent. */
  readonly snapshotSeconds?: number;
  /** A file in libfaketime's form, `+2h`: the clock of the gateways and their connectors, read again at every look. */
  readonly clockFile?: string;
}

export async function openLab(options: LabOptions): Promise<Lab> {
  checkMachine();
  const undo: (() => Promise<void> | void)[] = [];
  const close = async (): Promise<void> => {
    isClosed();
    for (const action of undo.splice(0).reverse()) await action();
  };
  const isClosed = leftover(async () => {
    await close();
    rmSync(options.dir, { recursive: true, force: true });
  });
  try {
    ensureTun(undo);
    const sides = [...options.gateways.map((_, index) => `g${index}`), ...options.hosts.map((_, index) => `h${index}`)];
    const namespaces = addNamespaces(sides, undo);
    const gatewaySpaces = namespaces.slice(0, options.gateways.length);
    const hostSpaces = namespaces.slice(options.gateways.length);
    joinAll(gatewaySpaces, hostSpaces, options.hosts);
    const relays = {
      status: join(options.dir, 'status.sock'),
      gateway: join(options.dir, 'gateway.sock'),
    };
    for (const name of ['status', 'gateway'] as const) undo.push(await outerRelay(relays[name], options.ports[name]));
    for (const space of namespaces) await innerRelay(space, relays.status, options.ports.status, undo);
    for (const space of gatewaySpaces) await innerRelay(space, relays.gateway, options.ports.gateway, undo);
    const gateways: LabGateway[] = [];
    for (const [index, space] of gatewaySpaces.entries()) gateways.push(await openGateway(options, index, space, undo));
    const hosts = new Map<string, LabHost>();
    for (const [index, space] of hostSpaces.entries()) {
      hosts.set(options.hosts[index] ?? '', await openHost(options, index, space, gateways, undo));
    }
    const host = (address: string): LabHost => {
      const found = hosts.get(address);
      if (!found) throw new Error(`the lab has no host ${address}`);
      return found;
    };
    return { gateways, host, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** A further gateway, with a key of its own: request, approval by the second person, certificate. */
export async function certifyGateway(world: World, name: string): Promise<void> {
  await world.sh('openssl', 'ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', `${name}.key`);
  await world.sh('openssl', 'req', '-new', '-key', `${name}.key`, '-subj', `/CN=${name}`, '-out', `${name}.csr`);
  const dns = ['--dns', `${name}.hanbit.example`];
  await world.cli(['gateway', 'add', name, '--csr', world.path(`${name}.csr`), ...dns]);
  await world.cli(['machine', 'approve', name], 'approver');
  for (const end = Date.now() + READY_MS_MAX; Date.now() < end; await sleep(200)) {
    const { certificatePem } = await world.cli(['machine', 'show', name]);
    if (typeof certificatePem === 'string') return world.write(`${name}.pem`, certificatePem);
  }
  throw new Error(`${name} got no certificate`);
}

/** A bare machine in a chroot has no device for TUN. */
function ensureTun(undo: (() => void)[]): void {
  if (existsSync('/dev/net/tun')) return;
  mkdirSync('/dev/net', { recursive: true });
  execFileSync('mknod', ['/dev/net/tun', 'c', '10', '200']);
  undo.push(() => void execFileSync('rm', ['-f', '/dev/net/tun']));
}

export function gatewayAddress(index: number): string {
  return `203.0.113.${index + 1}`;
}

/** A line of its own from each host to each gateway; a gateway has one address for all. */
function joinAll(gateways: readonly string[], hosts: readonly string[], addresses: readonly string[]): void {
  for (const [index, gateway] of gateways.entries()) {
    ipInside(gateway, 'addr', 'add', `${gatewayAddress(index)}/32`, 'dev', 'lo');
    ipInside(gateway, 'addr', 'add', `${CORE_ADDRESS}/32`, 'dev', 'lo');
    for (const [at, host] of hosts.entries()) {
      const [there, here] = [`to-h${at}`, `to-g${index}`];
      ip('link', 'add', there, 'netns', gateway, 'type', 'veth', 'peer', 'name', here, 'netns', host);
      ipInside(gateway, 'link', 'set', there, 'up');
      ipInside(host, 'link', 'set', here, 'up');
      ipInside(host, 'addr', 'add', `${addresses[at]}/32`, 'dev', here);
      ipInside(gateway, 'route', 'add', `${addresses[at]}/32`, 'dev', there, 'src', gatewayAddress(index));
      ipInside(host, 'route', 'add', `${gatewayAddress(index)}/32`, 'dev', here, 'src', `${addresses[at]}`);
    }
  }
}

async function openGateway(
  { world, dir, gateways, permitSeconds, snapshotSeconds, clockFile, careless }: LabOptions,
  index: number,
  space: string,
  undo: (() => Promise<void> | void)[],
): Promise<LabGateway> {
  const name = gateways[index] ?? '';
  const home = join(dir, `g${index}`);
  const clock = clockFile === undefined ? {} : movedClock(clockFile);
  const isCareless = careless?.includes(name) ?? false;
  const peer = await startCharon(home, space, undo, {
    innerTraffic: true,
    environment: clock,
    ...(isCareless && { ocsp: false, crl: false }),
  });
  // Before anybody can connect: nothing passes yet.
  nft(space, ['-f', join(KIT, 'femtopki.nft')]);
  await peer.load(
    {
      anchors: { 'access-root.pem': world.read('access-root.ca.pem') },
      certificates: { 'gw.pem': world.read(`${name}.pem`), 'services-ca.pem': world.read('services-ca.ca.pem') },
      keys: { 'gw.key': world.read(`${name}.key`) },
    },
    gatewayConnections(index, name, isCareless ? 'relaxed' : 'strict'),
  );
  undo.push(await startEcho(space, CORE_ADDRESS));
  const file = join(home, 'connector.json');
  writeFileSync(
    file,
    JSON.stringify({
      gateway: name,
      api: {
        url: world.gatewayUrl,
        servicesRoot: world.path('services-root.ca.pem'),
        intermediates: world.path('services-ca.ca.pem'),
        certificate: world.path(`${name}.pem`),
        key: world.path(`${name}.key`),
      },
      vici: join(home, 'vici'),
      connections: ['femto'],
      stateDir: join(home, 'state'),
      crlDir: home,
      ...(snapshotSeconds === undefined ? {} : { snapshotSeconds }),
      ...(permitSeconds?.[name] === undefined ? {} : { permitSecondsMax: permitSeconds[name] }),
    }),
  );
  let child: ChildProcess | undefined;
  let text = '';
  const command = [inNamespace(space), process.execPath, join(KIT, 'connector/main.mjs'), '--config', file];
  const stopConnector = async (signal: NodeJS.Signals = 'SIGTERM'): Promise<void> => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    if (signal === 'SIGKILL') child.kill(signal);
    await ended(child);
  };
  undo.push(() => stopConnector());
  return {
    name,
    peer,
    startConnector: async () => {
      const before = text.length;
      child = spawn('nsenter', command, { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, ...clock } });
      child.stderr?.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      for (const until = Date.now() + READY_MS_MAX; !text.slice(before).includes('watches '); await sleep(20)) {
        if (child.exitCode !== null || Date.now() > until) throw new Error(`the connector does not watch:\n${text}`);
      }
    },
    stopConnector,
    said: () => text,
    permitted: () => {
      const said = nft(space, ['list', 'set', 'inet', 'femtopki', 'permit4']);
      return [...said.matchAll(/(\d+\.\d+\.\d+\.\d+) timeout/g)].map(([, address]) => address ?? '');
    },
    check: () => runClient('nsenter', [...command, '--check']),
    mayConfigure: (certificate, address, cell) =>
      runClient(process.execPath, [
        join(KIT, 'hems/may-configure.mjs'),
        ...['--config', file, '--certificate', certificate, '--address', address],
        ...(cell === undefined ? [] : ['--cell', cell]),
      ]),
  };
}

async function openHost(
  { world: first, dir, hosts }: LabOptions,
  index: number,
  space: string,
  gateways: readonly LabGateway[],
  undo: (() => Promise<void> | void)[],
): Promise<LabHost> {
  const peer = await startCharon(join(dir, `h${index}`), space, undo, { innerTraffic: true });
  let [world, own] = [first, 'unit'];
  // Its certificate may be renewed meanwhile: every connection takes what the world has then.
  const load = () =>
    peer.load(
      {
        anchors: {
          'services-root.pem': world.read('services-root.ca.pem'),
          'access-root.pem': world.read('access-root.ca.pem'),
        },
        certificates: { 'own.pem': world.read(`${own}.pem`), 'issuer.pem': world.read('device-ca-1.ca.pem') },
        keys: { 'own.key': world.read(`${own}.key`) },
      },
      hostConnections(hosts[index] ?? '', world.fqdn, gateways),
    );
  const ofGateway = (gateway: LabGateway): string => `g${gateways.indexOf(gateway)}`;
  return {
    become: (other, name = 'unit') => {
      [world, own] = [other, name];
    },
    connect: async (gateway) => {
      await load();
      const { code, text } = await peer.swanctl('--initiate', '--child', ofGateway(gateway), '--timeout', '18');
      return { established: code === 0, text };
    },
    disconnect: async (gateway) => {
      await peer.swanctl('--terminate', '--ike', ofGateway(gateway), '--timeout', '5');
    },
    isUp: async (gateway) => (await peer.swanctl('--list-sas')).text.includes(`${ofGateway(gateway)}: #`),
    echoes: () => startEchoes(space, CORE_ADDRESS, undo),
  };
}

function gatewayConnections(index: number, name: string, revocation: 'strict' | 'relaxed'): string {
  return [
    section('connections', [
      section('femto', [
        'version = 2',
        `local_addrs = ${gatewayAddress(index)}`,
        'proposals = aes128gcm16-prfsha256-ecp256',
        'unique = never',
        'send_cert = always',
        'pools = units4',
        section('local', ['auth = pubkey', 'certs = gw.pem', `id = ${name}.hanbit.example`]),
        section('remote', ['auth = pubkey', 'id = %any', 'cacerts = access-root.pem', `revocation = ${revocation}`]),
        section('children', [section('core', ['esp_proposals = aes128gcm16', `local_ts = ${CORE_ADDRESS}/32`])]),
      ]),
    ]),
    section('pools', [section('units4', ['addrs = 10.128.0.0/24'])]),
  ].join('\n');
}

function hostConnections(address: string, identity: string, gateways: readonly LabGateway[]): string {
  const connection = (_: LabGateway, index: number): string =>
    section(`g${index}`, [
      'version = 2',
      `local_addrs = ${address}`,
      `remote_addrs = ${gatewayAddress(index)}`,
      'proposals = aes128gcm16-prfsha256-ecp256',
      'vips = 0.0.0.0',
      'send_cert = always',
      section('local', ['auth = pubkey', 'certs = own.pem', `id = ${identity}`]),
      section('remote', ['auth = pubkey', 'id = %any', 'cacerts = services-root.pem', 'revocation = relaxed']),
      section('children', [section(`g${index}`, ['esp_proposals = aes128gcm16', `remote_ts = ${CORE_ADDRESS}/32`])]),
    ]);
  return section('connections', gateways.map(connection));
}

function movedClock(file: string): NodeJS.ProcessEnv {
  return {
    LD_PRELOAD: FAKETIME,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    DONT_FAKE_MONOTONIC: '1',
  };
}

/** strongSwan wants one setting a line. */
function section(name: string, lines: readonly string[]): string {
  return [`${name} {`, ...lines, '}'].join('\n');
}

function nft(space: string, args: readonly string[]): string {
  return execFileSync('nsenter', [inNamespace(space), 'nft', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  }).toString();
}
