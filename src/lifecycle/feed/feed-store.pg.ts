import type { Transaction } from '../../platform/db/transaction.js';
import type { LedgerPosition } from '../../platform/ledger/cursors.js';
import type { AckStage, CrlPlace } from './feed.js';
import type { EntryReceipt, FeedRow, FeedStore, GatewayCursor, GatewayRow } from './feed-store.js';

/** Written out in every statement: the partial index `ledger_feed` is used only where the planner sees its condition. */
const FEED_KIND = `kind IN ('certificate.revoked','certificate.held','certificate.released')`;
const ROW = 'epoch, seq, kind, at, body';

/** A CRL is made of what is committed at thisUpdate, and no revoking transaction is older than this when it commits. */
const TRANSACTION_AGE_MAX = '60 seconds';

export const feedStore: FeedStore = {
  entries: async (tx, { epoch, seq }, toSeq, limit) =>
    (
      await tx.query<FeedRow>(
        `SELECT ${ROW} FROM ledger WHERE epoch = $1 AND seq > $2 AND seq <= $3 AND ${FEED_KIND} ORDER BY seq LIMIT $4`,
        [epoch, seq, toSeq, limit],
      )
    ).rows,

  countNumbered: async (tx, { epoch, seq }, toSeq) => {
    const { rows } = await tx.query<{ n: number }>(
      'SELECT count(*) AS n FROM ledger WHERE epoch = $1 AND seq > $2 AND seq <= $3',
      [epoch, seq, toSeq],
    );
    return rows[0]?.n ?? 0;
  },

  newest: async (tx, epoch) =>
    (
      await tx.query<FeedRow>(
        `SELECT ${ROW} FROM ledger WHERE epoch = $1 AND ${FEED_KIND} ORDER BY epoch DESC, seq DESC LIMIT 1`,
        [epoch],
      )
    ).rows[0] ?? null,

  newestOf: async (tx, serialHex) =>
    (
      await tx.query<FeedRow>(
        `WITH subjects AS (
           SELECT 'certificate:' || $1 AS subject
           UNION SELECT 'unit:' || u.serial_number FROM issuer i
             JOIN revoked_certificate r ON r.issuer_id = i.id AND r.serial = decode($1, 'hex')
             JOIN unit u ON u.id = r.unit_id)
         SELECT ${ROW} FROM ledger JOIN subjects USING (subject)
         WHERE ${FEED_KIND} AND body LIKE '%"serial":"' || $1 || '"%' ORDER BY epoch DESC, seq DESC LIMIT 1`,
        [serialHex],
      )
    ).rows[0] ?? null,

  issuerKeys: (tx, ids) => byId(tx, `SELECT id, encode(key_identifier, 'hex') AS name FROM issuer`, ids),
  unitNames: (tx, ids) => byId(tx, 'SELECT id, fqdn AS name FROM unit', ids),

  crls: async (tx) =>
    (
      await tx.query<CrlPlace>(
        `SELECT encode(i.key_identifier, 'hex') AS issuer, i.label, c.number, c.this_update AS "thisUpdate",
           i.certificate_der AS "certificateDer"
         FROM issuer i CROSS JOIN LATERAL (
           SELECT number, this_update FROM crl WHERE issuer_id = i.id ORDER BY number DESC LIMIT 1) c
         ORDER BY i.label`,
      )
    ).rows,

  // A dirty mark is written with the revocation and removed with the CRL that holds it. Where one stands, only what is
  // certainly older than that issuer's CRL counts as covered; the rest is told again.
  coveredByCrls: async (tx, { epoch, seq }) => {
    const { rows } = await tx.query<{ seq: number }>(
      `WITH behind AS (
         SELECT count(*) AS n, min(coalesce(c.this_update, to_timestamp(0))) AS since FROM crl_dirty d
         LEFT JOIN LATERAL (
           SELECT this_update FROM crl WHERE issuer_id = d.issuer_id ORDER BY number DESC LIMIT 1) c ON true)
       SELECT CASE WHEN behind.n = 0 THEN $2 ELSE coalesce(
         (SELECT l.seq FROM ledger l WHERE l.epoch = $1 AND l.seq <= $2 AND l.${FEED_KIND}
            AND l.at < behind.since - interval '${TRANSACTION_AGE_MAX}' ORDER BY l.seq DESC LIMIT 1), 0) END::bigint AS seq
       FROM behind`,
      [epoch, seq],
    );
    return { epoch, seq: rows[0]?.seq ?? 0 };
  },

  lockCursor: async (tx, gatewayId) => {
    await tx.query('INSERT INTO gateway_cursor (gateway_id) VALUES ($1) ON CONFLICT DO NOTHING', [gatewayId]);
    const { rows } = await tx.query<CursorColumns>(
      `SELECT ${CURSOR} FROM gateway_cursor c WHERE gateway_id = $1 FOR UPDATE`,
      [gatewayId],
    );
    return cursorOf(rows[0]) ?? NOTHING_YET;
  },

  writeCursor: async (tx, gatewayId, stage: AckStage, { epoch, seq }, at) => {
    await tx.query(
      `UPDATE gateway_cursor SET ${stage}_epoch = $2, ${stage}_seq = $3, ${stage}_at = $4 WHERE gateway_id = $1`,
      [gatewayId, epoch, seq, at],
    );
  },

  addReceipt: async (tx, { gatewayId, stage, from, to, at }) => {
    await tx.query(
      `INSERT INTO gateway_receipt (gateway_id, stage, epoch, seq, at)
       SELECT $1, $2, $3, $5, $6
       WHERE EXISTS (SELECT FROM ledger WHERE epoch = $3 AND seq > $4 AND seq <= $5 AND ${FEED_KIND})
       ON CONFLICT DO NOTHING`,
      [gatewayId, stage, to.epoch, from.seq, to.seq, at],
    );
  },

  gateways: async (tx, epoch) => {
    const oldestBeyond = (stage: AckStage): string =>
      `(SELECT l.at FROM ledger l WHERE l.epoch = $1
          AND l.seq > CASE WHEN c.${stage}_epoch = $1 THEN c.${stage}_seq ELSE 0 END AND l.${FEED_KIND}
        ORDER BY l.seq LIMIT 1)`;
    const { rows } = await tx.query<CursorColumns & Omit<GatewayRow, 'cursor'>>(
      `SELECT m.name, coalesce(m.approved_at, m.created_at) AS "approvedAt", ${CURSOR},
              ${oldestBeyond('received')} AS "oldestUnreceivedAt", ${oldestBeyond('enforced')} AS "oldestUnenforcedAt"
       FROM machine m LEFT JOIN gateway_cursor c ON c.gateway_id = m.id
       WHERE m.kind = 'gateway' AND m.state = 'approved' ORDER BY m.name`,
      [epoch],
    );
    return rows.map(({ name, approvedAt, oldestUnreceivedAt, oldestUnenforcedAt, ...columns }) => ({
      name,
      approvedAt,
      oldestUnreceivedAt,
      oldestUnenforcedAt,
      cursor: cursorOf(columns),
    }));
  },

  receipts: async (tx, { epoch, seq }) => {
    const stageColumns = (stage: AckStage): string =>
      `coalesce((c.${stage}_epoch, c.${stage}_seq) >= ($1, $2), false) AS "${stage}",
       (SELECT r.at FROM gateway_receipt r
        WHERE r.gateway_id = m.id AND r.stage = '${stage}' AND (r.epoch, r.seq) >= ($1, $2)
        ORDER BY r.epoch, r.seq LIMIT 1) AS "${stage}At"`;
    const { rows } = await tx.query<EntryReceipt>(
      `SELECT m.name, coalesce(m.approved_at, m.created_at) AS "approvedAt",
              ${stageColumns('received')}, ${stageColumns('enforced')}
       FROM machine m LEFT JOIN gateway_cursor c ON c.gateway_id = m.id
       WHERE m.kind = 'gateway' AND m.state = 'approved' ORDER BY m.name`,
      [epoch, seq],
    );
    return rows;
  },
};

const CURSOR = `c.received_epoch AS "receivedEpoch", c.received_seq AS "receivedSeq", c.received_at AS "receivedAt",
  c.enforced_epoch AS "enforcedEpoch", c.enforced_seq AS "enforcedSeq", c.enforced_at AS "enforcedAt"`;

interface CursorColumns {
  readonly receivedEpoch: number | null;
  readonly receivedSeq: number | null;
  readonly receivedAt: Date | null;
  readonly enforcedEpoch: number | null;
  readonly enforcedSeq: number | null;
  readonly enforcedAt: Date | null;
}

const START: LedgerPosition = { epoch: 0, seq: 0 };
const NOTHING_YET: GatewayCursor = { received: START, receivedAt: null, enforced: START, enforcedAt: null };

function cursorOf(row: CursorColumns | undefined): GatewayCursor | null {
  if (!row || row.receivedEpoch === null) return null;
  return {
    received: { epoch: row.receivedEpoch, seq: row.receivedSeq ?? 0 },
    receivedAt: row.receivedAt,
    enforced: { epoch: row.enforcedEpoch ?? 0, seq: row.enforcedSeq ?? 0 },
    enforcedAt: row.enforcedAt,
  };
}

async function byId(tx: Transaction, select: string, ids: readonly number[]): Promise<ReadonlyMap<number, string>> {
  if (ids.length === 0) return new Map();
  const { rows } = await tx.query<{ id: number; name: string }>(`${select} WHERE id = ANY($1::int[])`, [ids]);
  return new Map(rows.map(({ id, name }) => [id, name]));
}
