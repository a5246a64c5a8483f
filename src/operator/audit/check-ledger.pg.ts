/**
 * `femtopki check-ledger`: does what is recorded hang together? The sixteen invariants of the whole installation, in one
 * snapshot of its database, beside its journals, CRL files and logs. Reads only; may run beside the servers.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DataPaths } from '../../platform/data-directory.js';
import { readHeart } from '../../platform/db/heartbeat.pg.js';
import { openPool } from '../../platform/db/pool.pg.js';
import type { Transaction } from '../../platform/db/transaction.js';
import { readJournal } from '../../platform/hsm/journal.js';
import { KEY_CLASSES } from '../../platform/hsm/key-class.js';
import type { InvariantReport, LedgerCheckReport } from './check-report.js';
import { CERTIFICATE_INVARIANTS } from './invariants/certificates.pg.js';
import type { AskOcsp, Evidence, Invariant, JournalSnapshot, Outcome } from './invariants/invariant.js';
import { JOURNAL_INVARIANTS } from './invariants/journal.pg.js';
import { LINEAGE_INVARIANTS } from './invariants/lineages.pg.js';
import { OPERATION_INVARIANTS } from './invariants/operations.pg.js';
import { SECRET_INVARIANTS } from './invariants/secrets.pg.js';
import { STATUS_INVARIANTS } from './invariants/status.pg.js';
import { databaseSource } from './ledger-source.pg.js';
import { verifyLedger } from './verify-ledger.js';

export interface CheckLedgerOptions {
  readonly databaseUrl: string;
  /** Data directory of the installation; absent: only the database is looked at, and the rest is said not to be run. */
  readonly paths?: Pick<DataPaths, 'crl' | 'signer' | 'logs' | 'anchors' | 'secrets'>;
  /** State directories of signers on other hosts, or copies of them. */
  readonly otherSigners?: readonly string[];
  /** PEM. */
  readonly auditCertificates: readonly string[];
  /** How to ask the running status server; absent: OCSP is not compared. */
  readonly askOcsp?: AskOcsp;
  /** Ids of invariants; default all. */
  readonly only?: readonly number[];
}

/** Beyond this the installation counts as stopped, and is judged as of its last heartbeat. */
const STOPPED_MS = 30_000;

export async function checkLedger(options: CheckLedgerOptions): Promise<LedgerCheckReport> {
  const signers = [...(options.paths === undefined ? [] : [options.paths.signer]), ...(options.otherSigners ?? [])];
  const journals = signers.flatMap(journalSnapshot);
  const pool = openPool(options.databaseUrl, {
    applicationName: 'check-ledger',
    connectionsMax: 1,
    statementTimeoutMs: 0,
    onIdleError: () => undefined,
  });
  const client = await pool.connect();
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    await client.query('SET LOCAL idle_in_transaction_session_timeout = 0');
    const tx: Transaction = {
      query: async <Row extends object>(sql: string, params: readonly unknown[] = []) => {
        const { rows, rowCount } = await client.query<Row>(sql, [...params]);
        return { rows, rowCount: rowCount ?? 0 };
      },
    };
    const heart = await readHeart(tx);
    const asOf = heart && heart.ageMs > STOPPED_MS ? heart.at : new Date();
    const evidence: Evidence = {
      tx,
      asOf,
      journals,
      crlDir: options.paths?.crl ?? null,
      logDirs: options.paths === undefined ? [] : [options.paths.logs],
      secrets: options.paths === undefined ? [] : secretsOf(options.paths.secrets),
      askOcsp: options.askOcsp ?? null,
    };
    const wanted = invariants(options).filter(({ id }) => options.only?.includes(id) ?? true);
    const reports: InvariantReport[] = [];
    for (const invariant of wanted) reports.push(await judge(invariant, evidence));
    await client.query('COMMIT');
    const ok = reports.every(({ result }) => result !== 'violated');
    return { ok, exitCode: ok ? 0 : 9, asOf: asOf.toISOString(), invariants: reports };
  } finally {
    client.release();
    await pool.end();
  }
}

function invariants(options: CheckLedgerOptions): Invariant[] {
  return [
    ...CERTIFICATE_INVARIANTS,
    ...LINEAGE_INVARIANTS,
    ...STATUS_INVARIANTS,
    {
      id: 10,
      name: 'the ledger, its heads and its anchors are those that were written',
      check: () => verifyWhole(options),
    },
    ...JOURNAL_INVARIANTS,
    ...OPERATION_INVARIANTS,
    ...SECRET_INVARIANTS,
  ].sort((a, b) => a.id - b.id);
}

async function judge(invariant: Invariant, evidence: Evidence): Promise<InvariantReport> {
  const { id, name } = invariant;
  const startedMs = performance.now();
  const outcome = await invariant.check(evidence);
  const seconds = Math.round(performance.now() - startedMs) / 1_000;
  const result = outcome.notRun !== undefined ? 'not run' : outcome.violations.length > 0 ? 'violated' : 'ok';
  return { id, name, result, seconds, ...outcome };
}

/** On a connection of its own: the ledger only grows, so a later look contradicts nothing that was seen before. */
async function verifyWhole({ databaseUrl, paths, auditCertificates }: CheckLedgerOptions): Promise<Outcome> {
  const source = databaseSource({
    databaseUrl,
    auditCertificates,
    ...(paths !== undefined && { anchorDir: paths.anchors }),
  });
  try {
    const report = await verifyLedger(source);
    return {
      examined: report.epochs.reduce((sum, { entries }) => sum + entries, 0),
      violations: report.findings.filter(({ severity }) => severity === 'critical').map(({ message }) => message),
    };
  } finally {
    await source.close();
  }
}

/** Before the database's snapshot: what is journalled here has its intent committed there. */
function journalSnapshot(signerDir: string): JournalSnapshot[] {
  if (!existsSync(signerDir)) return [];
  const sizes = { ca: 0, ocsp: 0, audit: 0 };
  for (const keyClass of KEY_CLASSES) for (const _ of readJournal(signerDir, keyClass)) sizes[keyClass] += 1;
  return sizes.ca + sizes.ocsp + sizes.audit === 0 ? [] : [{ dir: signerDir, sizes }];
}

/** What must not turn up elsewhere. A file that this account may not read is somebody else's to check. */
function secretsOf(dir: string): string[] {
  if (!existsSync(dir)) return [];
  return readdirSync(dir, { withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(pin|token|link)$/.test(entry.name))
    .flatMap((entry) => {
      try {
        return readFileSync(join(dir, entry.name), 'utf8')
          .split('\n')
          .map((line) => line.trim());
      } catch (thrown) {
        if ((thrown as NodeJS.ErrnoException).code === 'EACCES') return [];
        throw thrown;
      }
    });
}
