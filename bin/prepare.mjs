#!/usr/bin/env node
/**
 * Makes a machine with only Node.js and npm ready, and does nothing that is done already: system packages, npm packages,
 * Prisma's client, the build. Plain Node, no dependencies. What was done is stamped in .cache; a second run takes no second.
 *
 * usage: prepare.mjs [run] [test] [peer]     groups of system packages; `run` is the default
 */
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { installPackages, PACKAGE_GROUPS } from './debian-packages.mjs';
import { CACHE, main, mustRun, ROOT, run, StepError, say, step } from './steps.mjs';

const STAMP_FILE = join(CACHE, 'prepared.json');
const NODE_MINIMUM = [20, 19];

export async function prepare(groups = ['run'], { builds = true } = {}) {
  checkNode();
  const stamp = readStamp();
  const mark = (name, value) => {
    stamp[name] = value;
    mkdirSync(CACHE, { recursive: true });
    writeFileSync(STAMP_FILE, JSON.stringify(stamp, null, 2));
  };
  await systemPackages(groups, stamp, mark);
  await npmPackages(stamp, mark);
  await prismaClient(stamp, mark);
  if (builds) await build(stamp, mark);
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > NODE_MINIMUM[0] || (major === NODE_MINIMUM[0] && minor >= NODE_MINIMUM[1])) return;
  throw new StepError(
    `femtopki needs Node.js ${NODE_MINIMUM.join('.')} or newer (24 is recommended); this is ${process.versions.node}.`,
  );
}

function readStamp() {
  if (!existsSync(STAMP_FILE)) return {};
  try {
    return JSON.parse(readFileSync(STAMP_FILE, 'utf8'));
  } catch {
    return {}; // a stamp cut short by a power cut: do everything again
  }
}

async function systemPackages(groups, stamp, mark) {
  const status = '/var/lib/dpkg/status';
  const state = () => (existsSync(status) ? String(statSync(status).mtimeMs) : 'none');
  const wanted = groups.flatMap((group) => PACKAGE_GROUPS[group]).join(' ');
  // Any install or removal on the system changes dpkg's status file: only then is it asked again.
  const known = stamp.packages ?? {};
  if (known.state === state() && known.wanted?.includes(wanted)) return;
  await installPackages(groups);
  mark('packages', { state: state(), wanted: known.state === state() ? [...(known.wanted ?? []), wanted] : [wanted] });
}

async function npmPackages(stamp, mark) {
  const lockFile = join(ROOT, 'package-lock.json');
  const lock = readFileSync(lockFile);
  const key = hash([lock, readFileSync(join(ROOT, 'package.json')), process.versions.modules, process.arch]);
  const pinned = join(ROOT, 'node_modules', '.package-lock.json');
  if (stamp.npm === key && existsSync(pinned)) return;
  await step('npm packages', async () => {
    const env = { ...process.env, npm_config_nodedir: await nodeHeaders(), PRISMA_SCHEMA_ENGINE_BINARY: '/bin/true' };
    if (!env.npm_config_nodedir) delete env.npm_config_nodedir;
    // Never `npm ci`: a registry without other systems' packages leaves them out of the lockfile and ci then refuses.
    await mustRun(
      'npm',
      ['install', '--include=dev', '--no-audit', '--no-fund'],
      { env },
      'Check that the npm registry is reachable, then run the same command again.',
    );
    // Another Node major since the last install: the one native module is built again for it.
    if (stamp.npmModules && stamp.npmModules !== process.versions.modules)
      await mustRun('npm', ['rebuild', 'pkcs11js'], { env }, 'Is a C++ compiler installed?');
  });
  if (!readFileSync(lockFile).equals(lock)) {
    writeFileSync(lockFile, lock);
    const sentence =
      'npm install wanted to change package-lock.json; the committed one was put back. Run "npm install" and commit its lockfile if package.json was changed.';
    if (process.env.CI) throw new StepError(sentence);
    say(`! ${sentence}`);
  }
  mark('npmModules', process.versions.modules);
  mark('npm', key);
}

/** Headers for node-gyp, which would download them: beside this Node, else from the npm package that carries them. */
async function nodeHeaders() {
  const prefix = dirname(dirname(realpathSync(process.execPath)));
  if (headersMajor(prefix) === nodeMajor()) return prefix;
  const name = `node-${process.platform}-${process.arch}`;
  const dir = join(CACHE, 'node-headers', nodeMajor());
  const carried = join(dir, 'node_modules', name);
  if (headersMajor(carried) !== nodeMajor()) {
    mkdirSync(dir, { recursive: true });
    writeFileSync(join(dir, 'package.json'), '{"private":true}');
    await run(
      'npm',
      [
        'install',
        '--no-save',
        '--no-audit',
        '--no-fund',
        '--ignore-scripts',
        '--prefix',
        dir,
        `${name}@${nodeMajor()}`,
      ],
      { cwd: dir },
    );
  }
  return headersMajor(carried) === nodeMajor() ? carried : undefined; // undefined: node-gyp finds its own way
}

function nodeMajor() {
  return process.versions.node.split('.')[0];
}

function headersMajor(prefix) {
  const file = join(prefix, 'include', 'node', 'node_version.h');
  return existsSync(file) ? /NODE_MAJOR_VERSION (\d+)/.exec(readFileSync(file, 'utf8'))?.[1] : undefined;
}

async function prismaClient(stamp, mark) {
  const schema = join(ROOT, 'prisma', 'schema.prisma');
  if (!existsSync(schema)) return;
  const key = hash([readFileSync(schema), readFileSync(join(ROOT, 'node_modules', 'prisma', 'package.json'))]);
  if (stamp.prisma === key && existsSync(join(ROOT, 'src', 'platform', 'db', 'generated'))) return;
  await step('database client', async () => {
    // Prisma's command wants to download its schema engine first; generating needs none.
    const env = {
      PRISMA_SCHEMA_ENGINE_BINARY: '/bin/true',
      PRISMA_HIDE_UPDATE_MESSAGE: '1',
      CHECKPOINT_DISABLE: '1',
      ...process.env,
    };
    await mustRun(
      process.execPath,
      ['node_modules/prisma/build/index.js', 'generate'],
      { env },
      'Is prisma/schema.prisma valid?',
    );
  });
  mark('prisma', key);
}

async function build(stamp, mark) {
  const src = join(ROOT, 'src');
  const files = readdirSync(src, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
  const state = files.map((path) => `${relative(src, path)} ${statSync(path).mtimeMs} ${statSync(path).size}`);
  const key = hash([
    ...state,
    readFileSync(join(ROOT, 'tsconfig.json')),
    readFileSync(join(ROOT, 'tsconfig.build.json')),
  ]);
  const dist = join(ROOT, 'dist');
  if (stamp.build === key && existsSync(dist)) return;
  await step('build', async () => {
    await mustRun(
      process.execPath,
      ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'],
      {},
      'Fix the errors above, then run the same command again.',
    );
    for (const path of files.filter((path) => !path.endsWith('.ts'))) cpSync(path, join(dist, relative(src, path))); // pages, styles
    removeOrphans(dist, src);
  });
  mark('build', key);
}

/** A source that was renamed or deleted must not live on as compiled code. */
function removeOrphans(dist, src) {
  for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath ?? entry.path, entry.name);
    if (!entry.isFile() || !/\.js(\.map)?$/.test(path)) continue;
    const source = join(src, relative(dist, path)).replace(/\.js(\.map)?$/, '.ts');
    if (!existsSync(source) && !existsSync(join(src, relative(dist, path)))) rmSync(path);
  }
}

function hash(parts) {
  const digest = createHash('sha256');
  for (const part of parts) digest.update(part).update('\0');
  return digest.digest('hex');
}

if (process.argv[1] && realpathSync(process.argv[1]) === realpathSync(new URL(import.meta.url).pathname)) {
  await main(async () => {
    const groups = process.argv.slice(2);
    const unknown = groups.find((group) => !Object.hasOwn(PACKAGE_GROUPS, group));
    if (unknown)
      throw new StepError(`There is no group "${unknown}": use ${Object.keys(PACKAGE_GROUPS).join(' or ')}.`);
    await prepare(groups.length > 0 ? groups : ['run']);
  });
}
