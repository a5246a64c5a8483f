import { type PinnedProcess, startPinned, WHOLE_MACHINE } from '../measure/pinned-process.js';
import { interleaved } from '../measure/rounds.js';
import type { BenchContext, Measurement, Round, Scenario } from '../scenario.js';
import type { BulkReady, BulkRound } from '../servers/bulk-issuer.js';

/**
 * Certificates through issueMany, from request to recorded certificate, against two cores that do nothing but the steps
 * which no CA can leave out: key and proof, signature, hash and own check, one certificate row, one ledger row.
 */
export const scenario: Scenario = { name: 'issue-bulk', unit: 'certificates/s', limit: 'mandatory-steps', run };

const CORES = 2;
const FIRST_STOCK = 1_024;
/** More than a round should use, so that it ends by time and not for want of requests. */
const STOCK_MARGIN = 1.5;

/** Columns, indexes and size of our own rows; COPY text, `~` = 16 unique bytes in hex. */
const CERTIFICATE_ROW = [
  `DROP TABLE IF EXISTS floor_certificate;
   CREATE TABLE floor_certificate (not_after timestamptz, issuer_id smallint, serial bytea, purpose text, unit_id integer,
     slot_id bigint, generation integer, spki_hash bytea, not_before timestamptz, attempt_id uuid, issued_at timestamptz,
     der bytea, PRIMARY KEY (not_after, issuer_id, serial));
   CREATE UNIQUE INDEX ON floor_certificate (issuer_id, serial); CREATE INDEX ON floor_certificate (spki_hash);
   CREATE INDEX ON floor_certificate (unit_id)`,
  [
    ...['2027-01-01 00:00:00Z', '1', '\\\\x~', 'operational', '7', '7', '1', '\\\\x~~'],
    ...['2026-12-25 00:00:00Z', '~', '2026-12-25 00:00:00Z', `\\\\x${'~'.repeat(44)}`],
  ].join('\t'),
  'floor_certificate',
];
const LEDGER_ROW = [
  `DROP TABLE IF EXISTS floor_ledger;
   CREATE TABLE floor_ledger (kind text, subject text, at timestamptz, body text,
     id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)`,
  ['certificate.issued', 'unit:SN-1', '2026-12-25 00:00:00Z', `{"attemptId":"${'~'.repeat(14)}"}`].join('\t'),
  'floor_ledger (kind, subject, at, body)',
];

interface StepResult {
  readonly operations: number;
  readonly cpuSeconds: number;
}

async function run({ rounds, seconds, say }: BenchContext): Promise<Measurement> {
  const product = startPinned(new URL('../servers/bulk-issuer.ts', import.meta.url), WHOLE_MACHINE);
  const steps: { name: string; process: PinnedProcess }[] = [];
  try {
    const { databaseUrl, token, keyLabel } = await product.next<BulkReady>();
    const start = (name: string, file: string, args: readonly string[] = []): void => {
      steps.push({ name, process: startPinned(new URL(`../limits/${file}`, import.meta.url), WHOLE_MACHINE, args) });
    };
    start('request', 'check-request.ts');
    start('signature', 'raw-sign.ts', [JSON.stringify({ ...token, keyLabel })]);
    start('own checks', 'own-checks.ts');
    start('certificate row', 'copy-rows.ts', [databaseUrl, ...CERTIFICATE_ROW]);
    start('ledger row', 'copy-rows.ts', [databaseUrl, ...LEDGER_ROW]);
    for (const { process } of steps) await process.next();

    let stock = 0;
    let perSecond = FIRST_STOCK / seconds;
    const ofProduct = async (): Promise<Round> => {
      const wanted = Math.ceil(perSecond * seconds * STOCK_MARGIN);
      if (wanted > stock) {
        product.send({ prepare: wanted - stock });
        await product.next();
      }
      product.send({ seconds });
      const round = await product.next<BulkRound>();
      stock = round.left;
      perSecond = round.perSecond;
      say(microseconds('product', round.cpu));
      return round;
    };
    await ofProduct();
    const measured = await interleaved(
      rounds,
      { product: ofProduct, limit: () => ofLimit(steps, seconds / steps.length, say) },
      say,
    );
    product.send('check');
    return { ...measured, checks: await product.next<Measurement['checks']>() };
  } finally {
    await Promise.all([product, ...steps.map(({ process }) => process)].map((process) => process.end()));
  }
}

/** One step after the other, each alone: what a certificate costs at least, and what two cores full of that would give. */
async function ofLimit(
  steps: readonly { name: string; process: PinnedProcess }[],
  seconds: number,
  say: (line: string) => void,
): Promise<Round> {
  const cpu: Record<string, number> = {};
  for (const { name, process } of steps) {
    process.send({ seconds });
    const { operations, cpuSeconds } = await process.next<StepResult>();
    cpu[name] = cpuSeconds / operations;
  }
  say(microseconds('limit', cpu));
  const sum = Object.values(cpu).reduce((total, one) => total + one, 0);
  return { perSecond: CORES / sum, cpuSecondsPerOperation: sum, generatorBusy: 0 };
}

function microseconds(side: string, cpu: Readonly<Record<string, number>>): string {
  const parts = Object.entries(cpu).map(([name, seconds]) => `${name} ${Math.round(seconds * 1e6)}`);
  return `  ${side}, CPU microseconds a certificate: ${parts.join(', ')}`;
}
