/** A fleet whose renewal windows are open, as rows only: for tests of what the rotation worker makes of them. */
import { randomBytes } from 'node:crypto';
import type { Pool } from '../../src/platform/db/pool.pg.js';

/** @returns slot ids in order */
export async function seedDueUnits(
  pool: Pool,
  count: number,
  options: { profile?: string; renewUntilHours?: number } = {},
): Promise<number[]> {
  const tag = randomBytes(3).toString('hex');
  const { rows: maker } = await pool.query<{ id: number }>(
    `INSERT INTO maker (name, manifest_key_spki, eui_prefixes, created_at) VALUES ($1, '\\x00', '{02}', now()) RETURNING id`,
    [`maker-${tag}`],
  );
  const { rows: batch } = await pool.query<{ id: number }>(
    `INSERT INTO batch (maker_id, name, model, firmware_sha256, state, manifest_sha256, manifest_jws, unit_count, submitted_at)
     VALUES ($1, 'b', 'FC-1', 'ff', 'open', $2, 'x', $3, now()) RETURNING id`,
    [maker[0]?.id, randomBytes(32), count],
  );
  const { rows } = await pool.query<{ id: number }>(
    `WITH units AS (
       INSERT INTO unit (maker_id, batch_id, serial_number, eui, hardware_id, fqdn, model, profile, state, state_changed_at, last_contact_at)
       SELECT $1, $2, $3 || '-' || n, $3 || lpad(to_hex(n), 6, '0'), $3 || n, $3 || lpad(to_hex(n), 6, '0') || '.femto.test',
         'FC-1', $5, 'ACTIVE', now() - interval '6 days', now() - interval '1 day'
       FROM generate_series(1, $4::int) AS n RETURNING id
     ), lineages AS (
       INSERT INTO lineage (unit_id, state, opened_at) SELECT id, 'open', now() - interval '6 days' FROM units RETURNING id, unit_id
     ), slots AS (
     INSERT INTO lineage_slot (lineage_id, unit_id, generation, state, spki_hash, issuer_id, serial, not_before, not_after,
       attempt_id, renew_from, renew_until, created_at, confirmed_at)
     SELECT id, unit_id, 1, 'confirmed', sha256($3::bytea || int4send(unit_id)), 1, substring(sha256($3::bytea || int4send(unit_id)) for 16),
       now() - interval '6 days', now() + interval '1 day', gen_random_uuid(), now() - interval '1 hour',
       now() + make_interval(hours => $6), now() - interval '6 days', now() - interval '6 days'
     FROM lineages RETURNING id, renew_from
     )
     INSERT INTO renewal_due (due_at, slot_id) SELECT renew_from, id FROM slots RETURNING slot_id AS id`,
    [maker[0]?.id, batch[0]?.id, tag, count, options.profile ?? 'operational-7d', options.renewUntilHours ?? 10],
  );
  return rows.map(({ id }) => id).sort((a, b) => a - b);
}

export interface ReminderCount {
  /** Units reminded so far. */
  readonly reminded: number;
  /** Reminders on their rows: more than units means that one went out twice. */
  readonly reminders: number;
  /** Reminders in the ledger, and of how many different slots. */
  readonly told: number;
  readonly slots: number;
}

export async function countReminders(pool: Pool): Promise<ReminderCount> {
  const { rows } = await pool.query<ReminderCount>(
    `SELECT count(*) FILTER (WHERE reminders > 0)::int AS reminded, coalesce(sum(reminders), 0)::int AS reminders,
       (SELECT count(*)::int FROM ledger_inbox WHERE kind = 'renewal.reminded') AS told,
       (SELECT count(DISTINCT body::jsonb -> 'slotId')::int FROM ledger_inbox WHERE kind = 'renewal.reminded') AS slots
     FROM renewal_task`,
  );
  return rows[0] ?? { reminded: 0, reminders: 0, told: 0, slots: 0 };
}
