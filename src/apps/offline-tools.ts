import {
  copyFileSync,
  createWriteStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { auditTable } from '../operator/audit/audit-table.js';
import { checkLedger } from '../operator/audit/check-ledger.pg.js';
import { checkTable } from '../operator/audit/check-table.js';
import { exportedSource, exportLedger } from '../operator/audit/export-directory.js';
import type { LedgerSource } from '../operator/audit/ledger-source.js';
import { databaseSource } from '../operator/audit/ledger-source.pg.js';
import { verifyLedger } from '../operator/audit/verify-ledger.js';
import type { OfflineTools } from '../operator/cli/offline-commands.js';
import { loadConfig, printableConfig } from '../platform/config/config.js';
import { dataPaths, holdDataDirectory, holderOf } from '../platform/data-directory.js';
import { startEmbeddedPostgres } from '../platform/db/embedded-postgres.js';
import { removeHome } from '../platform/db/embedded-postgres-place.js';
import { openPool, type Pool } from '../platform/db/pool.pg.js';
import { FemtoError } from '../platform/errors.js';
import { barKey } from '../platform/hsm/barred-keys.js';
import { type HierarchyEntry, hierarchyPath, readHierarchy } from '../platform/hsm/hierarchy.js';
import { linkKeyPath, makeLinkKey, readLinkKey } from '../platform/hsm/link-identity.js';
import { ocspAskerIfServed } from './ask-ocsp.js';
import { ceremonyWithTokens, extensionWithTokens, rootCrlsWithTokens } from './ceremony.js';
import { doctorChecks, effectiveConfig } from './doctor-checks.js';

/** The commands that need no server, bound to files, tokens and the database. */
export const offlineTools: OfflineTools = {
  caInit: ({ data, config: configFile, ceremony }, onStep) => {
    const config = loadConfig({ dataDir: data, configFile });
    const outcome = ceremonyWithTokens(
      {
        file: resolve(ceremony),
        dataDir: config.dataDir,
        module: { path: config.pkcs11.module, environment: {} },
        mode: config.mode,
        baseUrls: { status: config.publicUrls.status },
        operator: config.operator,
        realm: config.realm,
      },
      ({ number, of, text }) => onStep(`${number}/${of} ${text}`),
    );
    return { transcriptPath: outcome.transcriptPath, hierarchyPath: outcome.hierarchyPath };
  },
  caExtend: ({ data, config: configFile, ceremony }, onStep) => {
    const config = loadConfig({ dataDir: data, configFile });
    const { made } = extensionWithTokens(
      {
        file: resolve(ceremony),
        dataDir: config.dataDir,
        module: { path: config.pkcs11.module, environment: {} },
        statusUrl: config.publicUrls.status,
      },
      ({ number, of, text }) => onStep(`${number}/${of} ${text}`),
    );
    return made.map(shownEntry);
  },
  caSignCrls: ({ data, config: configFile, ceremony, revoke }, onStep) => {
    const config = loadConfig({ dataDir: data, configFile });
    const outcome = rootCrlsWithTokens(
      {
        file: resolve(ceremony),
        dataDir: config.dataDir,
        module: { path: config.pkcs11.module, environment: {} },
        mode: config.mode,
        ...(revoke && { revoke }),
      },
      ({ number, of, text }) => onStep(`${number}/${of} ${text}`),
    );
    return outcome.crls.map(({ label, number, nextUpdate, entries, path }) => ({
      label,
      number,
      nextUpdate,
      entries,
      path,
    }));
  },
  caBar: (data, label) => {
    const ca = readHierarchy(hierarchyPath(data)).entries.find((entry) => entry.label === label);
    if (!ca?.kind.endsWith('-ca')) throw new FemtoError('NOT_FOUND', `${label} is no CA; femtopki ca show lists them.`);
    return barKey(dataPaths(data).signer, ca.keyLabel);
  },
  caShow: (data) => readHierarchy(hierarchyPath(data)).entries.map(shownEntry),
  configPrint: ({ data, config }) => printableConfig(loadConfig({ dataDir: data, configFile: config })),
  doctorChecks,
  auditVerify: async ({ data, export: exported, anchors, certificates }) => {
    const own = certificates.map((file) => readFileSync(file, 'utf8'));
    return await withSource(data, exported, anchors, async (source) => {
      const report = await verifyLedger(source, own.length > 0 ? own : undefined);
      return { exitCode: report.exitCode, table: auditTable(report), report };
    });
  },
  checkLedger: (data, otherSigners) =>
    withDatabaseUrl(data, async (databaseUrl) => {
      const { host, port } = effectiveConfig(data).listen.status;
      const askOcsp = await ocspAskerIfServed(`http://${host.includes(':') ? `[${host}]` : host}:${port}`);
      const report = await checkLedger({
        databaseUrl,
        paths: dataPaths(data),
        otherSigners,
        auditCertificates: auditCertificatesOf(data),
        ...(askOcsp !== null && { askOcsp }),
      });
      return { exitCode: report.exitCode, table: checkTable(report), report };
    }),
  export: (data, out) =>
    withSource(data, undefined, undefined, async (source) => ({
      directory: resolve(out),
      ...(await exportLedger(source, out, dataPaths(data).anchors)),
    })),
  backup: (data, out, onTable) => withDatabase(data, (pool) => backup(pool, data, out, onTable)),
  signerLinkKey: (data, end) => {
    const path = linkKeyPath(dataPaths(data), end);
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const made = makeLinkKey(path);
    return { end, file: path, made, spkiSha256: readLinkKey(path).spkiSha256 };
  },
  reset: (data) => {
    const pid = holderOf(data);
    if (pid !== undefined)
      throw new FemtoError('STATE_CONFLICT', `Process ${pid} holds ${data}; end it first (Ctrl-C, or kill ${pid}).`);
    if (!existsSync(join(data, 'run')) || !existsSync(join(data, 'secrets')))
      throw new FemtoError('NOT_FOUND', `${data} is no data directory of femtopki; nothing was removed.`);
    if (effectiveConfig(data).mode === 'production')
      throw new FemtoError('DENIED', 'A production installation is not removed by this command.');
    // Under root the cluster may live elsewhere, behind a link.
    removeHome(dataPaths(data).postgres);
    rmSync(data, { recursive: true });
  },
};

async function withSource<T>(
  data: string,
  exported: string | undefined,
  anchors: string | undefined,
  work: (source: LedgerSource) => Promise<T>,
): Promise<T> {
  if (exported !== undefined) {
    const source = exportedSource(exported);
    try {
      return await work(source);
    } finally {
      await source.close();
    }
  }
  return await withDatabaseUrl(data, async (databaseUrl) => {
    const anchorDir = anchors ?? dataPaths(data).anchors;
    const source = databaseSource({ databaseUrl, anchorDir, auditCertificates: auditCertificatesOf(data) });
    try {
      return await work(source);
    } finally {
      await source.close();
    }
  });
}

function auditCertificatesOf(data: string): string[] {
  return readHierarchy(hierarchyPath(data))
    .entries.filter(({ kind }) => kind === 'audit')
    .map(({ certificatePem }) => certificatePem);
}

/** The database of a running installation, or the embedded one started for the while where nobody holds it. */
export async function withDatabaseUrl<T>(data: string, work: (url: string) => Promise<T>): Promise<T> {
  const config = effectiveConfig(data);
  const isEmbedded = loadConfig({ dataDir: data }).databaseUrl === undefined;
  if (!isEmbedded || holderOf(data) !== undefined) {
    if (config.databaseUrl === undefined)
      throw new FemtoError('RETRY_LATER', 'The installation is starting; try again in a moment.');
    return await work(config.databaseUrl);
  }
  const paths = dataPaths(data);
  if (!existsSync(paths.postgres))
    throw new FemtoError('NOT_FOUND', `${data} holds no database; start with npm start.`);
  // Held: two commands at once would each take the other's server for a left-over and end it.
  const held = holdDataDirectory(data);
  try {
    const postgres = await startEmbeddedPostgres({
      homeDir: paths.postgres,
      logFile: join(paths.logs, 'postgres.log'),
    });
    try {
      return await work(postgres.url);
    } finally {
      await postgres.stop();
    }
  } finally {
    held.release();
  }
}

async function withDatabase<T>(data: string, work: (pool: Pool) => Promise<T>): Promise<T> {
  return await withDatabaseUrl(data, async (url) => {
    const pool = openPool(url, {
      applicationName: 'backup',
      connectionsMax: 1,
      statementTimeoutMs: 0,
      onIdleError: () => undefined,
    });
    try {
      return await work(pool);
    } finally {
      await pool.end();
    }
  });
}

const ROWS_A_FETCH = 2_000;

/** Every table as gzipped NDJSON out of one snapshot, and the public files. Keys and PINs stay where they are. */
async function backup(
  pool: Pool,
  data: string,
  out: string,
  onTable: (name: string, done: number, of: number) => void,
): Promise<Record<string, unknown>> {
  if (existsSync(out) && readdirSync(out).length > 0)
    throw new FemtoError('STATE_CONFLICT', `${out} is not empty; name an empty directory.`);
  mkdirSync(join(out, 'tables'), { recursive: true, mode: 0o700 });
  const client = await pool.connect();
  const counts: Record<string, number> = {};
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const { rows: tables } = await client.query<{ name: string }>(
      `SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'access_token' ORDER BY relname`,
    );
    for (const [index, { name }] of tables.entries()) {
      onTable(name, index + 1, tables.length);
      await client.query(`DECLARE backup_cursor NO SCROLL CURSOR FOR SELECT to_jsonb(t)::text AS row FROM "${name}" t`);
      let count = 0;
      const lines = async function* () {
        for (;;) {
          const { rows } = await client.query<{ row: string }>(`FETCH ${ROWS_A_FETCH} FROM backup_cursor`);
          if (rows.length === 0) return;
          count += rows.length;
          yield rows.map(({ row }) => `${row}\n`).join('');
        }
      };
      await pipeline(
        Readable.from(lines()),
        createGzip(),
        createWriteStream(join(out, 'tables', `${name}.ndjson.gz`), { mode: 0o600 }),
      );
      await client.query('CLOSE backup_cursor');
      counts[name] = count;
    }
    await client.query('COMMIT');
  } finally {
    client.release();
  }
  for (const [folder, names] of [
    ['ca', ['hierarchy.json', 'transcript.json']],
    ['crl', readdirSync(dataPaths(data).crl)],
  ] as const) {
    mkdirSync(join(out, folder), { recursive: true });
    for (const name of names) {
      const from = join(data, folder, name);
      if (existsSync(from)) copyFileSync(from, join(out, folder, name));
    }
  }
  writeFileSync(join(out, 'backup.json'), `${JSON.stringify({ version: 1, rows: counts }, null, 2)}\n`);
  return {
    directory: resolve(out),
    tables: Object.keys(counts).length,
    rows: Object.values(counts).reduce((a, b) => a + b, 0),
  };
}

function shownEntry({ label, kind, state, issuerLabel, notAfter, certificateSha256 }: HierarchyEntry) {
  return { label, kind, state, issuer: issuerLabel, notAfter, certificateSha256 };
}
