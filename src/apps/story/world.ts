import { randomInt } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hierarchyPath, readHierarchy } from '../../platform/hsm/hierarchy.js';
import type { StoryContext } from '../installation-context.js';
import { femtopki, run, type Said } from './tools.js';

/** Everything the acts share: places, names, and the outsiders' tools. A new one for every telling. */
export interface World {
  readonly context: StoryContext;
  /** Files of this telling: keys of the unit and the maker, certificates, CRLs. */
  readonly dir: string;
  /** Files that later tellings use again: the maker's and the gateway's keys. */
  readonly sharedDir: string;
  readonly serialNumber: string;
  readonly eui: string;
  readonly fqdn: string;
  readonly batch: string;
  readonly line: string;
  /** Where the unit calls from: the loopback address, which the story's line owns. */
  readonly address: string;
  readonly enrolUrl: string;
  readonly gatewayUrl: string;
  readonly statusUrl: string;
  /** CMP in the clear; its messages protect themselves. */
  readonly cmpUrl: string;
  cli(args: readonly string[], person?: 'operator' | 'approver'): Promise<Record<string, unknown>>;
  sh(program: string, ...args: string[]): Promise<Said>;
  /** curl, silent, with the status on its last line. `body` is sent as JSON. */
  curl(url: string, options?: CurlOptions): Promise<Answer>;
  path(name: string): string;
  read(name: string): string;
  write(name: string, content: string): void;
}

export interface CurlOptions {
  /** Base name of certificate and key: `<as>.pem`, `<as>.key`. */
  readonly as?: string;
  readonly body?: unknown;
  readonly raw?: { readonly file: string; readonly type: string };
  readonly headers?: readonly string[];
  /** Further options of curl. */
  readonly args?: readonly string[];
}

export interface Answer {
  readonly status: number;
  readonly text: string;
  /** Parsed body; an empty object where it is no JSON. */
  readonly json: Record<string, unknown>;
}

/** The first unit ever told of is the one of the documentation; every later telling makes a new one. */
const FIRST = { serialNumber: 'SHB-24-00817', eui: '00005e005317' };
export const MAKER = 'Garam Celltech';
export const EUI_PREFIX = '00005e';

export async function makeWorld(context: StoryContext): Promise<World> {
  const { config, paths } = context;
  const sharedDir = join(paths.root, 'story');
  mkdirSync(sharedDir, { recursive: true, mode: 0o700 });
  const dir = mkdtempSync(join(sharedDir, 'telling-'));
  const realm = readHierarchy(hierarchyPath(paths.root)).realm;
  const { serialNumber, eui } = await freshNames(context);
  const localhost = (url: string): string =>
    url.replace('//127.0.0.1', '//localhost').replace('//[::1]', '//localhost');
  const place = { dataDir: paths.root, operatorUrl: config.publicUrls.operator, cwd: dir };
  const world: World = {
    context,
    dir,
    sharedDir,
    serialNumber,
    eui,
    fqdn: `${eui}.${realm}`,
    batch: batchOf(serialNumber),
    line: `L-${serialNumber.slice(-5)}`,
    address: '127.0.0.1',
    enrolUrl: localhost(config.publicUrls.enrol),
    gatewayUrl: localhost(config.publicUrls.gateway),
    statusUrl: config.publicUrls.status,
    cmpUrl: config.publicUrls.cmp,
    cli: (args, person) => femtopki(place, args, person),
    sh: (program, ...args) => run(program, args, { cwd: dir }),
    curl: (url, options = {}) => curl(world, url, options),
    path: (name) => join(dir, name),
    read: (name) => readFileSync(join(dir, name), 'utf8'),
    write: (name, content) => writeFileSync(join(dir, name), content, { mode: 0o600 }),
  };
  for (const entry of readHierarchy(hierarchyPath(paths.root)).entries)
    world.write(`${entry.label}.ca.pem`, entry.certificatePem);
  return world;
}

async function freshNames(context: StoryContext): Promise<{ serialNumber: string; eui: string }> {
  if (await isUnused(context, FIRST)) return FIRST;
  for (;;) {
    const number = randomInt(1_000, 100_000);
    const serialNumber = `SHB-24-${String(number).padStart(5, '0')}`;
    const names = { serialNumber, eui: `${EUI_PREFIX}${number.toString(16).padStart(6, '0')}` };
    if (await isUnused(context, names)) return names;
  }
}

/** A telling that broke off may have left a batch and no unit. */
async function isUnused({ pool }: StoryContext, names: { serialNumber: string; eui: string }): Promise<boolean> {
  const { rowCount } = await pool.query(
    'SELECT FROM unit WHERE serial_number = $1 OR eui = $2 UNION ALL SELECT FROM batch WHERE name = $3',
    [names.serialNumber, names.eui, batchOf(names.serialNumber)],
  );
  return rowCount === 0;
}

function batchOf(serialNumber: string): string {
  return `B-${serialNumber.slice(-5)}`;
}

async function curl(
  world: World,
  url: string,
  { as, body, raw, headers = [], args: extra = [] }: CurlOptions,
): Promise<Answer> {
  const args = [
    '--silent',
    '--show-error',
    '--max-time',
    '20',
    '--cacert',
    'services-root.ca.pem',
    '--write-out',
    '\n%{http_code}',
    ...extra,
  ];
  if (as !== undefined) args.push('--cert', `${as}.pem`, '--key', `${as}.key`);
  for (const header of headers) args.push('--header', header);
  if (body !== undefined) args.push('--header', 'Content-Type: application/json', '--data-binary', '@-');
  if (raw !== undefined) args.push('--header', `Content-Type: ${raw.type}`, '--data-binary', `@${raw.file}`);
  const said = await run('curl', [...args, url], {
    cwd: world.dir,
    ...(body === undefined ? {} : { input: JSON.stringify(body) }),
  });
  const lines = said.stdout.split('\n');
  const status = Number(lines.pop());
  const text = lines.join('\n');
  return { status, text: said.code === 0 ? text : said.stderr.trim(), json: asJson(text) };
}

function asJson(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    // CRLs and certificates are no JSON; who reads `json` of those finds nothing in it.
    return {};
  }
}
