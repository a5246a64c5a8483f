import type { Transaction } from '../../platform/db/transaction.js';
import type {
  ChangedCertificate,
  StatusChangeQuery,
  StatusChangeReader,
  StatusChanges,
  StatusSnapshot,
} from './status-changes.js';
import type { StatusState } from './status-row.js';

export const statusChangeReader: StatusChangeReader = { changesAfter, snapshot };

const NUMBERED_MAX = 10_000;
const UNNUMBERED_MAX = 10_000;

const SNAPSHOT = `SELECT i.epoch, coalesce(f.size, 0) AS end_seq, h.at AS heartbeat, pg_is_in_recovery() AS replica
  FROM (SELECT coalesce((SELECT epoch FROM installation), 1) AS epoch) AS i
  LEFT JOIN ledger_frontier f ON f.epoch = i.epoch
  LEFT JOIN heartbeat h ON h.id = 1`;

/**
 * One statement is one snapshot. The status row is read by its key for each certificate, never by a join over the whole
 * table, whatever the planner believes about a JSON text. A body is one that the ledger itself wrote.
 */
const CHANGES = `WITH at AS (${SNAPSHOT}),
  entry AS (
    SELECT kind, body, true AS is_numbered FROM ledger, at
    WHERE ledger.epoch = $1 AND at.epoch = $1 AND seq > $2 AND seq <= least(at.end_seq, $2::bigint + $3) AND kind = ANY($5)
    UNION ALL
    (SELECT kind, body, false FROM ledger_inbox WHERE kind = ANY($5) ORDER BY id LIMIT $4)),
  named AS (
    SELECT kind, is_numbered, fact->>'notAfter' AS not_after,
      CASE WHEN jsonb_typeof(fact->'issuerId') = 'number' THEN (fact->>'issuerId')::integer END AS issuer_id,
      CASE WHEN fact->>'serial' ~ '^([0-9a-f]{2})+$' THEN decode(fact->>'serial', 'hex') END AS serial
    FROM (SELECT kind, is_numbered, body::jsonb AS fact FROM entry) AS parsed),
  unnamed AS (
    SELECT is_numbered FROM named
    WHERE issuer_id IS NULL OR serial IS NULL OR (kind = 'certificate.issued' AND not_after IS NULL)),
  certificate AS (
    SELECT issuer_id, serial, max(not_after)::timestamptz AS not_after, bool_or(kind = 'certificate.issued') AS is_issued
    FROM named WHERE issuer_id IS NOT NULL AND serial IS NOT NULL GROUP BY issuer_id, serial)
  SELECT at.*,
    (SELECT count(*) FROM ledger WHERE ledger.epoch = $1 AND seq > $2 AND seq <= least(at.end_seq, $2::bigint + $3)) AS numbered,
    (SELECT count(*) FROM entry WHERE NOT is_numbered) AS unnumbered,
    (SELECT count(*) FROM unnamed WHERE is_numbered) AS unreadable,
    (SELECT count(*) FROM unnamed WHERE NOT is_numbered) AS unreadable_yet,
    c.issuer_id, c.serial, coalesce(r.not_after, c.not_after) AS not_after, c.is_issued,
    r.unit_id, r.state, r.reason, r.revoked_at, r.entry_der, r.changed_at
  FROM at LEFT JOIN certificate c ON true
  LEFT JOIN LATERAL (
    SELECT * FROM revoked_certificate s WHERE s.issuer_id = c.issuer_id AND s.serial = c.serial LIMIT 1) AS r ON true`;

interface SnapshotColumns {
  readonly epoch: number;
  readonly end_seq: number;
  readonly heartbeat: Date | null;
  readonly replica: boolean;
}

interface Row extends SnapshotColumns {
  readonly numbered: number;
  readonly unnumbered: number;
  readonly unreadable: number;
  readonly unreadable_yet: number;
  readonly issuer_id: number | null;
  readonly serial: Buffer;
  readonly not_after: Date | null;
  readonly is_issued: boolean;
  readonly unit_id: number | null;
  readonly state: StatusState | null;
  readonly reason: number;
  readonly revoked_at: Date;
  readonly entry_der: Buffer;
  readonly changed_at: Date;
}

async function snapshot(tx: Transaction): Promise<StatusSnapshot> {
  const { rows } = await tx.query<SnapshotColumns>(SNAPSHOT);
  return snapshotOf(rows[0]);
}

async function changesAfter(tx: Transaction, query: StatusChangeQuery): Promise<StatusChanges> {
  const { after, kinds, numberedMax = NUMBERED_MAX, unnumberedMax = UNNUMBERED_MAX } = query;
  const bounds = [after.epoch, after.seq, numberedMax, unnumberedMax, kinds];
  const { rows } = await tx.query<Row>(CHANGES, bounds, { preparedAs: 'status-changes' });
  const [first] = rows;
  const at = snapshotOf(first);
  if (!first || at.end.epoch !== after.epoch) return resync('unknown-epoch', at);
  if (after.seq > at.end.seq) return resync('beyond-end', at);
  const seq = Math.min(at.end.seq, after.seq + numberedMax);
  if (first.numbered !== seq - after.seq) return resync('gap', at);
  if (first.unreadable > 0) return resync('unreadable', at);
  return {
    kind: 'changes',
    snapshot: at,
    certificates: rows.flatMap(certificateOf),
    position: { epoch: after.epoch, seq },
    // An inbox that filled the page may hold more; one entry that cannot be read waits for its number.
    isWhole: seq === at.end.seq && first.unnumbered < unnumberedMax && first.unreadable_yet === 0,
  };
}

function resync(
  reason: Extract<StatusChanges, { kind: 'resync' }>['reason'],
  at: StatusSnapshot,
): Extract<StatusChanges, { kind: 'resync' }> {
  return { kind: 'resync', reason, snapshot: at, to: at.end };
}

function snapshotOf(row: SnapshotColumns | undefined): StatusSnapshot {
  if (!row) throw new Error('the snapshot query returned no row');
  return { heartbeatAt: row.heartbeat, isPrimary: !row.replica, end: { epoch: row.epoch, seq: row.end_seq } };
}

function certificateOf(row: Row): ChangedCertificate[] {
  const { issuer_id: issuerId, serial, not_after: notAfter, is_issued: isIssued, state } = row;
  if (issuerId === null || notAfter === null) return [];
  const status =
    state === null
      ? null
      : {
          issuerId,
          serial,
          notAfter,
          unitId: row.unit_id,
          state,
          reason: row.reason,
          revokedAt: row.revoked_at,
          entryDer: row.entry_der,
          changedAt: row.changed_at,
        };
  return [{ issuerId, serial, notAfter, isIssued, row: status }];
}
