/**
 * Two hosts, each with every process of ours and a signer over its own copy of the keys, one database and one Redis behind
 * them: three network namespaces on a switch, so that a host can be cut off as a cable is pulled.
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse, stringify } from 'yaml';
import { run } from '../../src/apps/story/tools.js';
import { makeWorld, type World } from '../../src/apps/story/world.js';
import { type ConfigInput, loadConfig } from '../../src/platform/config/config.js';
import { dataPaths } from '../../src/platform/data-directory.js';
import { startEmbeddedPostgres } from '../../src/platform/db/embedded-postgres.js';
import { removeHome } from '../../src/platform/db/embedded-postgres-place.js';
import { type LinkEnd, linkKeyPath, makeLinkKey, readLinkKey } from '../../src/platform/hsm/link-identity.js';
import type { SignerConfig } from '../../src/platform/hsm/signer-config.js';
import { type CommandResult, runClient } from './command.js';
import { portSettings, startInstallation, type TestInstallation } from './installation.js';
import { startRedis } from './redis.js';
import { type Road, startRelay } from './relay.js';
import { storyContext } from './story-context.js';
import { addNamespaces, checkMachine, inNamespace, ip, ipInside } from './strongswan.js';
import { relocate } from './token.js';

export interface Host {
  readonly installation: TestInstallation;
  /** A fresh unit's outsiders, who call this host. */
  world(): Promise<World>;
  /** `femtopki` on that host, as a person there types it. */
  femtopki(...args: string[]): Promise<CommandResult>;
  /** From now on no packet of it reaches the other host, the database or Redis. */
  cut(): void;
  join(): void;
}

export interface TwoHosts {
  readonly a: Host;
  readonly b: Host;
  readonly databaseUrl: string;
  close(): Promise<void>;
}

const CLI = fileURLToPath(new URL('../../bin/femtopki.mjs', import.meta.url));
const CEREMONY = fileURLToPath(new URL('../../hsm-config/ceremony/demo.yaml', import.meta.url));
const STORE_ADDRESS = '10.93.0.1';
const ADDRESSES = { a: '10.93.0.2', b: '10.93.0.3' } as const;
const SIGNER_PORT = 8470;
const CALLERS = ['enrol', 'status', 'worker'] as const satisfies readonly LinkEnd[];
type Side = keyof typeof ADDRESSES;

export async function startTwoHosts(): Promise<TwoHosts> {
  checkMachine();
  const undo: (() => Promise<void> | void)[] = [];
  const close = async (): Promise<void> => {
    for (const action of undo.splice(0).reverse()) await action();
  };
  try {
    const dir = mkdtempSync(join(tmpdir(), 'fp-two-'));
    undo.push(() => rmSync(dir, { recursive: true, force: true }));
    const { stores, databaseUrl } = await startStores(dir, undo);
    const [store = '', ...spaces] = addNamespaces(['ts', 'ta', 'tb'], undo);
    const namespaces: Record<Side, string> = { a: spaces[0] ?? '', b: spaces[1] ?? '' };
    joinAll(store, namespaces);
    await startRelay(store, stores, undo);

    const directories = { a: join(dir, 'a'), b: join(dir, 'b') };
    const settings = { a: await portSettings(), b: await portSettings() };
    await prepare(directories, settings);
    const start = async (side: Side): Promise<Host> => {
      const dataDir = directories[side];
      await startRelays(side, dataDir, namespaces[side], dir, undo);
      const launcher = ['nsenter', inNamespace(namespaces[side]), 'unshare', '--uts', '--', 'sh', '-c'];
      const installation = await startInstallation({
        dataDir,
        launcher: [...launcher, 'hostname "$0" && exec "$@"', `host-${side}`],
      });
      undo.push(async () => void (await installation.end()));
      await installation.said('femtopki serves', 300_000);
      const context = storyContext(dataDir, databaseUrl);
      undo.push(() => context.pool.end());
      const plug = (state: 'up' | 'down') => () => ipInside(store, 'link', 'set', `to-${side}`, state);
      return {
        installation,
        world: () => makeWorld(context),
        femtopki: (...args) =>
          runClient('nsenter', [inNamespace(namespaces[side]), process.execPath, CLI, ...args, '--data', dataDir]),
        cut: plug('down'),
        join: plug('up'),
      };
    };
    const a = await start('a');
    // The maker's key, and those of its station: they belong to neither host.
    mkdirSync(join(directories.a, 'story'), { recursive: true, mode: 0o700 });
    symlinkSync(join(directories.a, 'story'), join(directories.b, 'story'));
    // What the replicas of a process share: the keys of their tickets, and their names' keys.
    for (const part of ['secrets', 'tls']) {
      cpSync(join(directories.a, part), join(directories.b, part), { recursive: true, force: false });
    }
    return { a, b: await start('b'), databaseUrl, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** PostgreSQL and Redis on sockets; the namespace of the stores gives them an address. */
async function startStores(
  dir: string,
  undo: (() => Promise<void> | void)[],
): Promise<{ stores: Road[]; databaseUrl: string }> {
  const homeDir = join(dir, 'postgres');
  const postgres = await startEmbeddedPostgres({ homeDir, logFile: join(dir, 'postgres.log'), durable: false });
  undo.push(async () => {
    await postgres.stop();
    removeHome(homeDir);
  });
  const redis = await startRedis();
  undo.push(() => redis.stop());
  const socketDir = new URL(postgres.url).searchParams.get('host') ?? '';
  return {
    databaseUrl: postgres.url,
    stores: [
      [`${STORE_ADDRESS}:5432`, join(socketDir, '.s.PGSQL.5432')],
      [`${STORE_ADDRESS}:6379`, redis.socketPath],
    ],
  };
}

function joinAll(store: string, namespaces: Record<Side, string>): void {
  ipInside(store, 'link', 'add', 'switch', 'type', 'bridge');
  ipInside(store, 'addr', 'add', `${STORE_ADDRESS}/24`, 'dev', 'switch');
  ipInside(store, 'link', 'set', 'switch', 'up');
  for (const [side, namespace] of Object.entries(namespaces)) {
    ip('link', 'add', `to-${side}`, 'netns', store, 'type', 'veth', 'peer', 'name', 'lan', 'netns', namespace);
    ipInside(store, 'link', 'set', `to-${side}`, 'master', 'switch', 'up');
    ipInside(namespace, 'addr', 'add', `${ADDRESSES[side as Side]}/24`, 'dev', 'lan');
    ipInside(namespace, 'link', 'set', 'lan', 'up');
  }
}

/** One ceremony, its keys at both signers; each caller's key known to both, each signer's to all. */
async function prepare(directories: Record<Side, string>, settings: Record<Side, ConfigInput>): Promise<void> {
  const { a, b } = directories;
  mkdirSync(a, { mode: 0o700 });
  const outside = loadConfig({ dataDir: a, env: {}, overrides: settings.a }).publicUrls;
  const shared: ConfigInput = {
    databaseUrl: `postgresql://femtopki@${STORE_ADDRESS}/femtopki`,
    redisUrl: `redis://${STORE_ADDRESS}`,
  };
  writeFileSync(join(a, 'femtopki.yaml'), stringify({ ...settings.a, ...shared }));
  const held = await run(process.execPath, [CLI, 'ca', 'init', '--ceremony', CEREMONY, '--data', a], { cwd: a });
  if (held.code !== 0) throw new Error(`femtopki ca init: ${held.stderr}`);
  cpSync(a, b, { recursive: true });
  relocate(b);
  // Certificates name one place for status, whichever host issued them.
  writeFileSync(
    join(b, 'femtopki.yaml'),
    stringify({ ...settings.b, ...shared, publicUrls: { status: outside.status } }),
  );
  const clients = (['a', 'b'] as const).flatMap((side) =>
    CALLERS.map((role) => ({ name: `${role}-${side}`, role, spkiSha256: linkKey(directories[side], role) })),
  );
  const places = (['a', 'b'] as const).map((side) => ({
    host: ADDRESSES[side],
    port: SIGNER_PORT,
    spkiSha256: linkKey(directories[side], 'signer'),
  }));
  for (const side of ['a', 'b'] as const) {
    edit<ConfigInput>(join(directories[side], 'femtopki.yaml'), (config) => ({ ...config, signer: { places } }));
    edit<SignerConfig>(join(directories[side], 'signer', 'signer.yaml'), (config) => ({
      ...config,
      listen: { host: ADDRESSES[side], port: SIGNER_PORT, keyFile: 'link.key', clients },
    }));
  }
  // Anchors lie outside both hosts.
  const anchors = join(a, '..', 'anchors');
  mkdirSync(anchors);
  for (const dataDir of [a, b]) {
    rmSync(join(dataDir, 'anchors'), { recursive: true, force: true });
    symlinkSync(anchors, join(dataDir, 'anchors'));
  }
}

function linkKey(dataDir: string, end: LinkEnd): string {
  const path = linkKeyPath(dataPaths(dataDir), end);
  mkdirSync(join(path, '..'), { recursive: true, mode: 0o700 });
  makeLinkKey(path);
  return readLinkKey(path).spkiSha256;
}

function edit<Document>(path: string, change: (document: Document) => Document): void {
  writeFileSync(path, stringify(change(parse(readFileSync(path, 'utf8')) as Document)));
}

/** This host's listeners, at the same ports of ours. */
async function startRelays(
  side: Side,
  dataDir: string,
  namespace: string,
  dir: string,
  undo: (() => Promise<void> | void)[],
): Promise<void> {
  const ports = Object.values(loadConfig({ dataDir, env: {} }).listen).map(({ port }) => port);
  const path = (port: number): string => join(dir, `${side}-${port}`);
  await startRelay(
    namespace,
    ports.map((port) => [path(port), `127.0.0.1:${port}`]),
    undo,
  );
  await startRelay(
    undefined,
    ports.map((port) => [`127.0.0.1:${port}`, path(port)]),
    undo,
  );
}
