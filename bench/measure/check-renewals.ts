import { checkLedger } from '../../src/operator/audit/check-ledger.pg.js';
import { dataPaths } from '../../src/platform/data-directory.js';
import type { IssuanceWorld } from '../../test/support/issuance-world.js';
import type { Measurement } from '../scenario.js';
import { checkIssued } from './check-bulk.js';

/** What the generator counted over all rounds, warm-ups included. */
export interface RenewalTally {
  readonly cmp: number;
  readonly rest: number;
}

/** What hangs on CRLs, OCSP and renewal tasks is the worker's and the status server's: neither runs here. */
const INVARIANTS = [1, 2, 3, 4, 5, 6, 11];

/** Every renewal that a client was told of is recorded, verified and confirmed; nothing else is there. */
export async function checkRenewals(
  world: Pick<IssuanceWorld, 'db' | 'token' | 'transactor'>,
  { cmp, rest, seeded }: RenewalTally & { readonly seeded: number },
): Promise<Measurement['checks']> {
  const made = cmp + rest;
  const checks = await checkIssued(world, made + seeded);
  const rows = async (sql: string): Promise<Record<string, number>> =>
    (await world.db.pool.query<Record<string, number>>(sql)).rows[0] ?? {};
  const slots = await rows(
    `SELECT count(*) FILTER (WHERE generation > 1 AND state = 'confirmed') AS confirmed,
       count(*) FILTER (WHERE generation > 1 AND confirmed_by = 'certConf') AS cmp,
       count(*) FILTER (WHERE generation > 1 AND confirmed_by = 'confirm-call') AS rest,
       count(*) FILTER (WHERE state NOT IN ('pending', 'confirmed')) AS other FROM lineage_slot`,
  );
  const exchanges = await rows(
    `SELECT count(*) FILTER (WHERE state = 'closed' AND serial IS NOT NULL) AS closed, count(*) AS all FROM cmp_transaction`,
  );
  const { refusals } = await rows('SELECT coalesce(sum(count), 0)::int AS refusals FROM refusal_count');
  const report = await checkLedger({
    databaseUrl: world.db.url,
    paths: dataPaths(world.token.dataDir),
    auditCertificates: [world.token.entry('audit').certificatePem],
    only: INVARIANTS,
  });
  const faults = report.invariants.flatMap(({ violations }) => violations);
  return [
    ...checks,
    {
      what: `slots confirmed: ${slots['cmp']} by certConf of ${cmp}, ${slots['rest']} by the confirm call of ${rest}`,
      ok: slots['cmp'] === cmp && slots['rest'] === rest && slots['confirmed'] === made && slots['other'] === 0,
    },
    {
      what: `CMP exchanges closed: ${exchanges['closed']} of ${exchanges['all']}`,
      ok: exchanges['closed'] === cmp && exchanges['all'] === cmp,
    },
    { what: `refusals counted: ${refusals}`, ok: refusals === 0 },
    {
      what: `check-ledger, invariants ${INVARIANTS.join(' ')}: ${report.ok ? 'clean' : faults.slice(0, 3).join('; ')}`,
      ok: report.ok && report.invariants.every(({ result }) => result === 'ok'),
    },
  ];
}
