import type { Attended, DueBlock, RenewalBook } from './renewal-book.js';

/** A unit that does not answer is reminded again after so long; what rests is looked at as often. */
const LOOK_AGAIN = `interval '6 hours'`;
/** A pre-issue that came to nothing is tried again. */
const PREISSUE_AGAIN = `interval '1 minute'`;
/** Longest of the comeback tiers that need no person (rules 4): nobody is reminded of what no renewal can follow any more. */
const COMEBACK = `interval '31 days'`;

interface BlockRow {
  ids: string;
  from_micros: string;
  until_micros: string;
}

const MICROS = (moment: string): string => `(extract(epoch FROM ${moment}) * 1000000)::bigint`;
const MOMENT = (micros: string): string => `timestamptz 'epoch' + ${micros}::bigint * interval '1 microsecond'`;

/** Keyset on the primary key: a page costs a page, wherever the scan stands and however many units there are. */
const DUE_BLOCKS = `
  SELECT string_agg(slot_id::text, ',' ORDER BY n) AS ids, ${MICROS('min(due_at)')}::text AS from_micros,
    ${MICROS('max(due_at)')}::text AS until_micros
  FROM (
    SELECT due_at, slot_id, row_number() OVER (ORDER BY due_at, slot_id) AS n
    FROM (
      SELECT due_at, slot_id FROM renewal_due
      WHERE due_at <= $1 AND (due_at, slot_id) > (${MOMENT('$2')}, $3::bigint)
      ORDER BY due_at, slot_id LIMIT $4::int * $5::int
    ) page
  ) numbered
  GROUP BY (n - 1) / $4::int ORDER BY (n - 1) / $4::int`;

/**
 * Each slot stands in one of these ways, and the way says what comes next:
 * `settled` its successor is confirmed or nothing can follow it · `lapsed` it ran out of the comeback tiers · `early` its window
 * was moved · `barred` it may not renew now · `resting` its successor is on its way · `due`.
 */
const ATTEND = `
  WITH taken AS (
    DELETE FROM renewal_due d
    WHERE d.due_at BETWEEN ${MOMENT('$2')} AND ${MOMENT('$3')} AND d.due_at <= $4 AND d.slot_id = ANY($1::bigint[])
    RETURNING d.slot_id, d.due_at
  ), seen AS MATERIALIZED (
    SELECT s.id AS slot_id, s.unit_id, s.generation, s.renew_from, s.renew_until, s.not_after, u.serial_number,
      p.renewal_mode = 'preissue' AS preissue, k.state AS task_state, k.reminded_at,
      CASE
        WHEN s.void_id <> 0 OR l.state = 'closed' OR u.state = 'RETIRED' OR n.state = 'confirmed' OR k.state = 'dead'
          THEN 'settled'
        WHEN s.not_after <= $4 - ${COMEBACK} THEN 'lapsed'
        WHEN s.renew_from > $4 AND k.slot_id IS NULL THEN 'early'
        WHEN u.state NOT IN ('ACTIVE', 'DORMANT') OR l.state <> 'open' THEN 'barred'
        WHEN n.state IS NOT NULL THEN 'resting'
        ELSE 'due'
      END AS standing
    FROM taken d
      JOIN lineage_slot s ON s.id = d.slot_id
      JOIN lineage l ON l.id = s.lineage_id
      JOIN unit u ON u.id = s.unit_id
      JOIN profile p ON p.name = u.profile
      LEFT JOIN renewal_task k ON k.slot_id = s.id
      LEFT JOIN lineage_slot n ON n.lineage_id = s.lineage_id AND n.generation = s.generation + 1 AND n.void_id = 0
    WHERE k.next_at IS NULL OR k.next_at = d.due_at
  ), judged AS MATERIALIZED (
    SELECT *,
      standing = 'due' AND renew_until <= $4 AND task_state IS DISTINCT FROM 'overdue' AS is_overdue,
      standing = 'due' AND NOT preissue AND (reminded_at IS NULL OR reminded_at <= $4 - ${LOOK_AGAIN}) AS is_reminded,
      CASE standing
        WHEN 'early' THEN renew_from
        WHEN 'due' THEN least($4 + CASE WHEN preissue THEN ${PREISSUE_AGAIN} ELSE ${LOOK_AGAIN} END,
          CASE WHEN renew_until > $4 THEN renew_until END)
        WHEN 'resting' THEN $4 + ${LOOK_AGAIN}
        WHEN 'barred' THEN $4 + ${LOOK_AGAIN}
      END AS next_at,
      CASE
        WHEN standing IN ('settled', 'barred') THEN CASE WHEN task_state = 'dead' THEN 'dead' ELSE 'done' END
        WHEN standing <> 'due' THEN task_state
        WHEN renew_until <= $4 OR task_state = 'overdue' THEN 'overdue'
        WHEN preissue THEN 'due'
        ELSE 'reminded'
      END AS state
    FROM seen
  ), marked AS (
    INSERT INTO renewal_due (due_at, slot_id) SELECT next_at, slot_id FROM judged WHERE next_at IS NOT NULL
    ON CONFLICT DO NOTHING
  ), opened AS (
    INSERT INTO renewal_task (slot_id, unit_id, state, opened_at, reminded_at, reminders, next_at)
    SELECT slot_id, unit_id, state, $4, CASE WHEN is_reminded THEN $4 END, is_reminded::int, next_at
    FROM judged WHERE task_state IS NULL AND standing = 'due'
    ON CONFLICT DO NOTHING RETURNING slot_id, reminders
  ), moved AS (
    -- Only from the state that was seen: a confirmation that closed it meanwhile stands.
    UPDATE renewal_task k SET state = j.state, next_at = j.next_at, reminders = k.reminders + j.is_reminded::int,
      reminded_at = CASE WHEN j.is_reminded THEN $4 ELSE k.reminded_at END,
      closed_at = CASE WHEN j.state IN ('done', 'dead') THEN coalesce(k.closed_at, $4) END
    FROM judged j WHERE k.slot_id = j.slot_id AND k.state = j.task_state
    RETURNING k.slot_id, k.reminders
  )
  SELECT j.slot_id AS "slotId", j.serial_number AS "unitSerialNumber", j.generation, j.renew_until AS "renewUntil",
    j.not_after AS "notAfter", c.reminders, j.is_reminded AS "isReminded", j.is_overdue AS "isOverdue",
    j.preissue AND j.standing = 'due' AS "needsPreissue"
  FROM judged j JOIN (SELECT * FROM opened UNION ALL SELECT * FROM moved) c USING (slot_id)
  WHERE j.standing = 'due' ORDER BY j.slot_id`;

export const renewalBook: RenewalBook = {
  dueBlocks: async (tx, { now, after, units, blocks }) => {
    const { rows } = await tx.query<BlockRow>(DUE_BLOCKS, [
      now,
      after?.dueMicros ?? BEFORE_ALL,
      after?.slotId ?? 0,
      units,
      blocks,
    ]);
    return rows.map(({ ids, from_micros: fromMicros, until_micros: untilMicros }): DueBlock => {
      const slotIds = ids.split(',').map(Number);
      return { slotIds, fromMicros, untilMicros };
    });
  },

  attend: async (tx, { slotIds, fromMicros, untilMicros, at }) =>
    (await tx.query<Attended>(ATTEND, [slotIds, fromMicros, untilMicros, at])).rows,
};

/** 1900, in microseconds. */
const BEFORE_ALL = '-2208988800000000';
