import { byteaArray } from '../../platform/db/bytea-array.js';
import type { Transaction } from '../../platform/db/transaction.js';
import type { DecisionRow, DecisionStore } from './decision.js';

export const decisionStore: DecisionStore = {
  add: async (tx, rows) => {
    const strangers = rows.filter(({ isStranger }) => isStranger);
    const alarm = strangers.length === 0 ? null : await joinAlarm(tx, strangers);
    await tx.query(
      INSERT,
      [
        rows.map((row) => row.at),
        rows.map((row) => row.gatewayId),
        rows.map((row) => row.unitId),
        rows.map((row) => row.issuerId),
        byteaArray(rows.map((row) => row.serial)),
        rows.map((row) => row.stage),
        rows.map((row) => row.keyProved),
        rows.map((row) => row.verdict),
        rows.map((row) => row.reasons.join(' ')),
        rows.map((row) => row.address),
        rows.map((row) => row.lineId),
        rows.map((row) => row.policyVersion),
        rows.map((row) => (row.isStranger ? (alarm?.id ?? null) : null)),
      ],
      { preparedAs: 'admission-decisions' },
    );
    return alarm?.opened === true ? { alarmId: alarm.id } : null;
  },
};

// An array of arrays would have to be square: reasons travel as words.
const INSERT = `
  INSERT INTO decision (at, gateway_id, unit_id, issuer_id, serial, stage, key_proved, verdict, reasons, address, line_id,
    policy_version, alarm_id)
  SELECT at, gateway_id, unit_id, issuer_id, serial, stage, key_proved, verdict,
    CASE reasons WHEN '' THEN '{}' ELSE string_to_array(reasons, ' ') END, address, line_id, policy_version, alarm_id
  FROM unnest($1::timestamptz[], $2::int[], $3::int[], $4::smallint[], $5::bytea[], $6::text[], $7::boolean[], $8::text[],
    $9::text[], $10::inet[], $11::int[], $12::int[], $13::bigint[])
    AS d(at, gateway_id, unit_id, issuer_id, serial, stage, key_proved, verdict, reasons, address, line_id,
      policy_version, alarm_id)`;

/** After an hour of quiet the next stranger is news again. */
const QUIET_AFTER = '1 hour';

async function joinAlarm(tx: Transaction, rows: readonly DecisionRow[]): Promise<{ id: number; opened: boolean }> {
  const at = new Date(Math.max(...rows.map((row) => row.at.getTime())));
  await tx.query(
    `UPDATE unknown_alarm SET state = 'quiet' WHERE state = 'open' AND last_at < $1::timestamptz - interval '${QUIET_AFTER}'`,
    [at],
  );
  // xmax = 0 tells an insert from an update, so that one statement says whether the alarm is new.
  const { rows: alarms } = await tx.query<{ id: number; opened: boolean }>(
    `INSERT INTO unknown_alarm AS a (state, opened_at, last_at, attempts) VALUES ('open', $1, $1, $2)
     ON CONFLICT (state) WHERE state = 'open'
     DO UPDATE SET last_at = greatest(a.last_at, excluded.last_at), attempts = a.attempts + excluded.attempts
     RETURNING a.id, a.xmax = 0 AS opened`,
    [at, rows.length],
  );
  const [alarm] = alarms;
  if (alarm === undefined) throw new Error('an alarm has no row');
  return alarm;
}
