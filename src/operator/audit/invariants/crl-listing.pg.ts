import type { Transaction } from '../../../platform/db/transaction.js';
import { CrlEntryCursor, inSerialOrder } from '../../../x509/crl.js';
import type { Violations } from './invariant.js';

/** A revocation reaches its CRL in so long; later it is missing. */
export const PUBLICATION_MS = 60_000;
const SLICE_BYTES = 1_048_576;
const ROWS_AT_ONCE = 10_000;

/** The newest CRL of one CA, without its bytes. */
export interface NewestCrl {
  readonly issuer_id: number;
  readonly label: string;
  readonly number: number;
  readonly this_update: Date;
  readonly next_update: Date;
  readonly published_at: Date | null;
  readonly certificate_der: Buffer;
}

export async function newestCrls(tx: Transaction): Promise<NewestCrl[]> {
  const { rows } = await tx.query<NewestCrl>(
    `SELECT DISTINCT ON (c.issuer_id) c.issuer_id, i.label, c.number, c.this_update, c.next_update, c.published_at,
       i.certificate_der
     FROM crl c JOIN issuer i ON i.id = c.issuer_id WHERE i.state <> 'offline' ORDER BY c.issuer_id, c.number DESC`,
  );
  return rows;
}

/** The bytes of one CRL, at most 64 MiB: a slice at a time, and those of no other beside them. */
export async function crlBytes(tx: Transaction, { issuer_id, number }: NewestCrl): Promise<Buffer> {
  const slices: Buffer[] = [];
  for (let at = 1; ; at += SLICE_BYTES) {
    const { rows } = await tx.query<{ slice: Buffer | null }>(
      'SELECT substring(der FROM $3 FOR $4) AS slice FROM crl WHERE issuer_id = $1 AND number = $2',
      [issuer_id, number, at, SLICE_BYTES],
    );
    const slice = rows[0]?.slice ?? Buffer.alloc(0);
    slices.push(slice);
    if (slice.length < SLICE_BYTES) return Buffer.concat(slices);
  }
}

/** The list and the rows side by side, both by serial: whatever their number, a page of rows is in memory. */
export async function compareWithRows(
  tx: Transaction,
  { newest, entriesDer, asOf }: { newest: NewestCrl; entriesDer: Buffer; asOf: Date },
  violations: Violations,
): Promise<void> {
  const { issuer_id, label, number } = newest;
  const list = new Listing(entriesDer, violations, `CRL ${number} of ${label}`);
  for (let after: Buffer | undefined = Buffer.alloc(0); after !== undefined; ) {
    const rows: StatusRow[] = await statusRows(tx, issuer_id, after);
    for (const row of rows) {
      const isListed = list.passTo(row.serial);
      const isRecent = asOf.getTime() - row.changed_at.getTime() <= PUBLICATION_MS;
      if (isListed && row.state === 'released' && !isRecent)
        violations.add(`${hexOf(row)} was released and is still on CRL ${number} of ${label}`);
      // One CRL past its expiry a certificate may leave the list (RFC 5280 section 3.3).
      if (!isListed && row.state !== 'released' && row.not_after >= newest.this_update && !isRecent)
        violations.add(
          `${hexOf(row)} is ${row.state} since ${row.changed_at.toISOString()} and not on CRL ${number} of ${label}`,
        );
    }
    after = rows.length === ROWS_AT_ONCE ? rows.at(-1)?.serial : undefined;
  }
  list.passTo(undefined);
}

interface StatusRow {
  readonly serial: Buffer;
  readonly state: string;
  readonly not_after: Date;
  readonly changed_at: Date;
}

async function statusRows(tx: Transaction, issuerId: number, after: Buffer): Promise<StatusRow[]> {
  const { rows } = await tx.query<StatusRow>(
    `SELECT serial, state, not_after, changed_at FROM revoked_certificate
     WHERE issuer_id = $1 AND serial > $2 ORDER BY serial LIMIT $3`,
    [issuerId, after, ROWS_AT_ONCE],
  );
  return rows;
}

function hexOf({ serial }: StatusRow): string {
  return serial.toString('hex');
}

/** A CRL's entries by serial, as the rows go by. */
class Listing {
  readonly #cursor: CrlEntryCursor;
  #hasEntry: boolean;

  constructor(
    entriesDer: Buffer,
    private readonly violations: Violations,
    private readonly what: string,
  ) {
    this.#cursor = new CrlEntryCursor(inSerialOrder(entriesDer));
    this.#hasEntry = this.#next();
  }

  /** Is it listed? Entries before it have no row; undefined: nor have all that are left. */
  passTo(serial: Buffer | undefined): boolean {
    const cursor = this.#cursor;
    while (this.#hasEntry) {
      const order = serial === undefined ? -1 : cursor.serial.compare(serial);
      if (order > 0) return false;
      if (order < 0) this.violations.add(`${cursor.serial.toString('hex')} is on ${this.what} and not in the database`);
      this.#hasEntry = this.#next();
      if (order === 0) return true;
    }
    return false;
  }

  #next(): boolean {
    const cursor = this.#cursor;
    while (cursor.next()) {
      this.violations.examined += 1;
      if (cursor.isInOrder()) return true;
      this.violations.add(`${cursor.serial.toString('hex')} is twice on ${this.what}`);
    }
    return false;
  }
}
