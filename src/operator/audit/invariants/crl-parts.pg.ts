import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Transaction } from '../../../platform/db/transaction.js';
import type { JournalEntry } from '../../../platform/hsm/journal.js';
import { readCertificate } from '../../../x509/certificate.js';
import { type Crl, CrlEntryCursor, readCrl, verifyCrlSignature } from '../../../x509/crl.js';
import { belongsUnder, type CrlPart, crlPartFile, shardOfSerial } from '../../../x509/crl-part.js';
import type { Evidence, Violations } from './invariant.js';

const PUBLICATION_MS = 60_000;
const PART_NAME = /^crl-part:(.+):(delta|shard-\d{1,3}-\d{1,3}):(\d+)$/;

interface PartRow {
  readonly label: string;
  readonly part: CrlPart;
  readonly number: number;
  readonly base_number: number | null;
  readonly this_update: Date;
  readonly published_at: Date | null;
  readonly sha256: Buffer;
  readonly der: Buffer;
  readonly certificate_der: Buffer;
  readonly complete_der: Buffer | null;
}

/** The newest delta and shards: signed, what their rows say, published, and one with the complete CRL of their number. */
export async function checkParts({ tx, asOf, crlDir }: Evidence, violations: Violations): Promise<void> {
  const { rows } = await tx.query<PartRow>(
    `SELECT i.label, p.part, p.number, p.base_number, p.this_update, p.published_at, p.sha256, p.der, i.certificate_der,
       c.der AS complete_der
     FROM crl_part p JOIN issuer i ON i.id = p.issuer_id
       LEFT JOIN crl c ON c.issuer_id = p.issuer_id AND c.number = p.number
     WHERE p.der IS NOT NULL ORDER BY p.issuer_id, p.part`,
  );
  for (const row of rows) {
    violations.examined += 1;
    const what = `${row.part} ${row.number} of ${row.label}`;
    const list = readCrl(row.der);
    if (!createHash('sha256').update(row.der).digest().equals(row.sha256))
      violations.add(`${what} is not what its hash names`);
    if (!verifyCrlSignature(list, readCertificate(row.certificate_der).spki)) violations.add(`${what} does not verify`);
    const base = list.deltaBase === undefined ? null : Number(list.deltaBase);
    if (
      !belongsUnder(`${row.label}.${row.part}`, list) ||
      list.number !== BigInt(row.number) ||
      base !== row.base_number
    )
      violations.add(`${what} is of another number, base or kind than its row`);
    if (row.complete_der !== null && !agrees(list, readCrl(row.complete_der), row.part))
      violations.add(`${what} says other serials than the complete CRL of its number`);
    if (crlDir !== null) comparePublished(crlDir, row, asOf, violations);
  }
}

/** What a part lists of the complete CRL's, and what it takes away. */
function agrees(list: Crl, complete: Crl, part: CrlPart): boolean {
  const [, count, index] = /^shard-(\d+)-(\d+)$/.exec(part) ?? [];
  const isMine = (serial: Buffer): boolean => shardOfSerial(serial, Number(count)) === Number(index);
  const wanted = serials(complete, (serial) => part === 'delta' || isMine(serial));
  let seen = 0;
  const cursor = new CrlEntryCursor(list.entriesDer);
  while (cursor.next()) {
    const isListed = wanted.has(cursor.serial.toString('hex'));
    if (isListed === (cursor.reasonCode === REMOVE_FROM_CRL)) return false;
    seen += 1;
  }
  return part === 'delta' || seen === wanted.size;
}

const REMOVE_FROM_CRL = 8;

function serials(list: Crl, isWanted: (serial: Buffer) => boolean): Set<string> {
  const found = new Set<string>();
  const cursor = new CrlEntryCursor(list.entriesDer);
  while (cursor.next()) if (isWanted(cursor.serial)) found.add(cursor.serial.toString('hex'));
  return found;
}

function comparePublished(dir: string, row: PartRow, asOf: Date, violations: Violations): void {
  const name = crlPartFile(row.label, row.part);
  const path = join(dir, name);
  const file = existsSync(path) ? readFileSync(path) : null;
  if (file?.equals(row.der) || (file && (readCrl(file).number ?? 0n) > BigInt(row.number))) return;
  if (row.published_at === null && asOf.getTime() - row.this_update.getTime() <= PUBLICATION_MS) return;
  violations.add(`${name} is ${file ? 'not' : 'missing; it should be'} number ${row.number}`);
}

/** Of the journal's CRL entries those that name parts: what is recorded must be among what was signed. */
export async function explainParts(
  tx: Transaction,
  entries: readonly JournalEntry[],
  violations: Violations,
): Promise<void> {
  const named = entries.flatMap((entry) => {
    const [, label, part, number] = PART_NAME.exec(entry.name) ?? [];
    return label && part && number ? [{ label, part, number: Number(number) }] : [];
  });
  if (named.length === 0) return;
  const { rows } = await tx.query<{ name: string; tbs_sha256: string }>(
    `SELECT DISTINCT 'crl-part:' || u.label || ':' || p.part || ':' || p.number AS name, encode(p.tbs_sha256, 'hex') AS tbs_sha256
     FROM unnest($1::text[], $2::text[], $3::bigint[]) AS j(label, part, number)
       JOIN issuer u ON u.label = j.label JOIN crl_part p ON p.issuer_id = u.id AND p.part = j.part AND p.number = j.number`,
    [named.map(({ label }) => label), named.map(({ part }) => part), named.map(({ number }) => number)],
  );
  for (const { name, tbs_sha256 } of rows) {
    if (!entries.some((entry) => entry.name === name && entry.tbsSha256Hex === tbs_sha256))
      violations.add(`${name}: the recorded part is not the one that was signed`);
  }
}

export function isPartName(name: string): boolean {
  return PART_NAME.test(name);
}
