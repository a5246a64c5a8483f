/**
 * The one place that reads the environment and femtopki.yaml. Order: defaults, file, environment, overrides from the
 * command line. All faults are reported at once, each with its name and an example; nothing starts on a half-read config.
 */
import { existsSync, readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { parse, stringify } from 'yaml';
import type { z } from 'zod';
import { FemtoError } from '../errors.js';
import { CONFIG_FILE_VARIABLE, fromEnvironment, overlay, type Setting, settingsOf, type Tree } from './environment.js';
import { type ConfigFields, type ConfigInput, configSchema } from './schema.js';

export type { ConfigInput } from './schema.js';

export type Config = Omit<ConfigFields, 'publicUrls'> & {
  /** Absolute. */
  readonly dataDir: string;
  /** Base URLs without a trailing slash, the listener's own address where none was given. */
  readonly publicUrls: {
    readonly enrol: string;
    readonly cmp: string;
    readonly status: string;
    readonly gateway: string;
    readonly operator: string;
  };
};

export interface ConfigSource {
  /** Path of femtopki.yaml. Default: FEMTOPKI_CONFIG, else `<dataDir>/femtopki.yaml` where it exists. */
  readonly configFile?: string | undefined;
  /** From `--data`; wins over file and environment. */
  readonly dataDir?: string | undefined;
  /** Default: the process's environment. Pass `{}` to read the file alone. */
  readonly env?: NodeJS.ProcessEnv;
  /** What the command line or a test lays over everything else. */
  readonly overrides?: ConfigInput;
}

const FILE_NAME = 'femtopki.yaml';

/**
 * @throws FemtoError BAD_REQUEST with every fault on a line of its own
 */
export function loadConfig(source: ConfigSource = {}): Config {
  const env = source.env ?? process.env;
  const settings = settingsOf(configSchema);
  const environment = fromEnvironment(settings, env);
  const file = locateFile(source, env);
  const document = file === undefined ? {} : readDocument(file);
  // Paths in a file mean what they say wherever the process was started.
  if (file !== undefined && typeof document['dataDir'] === 'string')
    document['dataDir'] = resolve(dirname(file), document['dataDir']);
  let tree = overlay(overlay(document, environment.tree), (source.overrides ?? {}) as Tree);
  if (source.dataDir !== undefined) tree = { ...tree, dataDir: source.dataDir };

  const parsed = configSchema.safeParse(tree);
  const faults = [...environment.faults];
  if (!parsed.success) faults.push(...parsed.error.issues.flatMap((issue) => describe(issue, settings)));
  else faults.push(...relationFaults(parsed.data));
  if (!parsed.success || faults.length > 0) {
    const where = file === undefined ? '' : ` (file ${file})`;
    throw new FemtoError(
      'BAD_REQUEST',
      `The configuration is refused${where}:\n${faults.map((fault) => `  - ${fault}`).join('\n')}`,
      { facts: { faults } },
    );
  }
  return complete(parsed.data);
}

/** The config as a file that `loadConfig({ configFile, env: {} })` reads back equal: how a supervisor hands it to children. */
export function serializeConfig(config: Config): string {
  return stringify(config);
}

/** For `config print`: as above, with the passwords in URLs blotted out. */
export function printableConfig(config: Config): string {
  const blot = (url: string | undefined): string | undefined => url?.replace(/(:\/\/[^:@/]*):[^@/]*@/, '$1:***@');
  const { databaseUrl, redisUrl, status, ...rest } = config;
  const { replicaUrl, ...statusRest } = status;
  return stringify({
    ...rest,
    status: { ...statusRest, ...(replicaUrl && { replicaUrl: blot(replicaUrl) }) },
    ...(databaseUrl && { databaseUrl: blot(databaseUrl) }),
    ...(redisUrl && { redisUrl: blot(redisUrl) }),
  });
}

function locateFile(source: ConfigSource, env: NodeJS.ProcessEnv): string | undefined {
  const named = source.configFile ?? env[CONFIG_FILE_VARIABLE];
  if (named !== undefined) return resolve(named);
  const dataDir = source.dataDir ?? source.overrides?.dataDir ?? env['FEMTOPKI_DATA_DIR'] ?? './data';
  const inDataDir = resolve(dataDir, FILE_NAME);
  return existsSync(inDataDir) ? inDataDir : undefined;
}

function readDocument(path: string): Tree {
  let document: unknown;
  try {
    document = parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new FemtoError(
      'BAD_REQUEST',
      `${path} cannot be read as YAML (${(cause as Error).message.split('\n')[0]}): correct it, or name another file with --config.`,
      { cause },
    );
  }
  if (document === null || document === undefined) return {}; // an empty file: all defaults
  if (typeof document !== 'object' || Array.isArray(document)) {
    throw new FemtoError('BAD_REQUEST', `${path} must hold names and values, for example "operator: Hanbit Mobile".`);
  }
  return document as Tree;
}

function describe(issue: z.core.$ZodIssue, settings: readonly Setting[]): string[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => `${[...issue.path, key].join('.')} is no setting of femtopki: check its spelling`);
  }
  const name = issue.path.filter((part) => typeof part === 'string').join('.');
  const setting = settings.find(({ path }) => path.join('.') === name);
  const example = setting?.example === undefined ? '' : `, for example ${JSON.stringify(setting.example)}`;
  return [`${name || '(file)'}${setting ? ` (${setting.variable})` : ''}: ${issue.message}${example}`];
}

/** The last window must open well before all windows end (issuance's renewal-window). */
const LATEST_DUE = 0.85;

/** What no single field can see. */
function relationFaults(config: ConfigFields): string[] {
  const faults: string[] = [];
  const { operator } = config.listen;
  if ((operator.certificateFile === undefined) !== (operator.keyFile === undefined)) {
    faults.push('listen.operator.certificateFile and listen.operator.keyFile go together: set both or neither');
  }
  if (operator.certificateFile === undefined && !isLoopback(operator.host)) {
    faults.push(
      `listen.operator.host (FEMTOPKI_LISTEN_OPERATOR_HOST): ${operator.host} without TLS would send sign-ins in the clear: set listen.operator.certificateFile and keyFile, or use 127.0.0.1`,
    );
  }
  const taken = new Map<string, string>();
  for (const [name, address] of ports(config)) {
    if (address.endsWith(':0')) continue; // the system chooses
    const other = taken.get(address);
    if (other) faults.push(`${name} and ${other} are both ${address}: give each a port of its own`);
    taken.set(address, name);
  }
  if (config.status.crlShardPointers && config.status.crlShards === 0) {
    faults.push('status.crlShardPointers: certificates cannot name shards that status.crlShards does not publish');
  }
  if ((config.status.crlDeltas || config.status.crlShards > 0) && config.publicUrls.status?.startsWith('https:')) {
    faults.push(
      'publicUrls.status must be plain http for status.crlDeltas and status.crlShards: a CRL names that address',
    );
  }
  faults.push(...crlStoreFaults(config.status.crlStore));
  if (config.status.crlEverySeconds * 2 > config.status.crlSeconds) {
    faults.push(
      'status.crlEverySeconds must be at most half of status.crlSeconds, or one missed publication leaves gateways without a valid CRL',
    );
  }
  if (config.lives.backdateSeconds * 4 > config.lives.operationalSeconds) {
    faults.push('lives.backdateSeconds must be at most a quarter of lives.operationalSeconds');
  }
  const { dueAtFraction, jitterFraction } = config.renewal;
  if (dueAtFraction * (1 + jitterFraction) > LATEST_DUE) {
    faults.push(
      'renewal.dueAtFraction with renewal.jitterFraction on top must be at most 0.85: windows end at 0.9 of a life, and a fleet needs time inside them',
    );
  }
  if (config.mode === 'production') {
    if (config.failpoint !== undefined)
      faults.push('failpoint (FEMTOPKI_FAILPOINT): production is not broken on purpose: remove it');
    if (config.databaseUrl === undefined)
      faults.push(
        'databaseUrl (DATABASE_URL): production needs a PostgreSQL of its own, for example "postgresql://femtopki@db.internal/femtopki"',
      );
    for (const name of ['enrol', 'status', 'gateway', 'operator'] as const) {
      if (config.publicUrls[name] === undefined)
        faults.push(
          `publicUrls.${name}: production must say how the outside reaches it, for example "https://${name}.hanbit.example"`,
        );
    }
  }
  return faults;
}

function crlStoreFaults({ url, credentialsFile }: ConfigFields['status']['crlStore']): string[] {
  const faults: string[] = [];
  if ((url === undefined) !== (credentialsFile === undefined))
    faults.push('status.crlStore.url and status.crlStore.credentialsFile go together: set both or neither');
  const { protocol, hostname, pathname, search, hash, username, password } = new URL(url ?? 'https://none.invalid/');
  if (protocol === 'http:' && !isLoopback(hostname))
    faults.push('status.crlStore.url must be https: whoever is on the way could keep a revocation back');
  if (search + hash + username + password !== '' || !/^[A-Za-z0-9._/-]*$/.test(pathname))
    faults.push('status.crlStore.url is an address of letters, digits, and - . _ / alone, without a key or a query');
  return faults;
}

function* ports(config: ConfigFields): Generator<[string, string]> {
  for (const [name, { host, port }] of Object.entries(config.listen)) yield [`listen.${name}.port`, `${host}:${port}`];
  for (const [name, port] of Object.entries(config.metrics))
    if (name !== 'host') yield [`metrics.${name}`, `${config.metrics.host}:${port}`];
}

function isLoopback(host: string): boolean {
  return host === '::1' || host.startsWith('127.');
}

function complete(fields: ConfigFields): Config {
  const at = (scheme: string, { host, port }: { host: string; port: number }): string =>
    `${scheme}://${isIPv6(host) ? `[${host}]` : host}:${port}`;
  const { listen, publicUrls } = fields;
  return {
    ...fields,
    dataDir: resolve(fields.dataDir),
    publicUrls: {
      enrol: publicUrls.enrol ?? at('https', listen.enrol),
      cmp: publicUrls.cmp ?? at('http', listen.cmp),
      status: publicUrls.status ?? at('http', listen.status),
      gateway: publicUrls.gateway ?? at('https', listen.gateway),
      operator: publicUrls.operator ?? at(listen.operator.certificateFile ? 'https' : 'http', listen.operator),
    },
  };
}

/** How many shards of a CA's CRL certificates issued from now on choose from; 0: they name the complete CRL. */
export function shardsInCertificates({ status }: Pick<Config, 'status'>): number {
  return status.crlShardPointers ? status.crlShards : 0;
}

/** The file that a data directory's own commands read. */
export function configFileOf(dataDir: string): string {
  return join(resolve(dataDir), FILE_NAME);
}
