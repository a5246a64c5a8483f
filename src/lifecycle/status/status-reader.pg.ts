import type { Transaction } from '../../platform/db/transaction.js';
import { isOurSerialShape, serialIssuedAfter } from '../../x509/serial.js';
import type { StatusFacts, StatusReader } from './certificate-status.js';
import type { OcspSignerStore } from './ocsp-signer.js';
import type { StatusState } from './status-row.js';

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

/**
 * The serial says when it was drawn, so only the partitions in which its certificate can lie are looked at: two instead
 * of all for a Device CA.
 */
const LIFE_DAYS_MAX: Readonly<Record<string, number>> = { 'device-ca': 33, 'services-ca': 368 };

interface Row {
  heartbeat: Date | null;
  replica: boolean;
  state: StatusState | null;
  reason: number | null;
  revoked_at: Date | null;
  issued: boolean;
  intent: StatusFacts['intent'];
}

// One statement is one snapshot: the heartbeat is the one that this very state was seen with.
const QUERY = `SELECT h.at AS heartbeat, pg_is_in_recovery() AS replica, r.state, r.reason, r.revoked_at,
    EXISTS (SELECT 1 FROM certificate c
      WHERE c.issuer_id = $1 AND c.serial = $2 AND c.not_after >= $3::timestamptz AND c.not_after < $4::timestamptz) AS issued,
    (SELECT i.state FROM issuance_intent i
      WHERE i.issuer_id = $1 AND i.serial = $2 AND i.created_at >= $5::timestamptz AND i.created_at < $6::timestamptz LIMIT 1) AS intent
  FROM (SELECT 1) AS one
  LEFT JOIN heartbeat h ON h.id = 1
  LEFT JOIN revoked_certificate r ON r.issuer_id = $1 AND r.serial = $2`;

/** @param tx  a pool outside any transaction; the primary or a replica */
export function makeStatusReader(tx: Transaction): StatusReader {
  return {
    read: async ({ issuerId, issuerKind, serial }) => {
      const values = [issuerId, serial, ...bounds(issuerKind, serial)];
      // Planned once a connection: looking through forty partitions' statistics costs more than the two look-ups.
      const { rows } = await tx.query<Row>(QUERY, values, { preparedAs: 'status-facts' });
      const row = rows[0];
      if (!row) throw new Error('the status query returned no row');
      return {
        heartbeatAt: row.heartbeat,
        isPrimary: !row.replica,
        row:
          row.state === null || row.reason === null || row.revoked_at === null
            ? null
            : { state: row.state, reason: row.reason, revokedAt: row.revoked_at },
        isIssued: row.issued,
        intent: row.intent,
      };
    },
  };
}

function bounds(issuerKind: string, serial: Buffer): (Date | string)[] {
  if (!isOurSerialShape(serial)) return ['-infinity', 'infinity', '-infinity', 'infinity'];
  const drawn = serialIssuedAfter(serial).getTime();
  const lifeDays = LIFE_DAYS_MAX[issuerKind];
  // A hostile serial may name an hour beyond any date PostgreSQL or JavaScript can write.
  if (drawn > SANE_MS_MAX) return ['-infinity', 'infinity', '-infinity', 'infinity'];
  return [
    new Date(drawn - DAY_MS),
    lifeDays === undefined ? 'infinity' : new Date(drawn + lifeDays * DAY_MS),
    new Date(drawn - 2 * HOUR_MS),
    new Date(drawn + 3 * HOUR_MS),
  ];
}

const SANE_MS_MAX = Date.UTC(2200, 0, 1);

export const ocspSignerStore: OcspSignerStore = {
  ocspSigners: async (tx, now) =>
    (
      await tx.query<{ issuerId: number; keyLabel: string; certificateDer: Buffer }>(
        `SELECT issuer_id AS "issuerId", key_label AS "keyLabel", certificate_der AS "certificateDer"
         FROM ocsp_signer WHERE not_after > $1 ORDER BY not_before DESC`,
        [now],
      )
    ).rows,
};
