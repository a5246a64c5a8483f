import type { Transaction } from '../../platform/db/transaction.js';
import type { CrlPart } from '../../x509/crl-part.js';
import {
  type BehindCa,
  type CrlPartStore,
  type NewBase,
  type NewPart,
  RELEASED_MAX,
  type RecordedPart,
} from './crl-part-store.js';
import { CRL_CHANNEL } from './crl-store.js';
import { spkiOfCertificate } from './issuer-key.js';

export const crlPartStore: CrlPartStore = {
  behind,
  newest,
  der,
  baseDer,
  released,
  record,
  markDone,
  markPublished,
  newerThan,
};

async function behind(tx: Transaction, now: Date): Promise<BehindCa[]> {
  const { rows } = await tx.query<{
    id: number;
    label: string;
    key_label: string;
    kind: string;
    subject_der: Buffer;
    key_identifier: Buffer;
    certificate_der: Buffer;
    number: number;
    this_update: Date;
    next_update: Date;
    base_number: number | null;
    base_this_update: Date | null;
    base_next_update: Date | null;
  }>(
    `SELECT i.id, i.label, i.key_label, i.kind, i.subject_der, i.key_identifier, i.certificate_der,
       c.number, c.this_update, c.next_update, s.base_number, s.base_this_update, s.base_next_update
     FROM issuer i
       JOIN LATERAL (SELECT number, this_update, next_update FROM crl WHERE issuer_id = i.id ORDER BY number DESC LIMIT 1) c ON true
       LEFT JOIN crl_parts_state s ON s.issuer_id = i.id
     WHERE i.kind IN ('device-ca', 'bootstrap-ca', 'services-ca') AND i.state <> 'offline' AND c.next_update > $1
       AND (s.done_number IS NULL OR s.done_number < c.number)
     ORDER BY i.id`,
    [now],
  );
  return rows.map((row) => ({
    issuerId: row.id,
    label: row.label,
    keyLabel: row.key_label,
    isDeviceCa: row.kind === 'device-ca',
    subjectDer: row.subject_der,
    keyIdentifier: row.key_identifier,
    spkiDer: spkiOfCertificate(row.certificate_der),
    complete: { number: row.number, thisUpdate: row.this_update, nextUpdate: row.next_update },
    base:
      row.base_number === null || row.base_this_update === null || row.base_next_update === null
        ? null
        : { number: row.base_number, thisUpdate: row.base_this_update, nextUpdate: row.base_next_update },
  }));
}

interface PartRow {
  issuer_id: number;
  label: string;
  part: CrlPart;
  number: number;
  this_update: Date;
  entries_sha256: Buffer;
  published_at: Date | null;
}

const PARTS = `SELECT p.issuer_id, i.label, p.part, p.number, p.this_update, p.entries_sha256, p.published_at
  FROM crl_part p JOIN issuer i ON i.id = p.issuer_id`;

async function newest(tx: Transaction): Promise<RecordedPart[]> {
  const { rows } = await tx.query<PartRow>(`${PARTS} WHERE p.der IS NOT NULL ORDER BY p.issuer_id, p.part`);
  return rows.map(partOf);
}

function partOf(row: PartRow): RecordedPart {
  return {
    issuerId: row.issuer_id,
    label: row.label,
    part: row.part,
    number: row.number,
    thisUpdate: row.this_update,
    entriesSha256: row.entries_sha256,
    publishedAt: row.published_at,
  };
}

async function der(tx: Transaction, part: Parameters<CrlPartStore['der']>[1]): Promise<Buffer | null> {
  const { rows } = await tx.query<{ der: Buffer | null }>(
    'SELECT der FROM crl_part WHERE issuer_id = $1 AND part = $2 AND number = $3',
    [part.issuerId, part.part, part.number],
  );
  return rows[0]?.der ?? null;
}

async function baseDer(tx: Transaction, issuerId: number): Promise<Buffer | null> {
  const { rows } = await tx.query<{ base_der: Buffer | null }>(
    'SELECT base_der FROM crl_parts_state WHERE issuer_id = $1',
    [issuerId],
  );
  return rows[0]?.base_der ?? null;
}

async function released(
  tx: Transaction,
  issuerId: number,
  since: Date,
  now: Date,
): Promise<{ serial: Buffer; at: Date }[]> {
  const { rows } = await tx.query<{ serial: Buffer; changed_at: Date }>(
    `SELECT serial, changed_at FROM revoked_certificate
     WHERE issuer_id = $1 AND state = 'released' AND changed_at > $2 AND not_after > $3
     ORDER BY changed_at LIMIT ${RELEASED_MAX + 1}`,
    [issuerId, since, now],
  );
  return rows.map((row) => ({ serial: row.serial, at: row.changed_at })).sort((a, b) => a.serial.compare(b.serial));
}

async function record(
  tx: Transaction,
  issuerId: number,
  parts: readonly NewPart[],
  { fence }: Parameters<CrlPartStore['record']>[3],
): Promise<void> {
  for (const part of parts) {
    await tx.query(
      `INSERT INTO crl_part (issuer_id, part, number, base_number, this_update, next_update, entry_count, entries_sha256,
         tbs_sha256, sha256, der, fence) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
      [
        issuerId,
        part.part,
        part.number,
        part.baseNumber,
        part.thisUpdate,
        part.nextUpdate,
        part.entryCount,
        part.entriesSha256,
        part.tbsSha256,
        part.sha256,
        part.der,
        fence,
      ],
    );
    await tx.query(
      'UPDATE crl_part SET der = NULL WHERE issuer_id = $1 AND part = $2 AND number < $3 AND der IS NOT NULL',
      [issuerId, part.part, part.number],
    );
    await tx.query(`SELECT pg_notify($1, label || '.' || $3 || ':' || $4) FROM issuer WHERE id = $2`, [
      CRL_CHANNEL,
      issuerId,
      part.part,
      String(part.number),
    ]);
  }
}

async function markDone(tx: Transaction, issuerId: number, number: number, base: NewBase | null): Promise<void> {
  await tx.query(
    `INSERT INTO crl_parts_state AS s (issuer_id, done_number, base_number, base_this_update, base_next_update, base_der)
     VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (issuer_id) DO UPDATE SET done_number = EXCLUDED.done_number,
       base_number = coalesce(EXCLUDED.base_number, s.base_number),
       base_this_update = coalesce(EXCLUDED.base_this_update, s.base_this_update),
       base_next_update = coalesce(EXCLUDED.base_next_update, s.base_next_update),
       base_der = coalesce(EXCLUDED.base_der, s.base_der)`,
    [issuerId, number, base?.number, base?.thisUpdate, base?.nextUpdate, base?.der],
  );
}

async function markPublished(
  tx: Transaction,
  part: Parameters<CrlPartStore['markPublished']>[1],
  at: Date,
): Promise<void> {
  await tx.query(
    'UPDATE crl_part SET published_at = $4 WHERE issuer_id = $1 AND part = $2 AND number = $3 AND published_at IS NULL',
    [part.issuerId, part.part, part.number, at],
  );
}

async function newerThan(tx: Transaction, known: ReadonlyMap<string, bigint>): Promise<RecordedPart[]> {
  const { rows } = await tx.query<PartRow>(
    `${PARTS} LEFT JOIN unnest($1::text[], $2::bigint[]) AS k(name, number) ON k.name = i.label || '.' || p.part
     WHERE p.der IS NOT NULL AND p.number > coalesce(k.number, -1)`,
    [[...known.keys()], [...known.values()].map(String)],
  );
  return rows.map(partOf);
}
