import { randomBytes } from 'node:crypto';
import type { Round } from '../scenario.js';
import { type PinnedProcess, startPinned } from './pinned-process.js';

/** One step that nobody can leave out, measured alone by a probe of `bench/limits/`. */
export interface Step {
  readonly name: string;
  /** How often one operation takes it; default 1. */
  readonly times?: number;
  readonly file: string;
  readonly args?: readonly string[];
}

interface StepResult {
  readonly operations: number;
  readonly cpuSeconds: number;
}

/** What an operation costs at least, step by step, and what so many cores full of nothing else would give. */
export interface Composite {
  /** CPU seconds of one operation by step. `more`: steps that something else measured, already times how often. */
  round(seconds: number, more?: Readonly<Record<string, number>>): Promise<Round & { cpu: Record<string, number> }>;
  end(): Promise<void>;
}

/** Starts one process a step, all on the same cores; each works alone while the others wait. */
export async function startComposite(
  steps: readonly Step[],
  cores: number | string,
  coreCount: number,
): Promise<Composite> {
  const started: (Step & { process: PinnedProcess })[] = [];
  for (const step of steps) {
    const process = startPinned(new URL(`../limits/${step.file}`, import.meta.url), cores, step.args);
    started.push({ ...step, process });
  }
  const end = async (): Promise<void> => void (await Promise.all(started.map(({ process }) => process.end())));
  try {
    for (const { process } of started) await process.next();
  } catch (error) {
    await end();
    throw error;
  }
  return {
    round: async (seconds, more = {}) => {
      const cpu: Record<string, number> = { ...more };
      for (const { name, process, times = 1 } of started) {
        process.send({ seconds: seconds / started.length });
        const { operations, cpuSeconds } = await process.next<StepResult>();
        cpu[name] = (times * cpuSeconds) / operations;
      }
      const sum = Object.values(cpu).reduce((total, one) => total + one, 0);
      return { perSecond: coreCount / sum, cpuSecondsPerOperation: sum, generatorBusy: 0, cpu };
    },
    end,
  };
}

export function microseconds(side: string, cpu: Readonly<Record<string, number>>): string {
  const parts = Object.entries(cpu).map(([name, seconds]) => `${name} ${Math.round(seconds * 1e6)}`);
  return `  ${side}, CPU microseconds an operation: ${parts.join(', ')}`;
}

/** For copy-rows.ts. Columns, indexes and size of our own rows; COPY text, `~` = 16 unique bytes in hex. */
export const CERTIFICATE_ROW = [
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

export const LEDGER_ROW = [
  `DROP TABLE IF EXISTS floor_ledger;
   CREATE TABLE floor_ledger (kind text, subject text, at timestamptz, body text,
     id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)`,
  ['certificate.issued', 'unit:SN-1', '2026-12-25 00:00:00Z', `{"attemptId":"${'~'.repeat(14)}"}`].join('\t'),
  'floor_ledger (kind, subject, at, body)',
];

/** One CMP exchange with its answer, kept for a repeat of the same bytes. */
export function transactionRow(answerOctets: number): string[] {
  return [
    `DROP TABLE IF EXISTS floor_transaction;
     CREATE TABLE floor_transaction (transaction_id bytea, protection_key bytea, body_kind text, state text,
       first_hash bytea, last_hash bytea, response bytea, our_nonce bytea, our_nonce_at timestamptz, issuer_id smallint,
       serial bytea, not_after timestamptz, created_at timestamptz, PRIMARY KEY (transaction_id, protection_key));
     -- A signed answer does not compress, and trying costs more than all the rest of the row.
     ALTER TABLE floor_transaction ALTER response SET STORAGE EXTERNAL`,
    [
      ...[
        '\\\\x~',
        '\\\\x~~',
        'kur',
        'closed',
        '\\\\x~~',
        '\\\\x~~',
        `\\\\x${randomBytes(answerOctets).toString('hex')}`,
      ],
      ...['\\\\x~', '2026-12-25 00:00:00Z', '1', '\\\\x~', '2027-01-01 00:00:00Z', '2026-12-25 00:00:00Z'],
    ].join('\t'),
    'floor_transaction',
  ];
}
