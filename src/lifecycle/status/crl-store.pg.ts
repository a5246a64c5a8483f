import type { Transaction } from '../../platform/db/transaction.js';
import type { CrlIssuer, CrlStore, ListedEntry, RecordedCrl, StatusWitness } from './crl-store.js';
import { spkiOfCertificate } from './issuer-key.js';

export const crlStore: CrlStore = {
  issuers,
  dirtyTokens,
  newest,
  newerThan,
  listed,
  record,
  clearDirty,
  markPublished,
  witnesses,
};

interface IssuerRow {
  id: number;
  label: string;
  key_label: string;
  subject_der: Buffer;
  key_identifier: Buffer;
  certificate_der: Buffer;
  crl_number_last: number;
}

async function issuers(tx: Transaction, now: Date): Promise<CrlIssuer[]> {
  const { rows } = await tx.query<IssuerRow>(
    `SELECT id, label, key_label, subject_der, key_identifier, certificate_der, crl_number_last FROM issuer
     WHERE kind IN ('device-ca', 'bootstrap-ca', 'services-ca') AND state <> 'offline' AND not_after > $1 ORDER BY id`,
    [now],
  );
  return rows.map((row) => ({
    id: row.id,
    label: row.label,
    keyLabel: row.key_label,
    subjectDer: row.subject_der,
    keyIdentifier: row.key_identifier,
    spkiDer: spkiOfCertificate(row.certificate_der),
    numberLast: row.crl_number_last,
  }));
}

// xmin is the row's version: unlike a time it can never be equal for two writers.
async function dirtyTokens(tx: Transaction): Promise<ReadonlyMap<number, string>> {
  const { rows } = await tx.query<{ issuer_id: number; token: string }>(
    'SELECT issuer_id, xmin::text AS token FROM crl_dirty',
  );
  return new Map(rows.map((row) => [row.issuer_id, row.token]));
}

async function clearDirty(tx: Transaction, issuerId: number, token: string): Promise<void> {
  await tx.query('DELETE FROM crl_dirty WHERE issuer_id = $1 AND xmin::text = $2', [issuerId, token]);
}

async function newest(tx: Transaction, issuerId: number): Promise<RecordedCrl | null> {
  const { rows } = await tx.query<{
    number: number;
    this_update: Date;
    next_update: Date;
    entry_count: number;
    sha256: Buffer;
    der: Buffer;
    published_at: Date | null;
  }>(
    `SELECT number, this_update, next_update, entry_count, sha256, der, published_at
     FROM crl WHERE issuer_id = $1 ORDER BY number DESC LIMIT 1`,
    [issuerId],
  );
  const row = rows[0];
  if (!row) return null;
  return {
    issuerId,
    number: row.number,
    thisUpdate: row.this_update,
    nextUpdate: row.next_update,
    entryCount: row.entry_count,
    sha256: row.sha256,
    der: row.der,
    publishedAt: row.published_at,
  };
}

async function newerThan(
  tx: Transaction,
  known: ReadonlyMap<string, bigint>,
): Promise<{ label: string; der: Buffer }[]> {
  const { rows } = await tx.query<{ label: string; der: Buffer }>(
    `SELECT i.label, c.der FROM issuer i
     JOIN LATERAL (SELECT number, der FROM crl WHERE issuer_id = i.id ORDER BY number DESC LIMIT 1) c ON true
     WHERE c.number > coalesce((SELECT k.number FROM unnest($1::text[], $2::bigint[]) AS k(label, number) WHERE k.label = i.label), 0)`,
    [[...known.keys()], [...known.values()].map(String)],
  );
  return rows;
}

async function listed(tx: Transaction, issuerId: number, expiringAfter: Date): Promise<ListedEntry[]> {
  const { rows } = await tx.query<{ serial: Buffer; entry_der: Buffer }>(
    `SELECT serial, entry_der FROM revoked_certificate
     WHERE issuer_id = $1 AND state <> 'released' AND not_after > $2 ORDER BY serial`,
    [issuerId, expiringAfter],
  );
  return rows.map((row) => ({ serial: row.serial, entryDer: row.entry_der }));
}

async function record(tx: Transaction, crl: Parameters<CrlStore['record']>[1]): Promise<void> {
  await tx.query(
    `INSERT INTO crl (issuer_id, number, this_update, next_update, entry_count, sha256, der, fence)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
    [crl.issuerId, crl.number, crl.thisUpdate, crl.nextUpdate, crl.entryCount, crl.sha256, crl.der, crl.lease.fence],
  );
}

async function markPublished(tx: Transaction, issuerId: number, number: number, at: Date): Promise<void> {
  await tx.query('UPDATE crl SET published_at = $3 WHERE issuer_id = $1 AND number = $2 AND published_at IS NULL', [
    issuerId,
    number,
    at,
  ]);
}

// Subjects as revocation writes them; the unit of a serial comes from the record of what was issued, never from the row
// whose absence is to be explained.
async function witnesses(tx: Transaction, issuerId: number, serials: readonly Buffer[]): Promise<StatusWitness[]> {
  const { rows } = await tx.query<{ kind: StatusWitness['kind']; at: Date; body: string }>(
    `WITH asked AS (SELECT serial FROM unnest($2::bytea[]) AS s(serial)),
     subjects AS (
       SELECT 'certificate:' || encode(serial, 'hex') AS subject FROM asked
       UNION SELECT 'unit:' || u.serial_number FROM asked
         JOIN issuance_intent i ON i.issuer_id = $1 AND i.serial = asked.serial JOIN unit u ON u.id = i.unit_id
       UNION SELECT 'unit:' || u.serial_number FROM asked
         JOIN revoked_certificate r ON r.issuer_id = $1 AND r.serial = asked.serial JOIN unit u ON u.id = r.unit_id)
     SELECT kind, at, body FROM ledger JOIN subjects USING (subject)
       WHERE kind IN ('certificate.revoked', 'certificate.held', 'certificate.released')
     UNION ALL
     SELECT kind, at, body FROM ledger_inbox JOIN subjects USING (subject)
       WHERE kind IN ('certificate.revoked', 'certificate.held', 'certificate.released')`,
    [issuerId, serials],
  );
  return rows.flatMap(({ kind, at, body }) => {
    const fields = JSON.parse(body) as { issuerId?: unknown; serial?: unknown; notAfter?: unknown };
    if (fields.issuerId !== issuerId || typeof fields.serial !== 'string' || typeof fields.notAfter !== 'string')
      return [];
    return [{ kind, at, serialHex: fields.serial, notAfter: new Date(fields.notAfter) }];
  });
}
