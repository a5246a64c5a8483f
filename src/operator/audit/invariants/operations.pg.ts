import { createHash, createPublicKey, verify } from 'node:crypto';
import { textToSign } from '../../people/approvals.js';
import { type Evidence, type Invariant, type Outcome, Violations, violationsOf } from './invariant.js';

/** The scan comes every few seconds, and once a minute for what the queue lost; a worker that restarts needs a little longer. */
const SCAN_PATIENCE = `interval '135 seconds'`;

export const OPERATION_INVARIANTS: readonly Invariant[] = [
  {
    id: 12,
    name: 'what is due has its task, and every task its certificate',
    check: ({ tx, asOf }) =>
      violationsOf(tx, 'SELECT count(*) AS n FROM renewal_task', {
        sql: `SELECT s.id AS slot_id, 'is due and has no task' AS fault FROM lineage_slot s
                JOIN lineage l ON l.id = s.lineage_id AND l.state = 'open'
                JOIN unit u ON u.id = s.unit_id AND u.state IN ('ACTIVE', 'DORMANT')
              WHERE s.state IN ('pending', 'confirmed') AND s.renew_from <= $1::timestamptz - ${SCAN_PATIENCE}
                AND s.renew_from > $1::timestamptz - interval '60 days' AND s.created_at <= $1::timestamptz - ${SCAN_PATIENCE}
                AND NOT EXISTS (SELECT 1 FROM renewal_task t WHERE t.slot_id = s.id)
                AND NOT EXISTS (SELECT 1 FROM lineage_slot n WHERE n.lineage_id = s.lineage_id
                  AND n.generation = s.generation + 1 AND n.state IN ('signing', 'pending', 'confirmed'))
              UNION ALL
              SELECT slot_id, 'was to be looked at and was not' FROM renewal_due
              WHERE due_at <= $1::timestamptz - ${SCAN_PATIENCE}
              UNION ALL
              SELECT t.slot_id, 'has a task and no certificate' FROM renewal_task t
                LEFT JOIN lineage_slot s ON s.id = t.slot_id WHERE s.id IS NULL`,
        params: [asOf],
        says: ({ slot_id, fault }) => `slot ${slot_id} ${fault}`,
      }),
  },
  {
    id: 13,
    name: 'no factory credential and no batch issued more than it may',
    check: ({ tx }) =>
      violationsOf(tx, 'SELECT count(*) AS n FROM factory_credential', {
        sql: `SELECT 'credential ' || name AS what, used, quota FROM factory_credential WHERE used > quota
              UNION ALL
              SELECT 'batch ' || b.name, count(DISTINCT c.unit_id), b.unit_count FROM batch b JOIN unit u ON u.batch_id = b.id
                JOIN certificate c ON c.unit_id = u.id AND c.purpose = 'bootstrap'
              GROUP BY b.id HAVING count(DISTINCT c.unit_id) > b.unit_count`,
        says: ({ what, used, quota }) => `${what} issued ${used} of ${quota}`,
      }),
  },
  {
    id: 14,
    name: 'no gateway was told to let in a unit that was not active',
    check: ({ tx }) =>
      violationsOf(tx, `SELECT count(*) AS n FROM decision WHERE verdict = 'permit'`, {
        // Five seconds are the deadline for a restriction to reach every gateway (REV-1).
        sql: `SELECT d.id, d.unit_id, h.to_state FROM decision d CROSS JOIN LATERAL (
                SELECT to_state FROM unit_history h WHERE h.unit_id = d.unit_id AND h.at <= d.at - interval '5 seconds'
                ORDER BY h.id DESC LIMIT 1) h
              WHERE d.verdict = 'permit' AND h.to_state NOT IN ('ACTIVE', 'DORMANT')
                AND NOT EXISTS (SELECT 1 FROM unit_history n WHERE n.unit_id = d.unit_id
                  AND n.at > d.at - interval '5 seconds' AND n.at <= d.at AND n.to_state = 'ACTIVE')`,
        says: ({ id, unit_id, to_state }) => `decision ${id} permitted unit ${unit_id} while it was ${to_state}`,
      }),
  },
  { id: 15, name: 'every approval was signed by two people over one request', check: fourEyes },
];

interface ApprovalRow {
  readonly id: number;
  readonly request: string;
  readonly request_hash: Buffer;
  readonly state: string;
  readonly requested_by: number;
  readonly approved_by: number | null;
  readonly request_signature: Buffer;
  readonly approval_signature: Buffer | null;
  readonly requester_key: Buffer | null;
  readonly approver_key: Buffer | null;
  readonly approver_role: string | null;
}

async function fourEyes({ tx }: Evidence): Promise<Outcome> {
  const violations = new Violations();
  for (let after = 0; ; ) {
    const { rows } = await tx.query<ApprovalRow>(
      `SELECT a.id, a.request, a.request_hash, a.state, a.requested_by, a.approved_by, a.request_signature,
         a.approval_signature, r.public_key_spki AS requester_key, p.public_key_spki AS approver_key, p.role AS approver_role
       FROM approval a JOIN person r ON r.id = a.requested_by LEFT JOIN person p ON p.id = a.approved_by
       WHERE a.id > $1 ORDER BY a.id LIMIT 500`,
      [after],
    );
    for (const row of rows) {
      violations.examined += 1;
      const fault = approvalFault(row);
      if (fault !== null) violations.add(`approval ${row.id} (${row.state}): ${fault}`);
    }
    const last = rows.at(-1);
    if (!last) return violations.outcome();
    after = last.id;
  }
}

function approvalFault(row: ApprovalRow): string | null {
  if (!createHash('sha256').update(row.request).digest().equals(row.request_hash)) return 'its request was changed';
  const signedBy = (key: Buffer | null, as: 'requester' | 'approver', signature: Buffer | null): boolean =>
    key !== null &&
    signature !== null &&
    verify(
      'sha256',
      textToSign(row.request_hash, as),
      createPublicKey({ key, format: 'der', type: 'spki' }),
      signature,
    );
  if (!signedBy(row.requester_key, 'requester', row.request_signature)) return 'the requester did not sign it';
  if (row.state !== 'approved' && row.state !== 'executed') return null;
  if (row.approved_by === row.requested_by) return 'one person did both';
  if (row.approver_role !== 'approver') return 'whoever approved it may not';
  return signedBy(row.approver_key, 'approver', row.approval_signature) ? null : 'the approver did not sign it';
}
