import type { Transaction } from '../../../platform/db/transaction.js';
import type { Campaign, CampaignState, Wave } from './campaign.js';
import type { CampaignHead, CampaignStore } from './campaign-store.js';

type Row = Omit<Campaign, 'waves'>;
type WaveRow = Wave & { readonly campaignId: number };

const COLUMNS = `id, request, request_hash AS "requestHash", requested_by AS "requestedBy",
  request_signature AS "requestSignature", approval_id AS "approvalId", unit_count AS count, state, reason,
  last_error AS "lastError", created_at AS "createdAt", started_at AS "startedAt", finished_at AS "finishedAt"`;

/** DER of the curve in a certificate's SubjectPublicKeyInfo; the issuer's own key is not in it. */
const CURVE = { 'P-256': '06082a8648ce3d030107', 'P-384': '06052b81040022' } as const;

/** The certificate in use of a lineage `l`, as `s`. */
const HEAD = `JOIN LATERAL (SELECT * FROM lineage_slot s WHERE s.lineage_id = l.id AND s.state IN ('pending', 'confirmed')
  ORDER BY s.generation DESC LIMIT 1) s ON true`;

export const campaignStore: CampaignStore = {
  insert: async (tx, campaign) => {
    const { rows } = await tx.query<{ id: number }>(
      `INSERT INTO campaign (request, request_hash, requested_by, request_signature, approval_id, unit_count, state, created_at,
         started_at)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, CASE WHEN $7 = 'running' THEN $8::timestamptz END)
       ON CONFLICT (request_hash) DO NOTHING RETURNING id`,
      [
        campaign.request,
        campaign.requestHash,
        campaign.requestedBy,
        campaign.requestSignature,
        campaign.approvalId,
        campaign.serialNumbers.length,
        campaign.state,
        campaign.at,
      ],
    );
    const id = rows[0]?.id;
    if (id === undefined) return null;
    await tx.query(
      `INSERT INTO campaign_unit (campaign_id, wave, n, unit_id, outcome)
       SELECT $1, (s.n - 1) / $3::int, s.n, u.id, 'waiting'
       FROM unnest($2::text[]) WITH ORDINALITY AS s(serial_number, n) JOIN unit u USING (serial_number)`,
      [id, campaign.serialNumbers, campaign.waveUnits],
    );
    await tx.query(
      `INSERT INTO campaign_wave (campaign_id, wave, state, units)
       SELECT $1, wave, 'waiting', count(*) FROM campaign_unit WHERE campaign_id = $1 GROUP BY wave`,
      [id],
    );
    return id;
  },

  byId: async (tx, campaignId) => (await campaigns(tx, 'WHERE id = $1', [campaignId]))[0] ?? null,
  byHash: async (tx, hash) => (await campaigns(tx, 'WHERE request_hash = $1', [hash]))[0] ?? null,
  recent: (tx) => campaigns(tx, 'ORDER BY id DESC LIMIT 100', []),
  open: async (tx) =>
    (
      await tx.query<{ id: number }>(`SELECT id FROM campaign WHERE state IN ('running', 'paused') ORDER BY id`)
    ).rows.map(({ id }) => id),
  lockOpen: async (tx, campaignId) =>
    (
      await campaigns(tx, `WHERE id = $1 AND state IN ('running', 'paused') FOR NO KEY UPDATE SKIP LOCKED`, [
        campaignId,
      ])
    )[0] ?? null,

  told: async (tx, subject) => {
    const { rows } = await tx.query<{ kind: string; at: Date }>(
      `SELECT kind, at FROM ledger WHERE subject = $1 AND kind = ANY($2::text[])
       UNION ALL SELECT kind, at FROM ledger_inbox WHERE subject = $1 AND kind = ANY($2::text[])`,
      [subject, ['campaign.started', ...ENDS]],
    );
    return {
      startedAt: rows.find(({ kind }) => kind === 'campaign.started')?.at ?? null,
      isEnded: rows.some(({ kind }) => ENDS.includes(kind)),
    };
  },

  setState: async (tx, campaignId, { from, to, reason, at }) =>
    (
      await tx.query(
        `UPDATE campaign SET state = $3, reason = $4, last_error = NULL,
           started_at = CASE WHEN $3 = 'running' THEN coalesce(started_at, $5) ELSE started_at END,
           finished_at = CASE WHEN $3 IN ('done', 'cancelled') THEN $5::timestamptz END
         WHERE id = $1 AND state = ANY($2::text[])`,
        [campaignId, from, to, reason, at],
      )
    ).rowCount === 1,

  writeError: async (tx, campaignId, sentence) => {
    await tx.query('UPDATE campaign SET last_error = $2 WHERE id = $1 AND last_error IS DISTINCT FROM $2', [
      campaignId,
      sentence,
    ]);
  },

  lockStartedAlone: async (tx, personId, since) => {
    await tx.query('SELECT 1 FROM person WHERE id = $1 FOR NO KEY UPDATE', [personId]);
    const { rows } = await tx.query<{ used: number }>(
      `SELECT coalesce(sum(unit_count), 0)::int AS used FROM campaign
       WHERE requested_by = $1 AND approval_id IS NULL AND created_at > $2`,
      [personId, since],
    );
    return rows[0]?.used ?? 0;
  },

  unitIds: async (tx, selection, within) => {
    const among = within === undefined ? '' : 'AND u.serial_number = ANY($2::text[])';
    const of = (condition: string, value: unknown) =>
      tx.query<{ id: number }>(
        `SELECT u.id FROM unit u JOIN lineage l ON l.unit_id = u.id AND l.state <> 'closed' ${HEAD}
         WHERE ${condition} ${among} ORDER BY u.id`,
        within === undefined ? [value] : [value, within],
      );
    const found = await {
      ca: () => of('s.issuer_id = $1', 'issuerId' in selection ? selection.issuerId : 0),
      'key-algorithm': () =>
        of(
          `EXISTS (SELECT 1 FROM certificate c WHERE c.not_after = s.not_after AND c.issuer_id = s.issuer_id
             AND c.serial = s.serial AND position(decode($1, 'hex') IN c.der) > 0)`,
          CURVE['algorithm' in selection ? selection.algorithm : 'P-256'],
        ),
      lineages: () => of('l.id = ANY($1::bigint[])', 'lineageIds' in selection ? selection.lineageIds : []),
    }[selection.by]();
    return found.rows.map(({ id }) => id);
  },

  heads: async (tx, unitIds) =>
    (
      await tx.query<CampaignHead>(
        `SELECT u.id AS "unitId", u.serial_number AS "serialNumber", s.id AS "slotId", s.not_before AS "notBefore",
           s.not_after AS "notAfter", s.renew_until AS "renewUntil"
         FROM unit u JOIN profile p ON p.name = u.profile AND p.renewal_mode = 'rekey'
           JOIN lineage l ON l.unit_id = u.id AND l.state = 'open' ${HEAD}
         WHERE u.id = ANY($1::int[]) AND u.state IN ('ACTIVE', 'DORMANT') ORDER BY u.id`,
        [unitIds],
      )
    ).rows,

  moveWave: async (tx, campaignId, wave, { state, at, deadlineAt = null }) => {
    await tx.query(
      `UPDATE campaign_wave SET state = $3, opened_at = coalesce(opened_at, $4), deadline_at = coalesce($5, deadline_at),
         closed_at = CASE WHEN $3 = 'closed' THEN $4::timestamptz END
       WHERE campaign_id = $1 AND wave = $2`,
      [campaignId, wave, state, at, deadlineAt],
    );
  },

  untold: async (tx, campaignId, wave, limit) =>
    (
      await tx.query<{ n: number; serialNumber: string }>(
        `SELECT c.n, u.serial_number AS "serialNumber" FROM campaign_unit c JOIN unit u ON u.id = c.unit_id
         WHERE c.campaign_id = $1 AND c.wave = $2 AND c.outcome = 'waiting' ORDER BY c.n LIMIT $3`,
        [campaignId, wave, limit],
      )
    ).rows,

  tell: async (tx, campaignId, wave, { ns, advised }) => {
    await tx.query(
      `UPDATE campaign_unit c SET slot_id = a.slot_id,
         outcome = CASE WHEN a.slot_id IS NULL THEN 'passed-over' ELSE 'advised' END
       FROM unit u LEFT JOIN unnest($4::text[], $5::bigint[]) AS a(serial_number, slot_id) USING (serial_number)
       WHERE c.campaign_id = $1 AND c.wave = $2 AND c.n = ANY($3::int[]) AND u.id = c.unit_id AND c.outcome = 'waiting'`,
      [campaignId, wave, ns, advised.map((one) => one.serialNumber), advised.map((one) => one.slotId)],
    );
    await tx.query(
      `UPDATE campaign_wave SET advised = advised + $3, passed_over = passed_over + $4 WHERE campaign_id = $1 AND wave = $2`,
      [campaignId, wave, advised.length, ns.length - advised.length],
    );
  },

  settle: async (tx, campaignId, wave, { deadlineAt, isOver }) => {
    await tx.query(
      `WITH judged AS (
         SELECT c.n, CASE
           WHEN EXISTS (SELECT 1 FROM lineage_slot x WHERE x.lineage_id = s.lineage_id AND x.generation > s.generation
             AND x.state IN ('pending', 'confirmed') AND x.spki_hash <> s.spki_hash AND x.created_at <= $3) THEN 'renewed'
           WHEN $4 AND (u.state NOT IN ('ACTIVE', 'DORMANT') OR l.state <> 'open') THEN 'passed-over'
           WHEN $4 THEN 'failed' END AS outcome
         FROM campaign_unit c JOIN lineage_slot s ON s.id = c.slot_id JOIN lineage l ON l.id = s.lineage_id
           JOIN unit u ON u.id = c.unit_id
         WHERE c.campaign_id = $1 AND c.wave = $2 AND c.outcome = 'advised'
       ), settled AS (
         UPDATE campaign_unit c SET outcome = j.outcome FROM judged j
         WHERE c.campaign_id = $1 AND c.wave = $2 AND c.n = j.n AND j.outcome IS NOT NULL RETURNING c.outcome
       ), sums AS (
         SELECT count(*) AS all_of, count(*) FILTER (WHERE outcome = 'renewed') AS renewed,
           count(*) FILTER (WHERE outcome = 'failed') AS failed FROM settled
       )
       UPDATE campaign_wave w SET advised = w.advised - s.all_of, renewed = w.renewed + s.renewed,
         failed = w.failed + s.failed, passed_over = w.passed_over + s.all_of - s.renewed - s.failed
       FROM sums s WHERE w.campaign_id = $1 AND w.wave = $2 AND s.all_of > 0`,
      [campaignId, wave, deadlineAt, isOver],
    );
  },
};

const ENDS: readonly string[] = ['campaign.finished', 'campaign.cancelled'];

async function campaigns(tx: Transaction, where: string, params: readonly unknown[]): Promise<Campaign[]> {
  const { rows } = await tx.query<Row & { state: CampaignState }>(`SELECT ${COLUMNS} FROM campaign ${where}`, params);
  const { rows: waves } = await tx.query<WaveRow>(
    `SELECT campaign_id AS "campaignId", wave, state, units, advised, renewed, failed, passed_over AS "passedOver",
       opened_at AS "openedAt", deadline_at AS "deadlineAt", closed_at AS "closedAt"
     FROM campaign_wave WHERE campaign_id = ANY($1::bigint[]) ORDER BY campaign_id, wave`,
    [rows.map(({ id }) => id)],
  );
  return rows.map((row) => ({
    ...row,
    waves: waves.filter(({ campaignId }) => campaignId === row.id).map(({ campaignId: _of, ...wave }) => wave),
  }));
}
