import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { certificatePem, readCertificate } from '../../src/x509/certificate.js';
import { type Drill, verdict } from '../drills/drill.js';
import { type OutageWorld, pemOf } from './outage-world.js';

/** What the common row keeps of an unused rate, seconds. */
const KEPT_SECONDS = 0.25;
const METER_SECONDS = 10;
const VERIFIED_AT_ONCE = 1_000;
const CLI = fileURLToPath(new URL('../../bin/femtopki.mjs', import.meta.url));

export interface Judged {
  readonly perSecond: number;
  /** When the first unit came, by the installation's clock. */
  readonly began: Date;
  readonly withinMs: number;
  /** Of those who came, at least so many had run out. */
  readonly expiredAtLeast: number;
  /** Who speaks EST confirms nothing: its certificate waits for its first permit. */
  readonly unconfirmed: number;
  readonly clock: readonly string[];
}

type Report = Parameters<Drill['run']>[0];

interface Row {
  readonly living: number;
  readonly confirmed: number;
  readonly serials: number;
  readonly closed: number;
  readonly busiest: number;
  readonly lastMs: number;
}

/** What PostgreSQL, OpenSSL and the ledger's own check say of a fleet that came back. */
export async function judgeReturn(report: Report, world: OutageWorld, judged: Judged): Promise<void> {
  const { seeds } = world;
  const expired = seeds.filter(({ certificate }) => notAfterOf(certificate) < judged.began).length;
  const enough = `at least ${judged.expiredAtLeast} expired`;
  report(
    verdict(
      `${expired} of ${seeds.length} units had run out before they could come back`,
      'their certificates',
      enough,
      expired >= judged.expiredAtLeast ? enough : `${expired}`,
    ),
  );
  const row = await readRecord(world);
  const took = (row.lastMs - judged.began.getTime()) / 60_000;
  report(
    verdict(
      `Every unit has one living certificate more, the last after ${took.toFixed(1)} min`,
      'PostgreSQL',
      said({ living: seeds.length, serials: seeds.length, confirmed: seeds.length - judged.unconfirmed, closed: 0 }),
      took * 60_000 <= judged.withinMs ? said(row) : `${took.toFixed(0)} min`,
    ),
  );
  const most = judged.perSecond * (1 + KEPT_SECONDS / METER_SECONDS);
  const rate = `at most ${judged.perSecond}/s and the quarter of a second that is kept`;
  const act = `The busiest ${METER_SECONDS} s of certificates: ${row.busiest / METER_SECONDS}/s`;
  report(verdict(act, 'PostgreSQL', rate, row.busiest <= most * METER_SECONDS ? rate : `${row.busiest}`));
  const good = await verified(world);
  report(verdict('Every new certificate under its CA', 'openssl verify', `${seeds.length} OK`, `${good} OK`));
  const command = [...judged.clock, process.execPath, CLI, '--data', world.dataDir, 'check-ledger'];
  const checked = spawnSync(command[0] as string, command.slice(1), {
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  if (checked.status !== 0) process.stderr.write(`${checked.stdout}${checked.stderr}\n`);
  report(verdict('The whole record', 'femtopki check-ledger', 'exit 0', `exit ${checked.status}`));
}

function said({
  living,
  confirmed,
  serials,
  closed,
}: Pick<Row, 'living' | 'confirmed' | 'serials' | 'closed'>): string {
  return `${living} units, ${serials} serials, ${confirmed} confirmed, ${closed} lineages not open`;
}

function notAfterOf(certificate: string): Date {
  return readCertificate(Buffer.from(certificate, 'base64')).notAfter;
}

async function readRecord({ pool }: OutageWorld): Promise<Row> {
  const { rows } = await pool.query<Row>(
    `WITH renewed AS (
       SELECT c.unit_id, c.serial, c.issued_at, s.state FROM certificate c JOIN lineage_slot s USING (issuer_id, serial)
       WHERE c.generation = 2 AND c.not_after > now() AND s.state IN ('pending', 'confirmed') AND NOT EXISTS (
         SELECT 1 FROM revoked_certificate r WHERE r.issuer_id = c.issuer_id AND r.serial = c.serial))
     SELECT count(DISTINCT unit_id)::int AS living, count(DISTINCT serial)::int AS serials,
       count(*) FILTER (WHERE state = 'confirmed')::int AS confirmed,
       (SELECT count(*)::int FROM lineage WHERE state <> 'open') AS closed,
       (extract(epoch FROM max(issued_at)) * 1000)::float8 AS "lastMs",
       (SELECT max(n)::int FROM (SELECT count(*) AS n FROM renewed GROUP BY floor(extract(epoch FROM issued_at) / $1)) w)
         AS busiest
     FROM renewed`,
    [METER_SECONDS],
  );
  const [row] = rows;
  if (row === undefined) throw new Error('PostgreSQL gave no row');
  return row;
}

/** How many of the new certificates OpenSSL says OK to. */
async function verified({ pool, hierarchy, dir, now }: OutageWorld): Promise<number> {
  const place = join(dir, 'issued');
  mkdirSync(place);
  const { rows } = await pool.query<{ der: Buffer; serial: Buffer }>(
    'SELECT der, serial FROM certificate WHERE generation = 2',
  );
  for (const { der, serial } of rows) writeFileSync(join(place, `${serial.toString('hex')}.pem`), certificatePem(der));
  const [root = '', ca = ''] = ['access-root', 'device-ca-1'].map((label) => {
    const file = join(dir, `${label}.pem`);
    writeFileSync(file, pemOf(hierarchy, label));
    return file;
  });
  const files = readdirSync(place);
  const at = String(Math.floor(now().getTime() / 1_000));
  let good = 0;
  for (let from = 0; from < files.length; from += VERIFIED_AT_ONCE) {
    const some = files.slice(from, from + VERIFIED_AT_ONCE);
    const args = ['verify', '-x509_strict', '-attime', at, '-CAfile', root, '-untrusted', ca, ...some];
    const { stdout } = spawnSync('openssl', args, { cwd: place, encoding: 'utf8', maxBuffer: 1 << 24 });
    good += stdout.match(/: OK$/gm)?.length ?? 0;
  }
  return good;
}
