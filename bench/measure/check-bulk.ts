import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { databaseSource } from '../../src/operator/audit/ledger-source.pg.js';
import { verifyLedger } from '../../src/operator/audit/verify-ledger.js';
import { makeLeases } from '../../src/platform/db/lease.pg.js';
import { SEQUENCER_LEASE } from '../../src/platform/ledger/sequencer.js';
import { makeSequencer } from '../../src/platform/ledger/sequencer.pg.js';
import { pemBlock } from '../../src/x509/pem.js';
import { run } from '../../test/support/command.js';
import type { IssuanceWorld } from '../../test/support/issuance-world.js';
import type { Measurement } from '../scenario.js';

const FILES_A_CALL = 500;

/** What the checks look at. */
type Checked = Pick<IssuanceWorld, 'db' | 'token' | 'transactor'>;

/** Speed that lost or doubled anything is worth nothing: every certificate, row and ledger entry is looked at. */
export async function checkBulk(
  world: Checked,
  { issued, refused, firstRefusal }: { issued: number; refused: number; firstRefusal: string },
): Promise<Measurement['checks']> {
  return [
    { what: `no row was refused (${refused} were; ${firstRefusal || 'none'})`, ok: refused === 0 },
    ...(await checkIssued(world, issued)),
  ];
}

/** Every fact that was appended is numbered, and the chain holds. */
export async function checkChain(world: Checked, appended: number): Promise<Measurement['checks']> {
  const { isWhole, entries } = await ledgerReport(world);
  return [{ what: `the ledger is whole: ${entries} entries of ${appended}`, ok: isWhole && entries === appended }];
}

/** Under which CA and root each kind is verified. */
const CHAIN = { operational: ['device-ca-1', 'access-root'], bootstrap: ['bootstrap-ca', 'bootstrap-root'] } as const;

/** @param issued  how many certificates of that purpose were handed out */
export async function checkIssued(
  world: Checked,
  issued: number,
  purpose: keyof typeof CHAIN = 'operational',
): Promise<Measurement['checks']> {
  const { rows } = await world.db.pool.query<{ serial: string; der: Buffer; purpose: string }>(
    `SELECT encode(serial, 'hex') AS serial, der, purpose FROM certificate`,
  );
  const { rows: open } = await world.db.pool.query(`SELECT 1 FROM issuance_intent WHERE state <> 'issued'`);
  const leaves = rows.filter((row) => row.purpose === purpose).map(({ der }) => der);
  const verified = verifiedByOpenssl(world, leaves, CHAIN[purpose]);
  const ledger = await ledgerReport(world);
  return [
    { what: `${issued} issued, ${leaves.length} rows`, ok: issued === leaves.length && issued > 0 },
    { what: 'every serial is another', ok: new Set(rows.map(({ serial }) => serial)).size === rows.length },
    { what: 'every intent ended as issued', ok: open.length === 0 },
    { what: `openssl verify: ${verified} OK`, ok: verified === leaves.length },
    {
      what: `the ledger is whole: ${ledger.entries} entries, ${ledger.issued} of them issues`,
      ok: ledger.isWhole && ledger.issued === rows.length,
    },
  ];
}

function verifiedByOpenssl(
  world: Checked,
  certificates: readonly Buffer[],
  [caLabel, rootLabel]: readonly [string, string],
): number {
  const dir = join(world.token.dataDir, 'bench-certificates');
  mkdirSync(dir);
  const ca = join(dir, 'ca.pem');
  const root = join(dir, 'root.pem');
  writeFileSync(ca, world.token.entry(caLabel).certificatePem);
  writeFileSync(root, world.token.entry(rootLabel).certificatePem);
  let verified = 0;
  for (let from = 0; from < certificates.length; from += FILES_A_CALL) {
    const files = certificates.slice(from, from + FILES_A_CALL).map((der, index) => {
      const file = join(dir, `${from + index}.pem`);
      writeFileSync(file, pemBlock('CERTIFICATE', der));
      return file;
    });
    const { text } = run('openssl', ['verify', '-x509_strict', '-CAfile', root, '-untrusted', ca, ...files]);
    verified += text.split('\n').filter((line) => line.endsWith('.pem: OK')).length;
  }
  rmSync(dir, { recursive: true });
  return verified;
}

/** Numbers what was appended, as the worker would, and verifies the chain from its first entry. */
async function ledgerReport(world: Checked): Promise<{ isWhole: boolean; entries: number; issued: number }> {
  const leases = makeLeases(world.transactor);
  const sequencer = makeSequencer({ transactor: world.transactor, leases });
  for (;;) {
    const lease = await leases.acquire(SEQUENCER_LEASE, 'bench', 60_000);
    if (!lease || (await sequencer.sequenceOnce(lease)).taken === 0) break;
  }
  const auditCertificates = [world.token.entry('audit').certificatePem];
  const source = databaseSource({ databaseUrl: world.db.url, auditCertificates });
  const report = await verifyLedger(source);
  await source.close();
  const { rows } = await world.db.pool.query<{ count: number }>(
    `SELECT count(*) AS count FROM ledger WHERE kind = 'certificate.issued'`,
  );
  const entries = report.epochs.reduce((sum, epoch) => sum + epoch.entries, 0);
  return { isWhole: report.ok && report.unsequenced === 0, entries, issued: rows[0]?.count ?? 0 };
}
