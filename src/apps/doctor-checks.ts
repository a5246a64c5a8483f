import { accessSync, constants, existsSync, statfsSync, statSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { critical, type DoctorCheck, fine, warning } from '../operator/cli/finding.js';
import { type Config, loadConfig } from '../platform/config/config.js';
import { type DataPaths, dataPaths, holderOf } from '../platform/data-directory.js';
import { openPool } from '../platform/db/pool.pg.js';
import { asFemtoError } from '../platform/errors.js';
import { readBarredKeys } from '../platform/hsm/barred-keys.js';
import { dialHosts } from '../platform/hsm/dial-signer.js';
import { hierarchyPath, readHierarchy } from '../platform/hsm/hierarchy.js';
import { linkKeyPath, openLinkIdentity } from '../platform/hsm/link-identity.js';
import { PinMarker } from '../platform/hsm/pin-marker.js';
import { crlLife, crlPartsLife, deviceCaLabels, rootCrlLife } from './doctor-crl.js';
import { crlStoreState } from './doctor-crl-store.js';
import { rolloverState } from './doctor-rollover.js';
import { opensslProgram, vendorAnchorLife } from './doctor-vendor.js';
import { MAC_KEY_FILE } from './shared-key-file.js';

const DAY_MS = 86_400_000;
const FREE_BYTES_MIN = 2 * 1024 ** 3;

/** What `femtopki doctor` looks at. Each says what it saw and what to do; none changes anything. */
export function doctorChecks(data: string): DoctorCheck[] {
  const paths = dataPaths(data);
  const config = (): Config => effectiveConfig(data);
  return [
    { name: 'node', run: async () => nodeVersion() },
    { name: 'data-directory', run: async () => dataDirectory(data) },
    { name: 'disk', run: async () => freeDisk(data) },
    { name: 'config', run: async () => fine(`mode ${config().mode}, operator ${config().operator}`) },
    { name: 'token-module', run: async () => tokenModule(config()) },
    { name: 'openssl', run: async () => opensslProgram() },
    { name: 'pin', run: async () => pinRefused(paths.signer) },
    { name: 'secrets', run: async () => secretFiles(paths.secrets) },
    { name: 'hierarchy', run: async () => hierarchyLife(data) },
    { name: 'processes', run: async () => supervisor(data) },
    { name: 'signer', run: () => signerAnswers(config(), paths) },
    {
      name: 'enrol-server',
      run: () => listens('enrol-server', config().listen.enrol.host, config().listen.enrol.port),
    },
    { name: 'cmp', run: () => listens('enrol-server', config().listen.cmp.host, config().listen.cmp.port) },
    {
      name: 'status-server',
      run: () => listens('status-server', config().listen.status.host, config().listen.status.port),
    },
    {
      name: 'gateway-server',
      run: () => listens('gateway-server', config().listen.gateway.host, config().listen.gateway.port),
    },
    {
      name: 'operator-server',
      run: () => listens('operator-server', config().listen.operator.host, config().listen.operator.port),
    },
    { name: 'crl', run: async () => crlLife(data) },
    { name: 'crl-parts', run: () => crlPartsLife(paths.crl, deviceCaLabels(data), config().status) },
    { name: 'root-crl', run: async () => rootCrlLife(data) },
    { name: 'crl-store', run: () => crlStoreState(config(), paths) },
    { name: 'database', run: () => database(data, config()) },
    { name: 'rollover', run: () => rollover(data, config(), paths) },
    { name: 'vendor-anchors', run: () => vendorAnchors(data, config()) },
  ];
}

/** This host's signer by its probes; one of another host by a handshake in which both prove their keys. */
async function signerAnswers(config: Config, paths: DataPaths) {
  const { places } = config.signer;
  if (places.length === 0) return listens('signer', config.metrics.host, config.metrics.signer);
  try {
    const socket = await dialHosts(places, openLinkIdentity(linkKeyPath(paths, 'enrol')))('ca');
    socket.destroy();
    return fine(`${places.length} on other hosts, one at least answers`);
  } catch (thrown) {
    return critical(
      asFemtoError(thrown).message,
      'Look at signer.places here, and at listen.clients in signer.yaml there.',
    );
  }
}

/** What the running processes were given; else what a start would read. */
export function effectiveConfig(data: string): Config {
  const effective = join(dataPaths(data).run, 'effective.yaml');
  return existsSync(effective) ? loadConfig({ configFile: effective, env: {} }) : loadConfig({ dataDir: data });
}

function nodeVersion() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) {
    return fine(`Node.js ${process.versions.node}${major < 24 ? ' (past its end of life: 24 is recommended)' : ''}`);
  }
  return critical(`Node.js ${process.versions.node} is too old`, 'Install Node.js 24, at least 20.19.');
}

function dataDirectory(data: string) {
  if (!existsSync(data))
    return critical(`${data} does not exist`, 'Start with npm start, or name another directory with --data.');
  accessSync(data, constants.R_OK | constants.W_OK);
  return fine(data);
}

function freeDisk(data: string) {
  const { bavail, bsize } = statfsSync(data);
  const free = bavail * bsize;
  const text = `${(free / 1024 ** 3).toFixed(1)} GiB free`;
  return free < FREE_BYTES_MIN ? critical(text, 'Free at least 2 GiB: a full disk stops issuing.') : fine(text);
}

function tokenModule({ pkcs11 }: Config) {
  if (existsSync(pkcs11.module)) return fine(pkcs11.module);
  return critical(
    `${pkcs11.module} is not there`,
    'Install the module (Debian: apt-get install softhsm2) or set FEMTOPKI_PKCS11_MODULE.',
  );
}

function pinRefused(signerDir: string) {
  const refusal = new PinMarker(signerDir).read();
  return refusal
    ? critical(`the token ${refusal.tokenLabel} refused the PIN at ${refusal.at} (CKR ${refusal.rv})`, refusal.nextStep)
    : fine('no refused PIN');
}

function secretFiles(secretsDir: string) {
  const open = ['cli-operator.token', 'cli-approver.token', 'nonce.key', MAC_KEY_FILE].filter((name) => {
    const path = join(secretsDir, name);
    return existsSync(path) && (statSync(path).mode & 0o077) !== 0;
  });
  return open.length === 0
    ? fine('credentials and keys are closed to others')
    : critical(`others may read ${open.join(', ')}`, `chmod 600 them in ${secretsDir}, and renew what they are.`);
}

function hierarchyLife(data: string) {
  const { entries, mode, installation } = readHierarchy(hierarchyPath(data));
  const soonest = entries
    .filter(({ kind }) => kind !== 'ocsp-signer')
    .reduce((a, b) => (a.notAfter < b.notAfter ? a : b));
  const days = Math.floor((Date.parse(soonest.notAfter) - Date.now()) / DAY_MS);
  const text = `installation ${installation}, ${mode}; ${soonest.label} ends first, in ${days} days`;
  if (days < 30) return critical(text, `Hold a ceremony for ${soonest.label} now.`);
  return days < 90 ? warning(text, `Plan a ceremony for ${soonest.label}.`) : fine(text);
}

function supervisor(data: string) {
  const pid = holderOf(data);
  return pid === undefined
    ? warning('no supervisor holds this directory', 'Start with npm start, unless each process runs alone here.')
    : fine(`supervisor ${pid}`);
}

async function listens(name: string, host: string, port: number) {
  const open = await new Promise<boolean>((done) => {
    const socket = createConnection({ host, port, timeout: 1_000 });
    const end = (value: boolean): void => {
      socket.destroy();
      done(value);
    };
    socket
      .once('connect', () => end(true))
      .once('error', () => end(false))
      .once('timeout', () => end(false));
  });
  return open
    ? fine(`${host}:${port} answers`)
    : critical(`nothing listens on ${host}:${port}`, `Start ${name}; its log is in the data directory's logs.`);
}

/** Undefined: the embedded one, which does not run. */
function databaseUrl(data: string, config: Config): string | undefined {
  const isEmbedded = loadConfig({ dataDir: data }).databaseUrl === undefined;
  return isEmbedded && holderOf(data) === undefined ? undefined : config.databaseUrl;
}

async function rollover(data: string, config: Config, { signer }: DataPaths) {
  const url = databaseUrl(data, config);
  if (url === undefined) return fine('not looked at: the database does not run');
  return rolloverState(url, config.signer.places.length === 0 ? readBarredKeys(signer) : null);
}

async function vendorAnchors(data: string, config: Config) {
  const url = databaseUrl(data, config);
  return url === undefined ? fine('not looked at: the database does not run') : vendorAnchorLife(url);
}

async function database(data: string, config: Config) {
  const url = databaseUrl(data, config);
  if (url === undefined) return warning('embedded, not running', 'It starts with npm start.');
  const pool = openPool(url, {
    applicationName: 'doctor',
    connectionsMax: 1,
    onIdleError: () => undefined,
  });
  try {
    const { rows } = await pool.query<{
      inbox: number;
      oldest: number;
      stopped: string | null;
      overdue: number;
      dead: number;
      beat: number | null;
      unapproved: string[] | null;
    }>(
      `SELECT (SELECT count(*) FROM ledger_inbox) AS inbox,
              coalesce((SELECT extract(epoch FROM now() - min(at)) FROM ledger_inbox), 0)::float8 AS oldest,
              (SELECT issuing_stopped FROM installation) AS stopped,
              (SELECT count(*) FROM renewal_task WHERE state = 'overdue') AS overdue,
              (SELECT count(*) FROM dead_letter WHERE resolved_at IS NULL) AS dead,
              (SELECT extract(epoch FROM now() - at) FROM heartbeat)::float8 AS beat,
              (SELECT array_agg(name ORDER BY name) FROM machine
               WHERE state = 'requested' AND requested_by LIKE 'system:%') AS unapproved`,
    );
    const row = rows[0];
    if (!row) return critical('the database answers nothing', 'Run npm start: it applies migrations.');
    const text = `${row.inbox} entries unsequenced, ${row.overdue} renewals overdue, ${row.dead} dead jobs, heartbeat ${row.beat === null ? 'never' : `${Math.round(row.beat)} s ago`}`;
    if (row.stopped !== null)
      return critical(
        `issuing is stopped: ${row.stopped}`,
        'Find the cause in the log of enrol-server, then clear it with two people.',
      );
    if (row.oldest > 60)
      return critical(
        text,
        'The sequencer stands still: see the log of rotation-worker. Issuing stops until it catches up.',
      );
    if (row.beat === null || row.beat > 10) return critical(text, 'rotation-worker does not run: start it.');
    if (row.unapproved !== null) {
      const commands = row.unapproved.map((name) => `femtopki machine approve ${name}`).join('; ');
      return warning(`${row.unapproved.join(', ')} of our own processes wait for approval`, commands);
    }
    return row.overdue > 0 || row.dead > 0
      ? warning(text, 'femtopki renewal list; femtopki renewal dead-letters')
      : fine(text);
  } finally {
    await pool.end();
  }
}
