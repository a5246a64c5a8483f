import { FemtoError } from '../../platform/errors.js';
import type { Grant, GrantStore } from './grant-store.js';

interface GrantRow {
  id: number;
  unit_id: number;
  kind: Grant['kind'];
  code_hash: Buffer | null;
  code_salt: Buffer | null;
  line_id: number;
  state: Grant['state'];
  tries: number;
  created_by: string;
  approved_by: string | null;
  created_at: Date;
  expires_at: Date;
  spent_at: Date | null;
}

export const pgGrantStore: GrantStore = {
  insert: async (tx, grant) => {
    const { rows } = await tx.query<GrantRow>(
      `INSERT INTO activation_grant
         (unit_id, kind, code_hash, code_salt, line_id, state, created_by, approved_by, created_at, expires_at)
       VALUES ($1, $2, $3, $4, $5, 'open', $6, $7, $8, $9)
       ON CONFLICT (unit_id) WHERE state = 'open' DO NOTHING RETURNING *`,
      [
        grant.unitId,
        grant.kind,
        grant.code?.hash ?? null,
        grant.code?.salt ?? null,
        grant.lineId,
        grant.createdBy,
        grant.approvedBy,
        grant.createdAt,
        grant.expiresAt,
      ],
    );
    if (rows[0] === undefined) {
      throw new FemtoError(
        'STATE_CONFLICT',
        'The unit has an open grant; end it with femtopki grant withdraw before making another.',
        {
          facts: { unitId: grant.unitId },
        },
      );
    }
    return toGrant(rows[0]);
  },

  byId: async (tx, grantId) => {
    const { rows } = await tx.query<GrantRow>('SELECT * FROM activation_grant WHERE id = $1', [grantId]);
    return rows[0] === undefined ? null : toGrant(rows[0]);
  },

  latest: async (tx, unitId) => {
    const { rows } = await tx.query<GrantRow>(
      `SELECT * FROM activation_grant WHERE unit_id = $1 AND state <> 'withdrawn' ORDER BY id DESC LIMIT 1`,
      [unitId],
    );
    return rows[0] === undefined ? null : toGrant(rows[0]);
  },

  countTry: async (tx, grantId, triesMax) => {
    const { rows } = await tx.query<GrantRow>(
      `UPDATE activation_grant SET tries = least(tries + 1, 1000),
         state = CASE WHEN state = 'open' AND tries + 1 >= $2 THEN 'locked' ELSE state END
       WHERE id = $1 RETURNING *`,
      [grantId, triesMax],
    );
    if (rows[0] === undefined) throw new FemtoError('NOT_FOUND', 'There is no such grant; list the open ones.');
    return toGrant(rows[0]);
  },

  spend: async (tx, { grantId, attemptId, at }) => {
    const { rowCount } = await tx.query(
      `UPDATE activation_grant SET state = 'spent', spent_at = $3, spent_attempt = $2
       WHERE id = $1 AND state = 'open' AND expires_at > $3`,
      [grantId, attemptId, at],
    );
    return rowCount === 1;
  },

  withdraw: async (tx, grantId) => {
    const { rowCount } = await tx.query(
      `UPDATE activation_grant SET state = 'withdrawn' WHERE id = $1 AND state IN ('open', 'locked')`,
      [grantId],
    );
    return rowCount === 1;
  },

  withdrawExpired: async (tx, unitId, now) => {
    await tx.query(
      `UPDATE activation_grant SET state = 'withdrawn' WHERE unit_id = $1 AND state = 'open' AND expires_at <= $2`,
      [unitId, now],
    );
  },

  isAwaitingApproval: async (tx, unitSerialNumber, now) => {
    const { rows } = await tx.query(
      `SELECT 1 FROM approval WHERE kind = 'grant.live-head' AND state IN ('open', 'approved') AND expires_at > $2
         AND request::jsonb #>> '{request,unit}' = $1 LIMIT 1`,
      [unitSerialNumber, now],
    );
    return rows.length > 0;
  },

  isAdmissionFrozen: async (tx, model) => {
    const { rows } = await tx.query<{ frozen: boolean }>(
      `SELECT coalesce((SELECT admission_frozen FROM installation), false)
         OR EXISTS (SELECT 1 FROM model_freeze WHERE model = $1) AS frozen`,
      [model],
    );
    // No answer is no leave to go on.
    return rows[0]?.frozen ?? true;
  },
};

function toGrant(row: GrantRow): Grant {
  return {
    id: row.id,
    unitId: row.unit_id,
    kind: row.kind,
    code: row.code_hash === null || row.code_salt === null ? null : { hash: row.code_hash, salt: row.code_salt },
    lineId: row.line_id,
    state: row.state,
    tries: row.tries,
    createdBy: row.created_by,
    approvedBy: row.approved_by,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    spentAt: row.spent_at,
  };
}
