import type { Transaction } from '../../../platform/db/transaction.js';

/** What an invariant may look at. */
export interface Evidence {
  /** One snapshot of the database for all invariants: what is being written meanwhile is not judged. */
  readonly tx: Transaction;
  /** The moment judged: now, or the last heartbeat of an installation that has been stopped. */
  readonly asOf: Date;
  /** Published CRLs, `<label>.crl`; null: not at hand. */
  readonly crlDir: string | null;
  /** One a signer; none: the signers run elsewhere. */
  readonly journals: readonly JournalSnapshot[];
  /** Directories whose files must hold no secret. */
  readonly logDirs: readonly string[];
  /** PINs and tokens to look for; never shown. */
  readonly secrets: readonly string[];
  /** Answers of the running status server; null: it is not running. */
  readonly askOcsp: AskOcsp | null;
}

/** The journals as they stood before the database's snapshot: everything in them must be explained by it. */
export interface JournalSnapshot {
  readonly dir: string;
  /** Entries of each key class at that moment. */
  readonly sizes: Readonly<Record<'ca' | 'ocsp' | 'audit', number>>;
}

export type AskOcsp = (question: {
  issuerCertificateDer: Buffer;
  serial: Buffer;
}) => Promise<'good' | 'revoked' | 'no-answer'>;

export interface Outcome {
  /** Rows, files or entries looked at. */
  readonly examined: number;
  readonly violations: readonly string[];
  /** Violations beyond those listed. */
  readonly more?: number;
  /** Why it could not be judged; then it is neither clean nor broken. */
  readonly notRun?: string;
}

export interface Invariant {
  readonly id: number;
  readonly name: string;
  check(evidence: Evidence): Promise<Outcome>;
}

/** Listed of one invariant; the rest is counted. */
export const VIOLATIONS_LISTED = 20;

/** Collects violations within bounds. */
export class Violations {
  readonly #listed: string[] = [];
  #more = 0;
  examined = 0;

  add(violation: string): void {
    if (this.#listed.length < VIOLATIONS_LISTED) this.#listed.push(violation);
    else this.#more += 1;
  }

  outcome(): Outcome {
    return { examined: this.examined, violations: this.#listed, ...(this.#more > 0 && { more: this.#more }) };
  }
}

/** An invariant that one query states: each row it returns is a violation. */
export async function violationsOf(
  tx: Transaction,
  counting: string,
  query: { sql: string; params?: readonly unknown[]; says: (row: Record<string, unknown>) => string },
): Promise<Outcome> {
  const { rows: counted } = await tx.query<{ n: number }>(counting);
  const { rows } = await tx.query<Record<string, unknown>>(`${query.sql} LIMIT 1000`, query.params);
  const violations = new Violations();
  violations.examined = counted[0]?.n ?? 0;
  for (const row of rows) violations.add(query.says(row));
  return violations.outcome();
}
