import type { CaRow, CaStore } from './ca-store.js';

const SELECT = `SELECT i.id, i.label, i.kind, i.state, i.certificate_der AS "certificateDer", i.not_after AS "notAfter",
    i.parent_label AS "parentLabel", i.activated_at AS "activatedAt", i.closed_at AS "closedAt",
    (SELECT p.label FROM root_succession s JOIN issuer p ON p.id = s.predecessor_id WHERE s.successor_id = i.id)
      AS "predecessorLabel",
    (SELECT max(o.not_after) FROM ocsp_signer o WHERE o.issuer_id = i.id) AS "ocspSignerNotAfter",
    (SELECT c.next_update FROM crl c WHERE c.issuer_id = i.id ORDER BY c.number DESC LIMIT 1) AS "crlNextUpdate"
  FROM issuer i`;

export const caStore: CaStore = {
  cas: async (tx) => (await tx.query<CaRow>(`${SELECT} ORDER BY i.id`)).rows,

  lockCa: async (tx, label) =>
    (await tx.query<CaRow>(`${SELECT} WHERE i.label = $1 FOR UPDATE OF i`, [label])).rows[0] ?? null,

  setState: async (tx, issuerId, state, at) => {
    await tx.query(
      `UPDATE issuer SET state = $2, activated_at = CASE WHEN $2 = 'active' THEN $3 ELSE activated_at END,
         closed_at = CASE WHEN $2 IN ('closing', 'retired') THEN coalesce(closed_at, $3) ELSE closed_at END
       WHERE id = $1`,
      [issuerId, state, at],
    );
  },

  lastNotAfter: async (tx, issuerId, now) => {
    // A certificate's end is the first column of its key: from the latest end down, the first of this CA is the answer.
    const { rows } = await tx.query<{ last: Date | null }>(
      `SELECT greatest(
         (SELECT not_after FROM certificate WHERE issuer_id = $1 AND not_after >= $2 ORDER BY not_after DESC LIMIT 1),
         (SELECT max(not_after) FROM revoked_certificate WHERE issuer_id = $1 AND not_after >= $2),
         (SELECT max(not_after) FROM issuance_intent WHERE issuer_id = $1 AND state = 'signing' AND not_after >= $2)
       ) AS last`,
      [issuerId, now],
    );
    return rows[0]?.last ?? null;
  },

  gatewaysWithout: async (tx, issuerId) => {
    const { rows } = await tx.query<{ name: string }>(
      `SELECT name FROM machine m WHERE kind = 'gateway' AND state = 'approved'
         AND NOT EXISTS (SELECT 1 FROM gateway_anchor a WHERE a.gateway_id = m.id AND a.issuer_id = $1) ORDER BY name`,
      [issuerId],
    );
    return rows.map(({ name }) => name);
  },

  acknowledge: async (tx, { gatewayId, issuerId, by, at }) => {
    const { rowCount } = await tx.query(
      `INSERT INTO gateway_anchor (gateway_id, issuer_id, acknowledged_at, acknowledged_by) VALUES ($1, $2, $3, $4)
       ON CONFLICT DO NOTHING`,
      [gatewayId, issuerId, at, by],
    );
    return rowCount === 1;
  },
};
