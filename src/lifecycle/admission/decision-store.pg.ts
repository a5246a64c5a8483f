import {
  boolArray,
  byteaArray,
  int4Array,
  int8Array,
  textArray,
  timestamptzArray,
} from '../../platform/db/binary-array.js';
import type { Transaction } from '../../platform/db/transaction.js';
import { homeOf } from '../../platform/net/ip-address.js';
import { type DecisionRow, type DecisionStore, STRANGERS_A_MINUTE } from './decision.js';

export const decisionStore: DecisionStore = {
  add: async (tx, all) => {
    const strangers = all.filter(({ isStranger }) => isStranger);
    const alarm = strangers.length === 0 ? null : await joinAlarm(tx, strangers);
    const notKept = strangers.length === 0 ? NOBODY : await beyondTheLimit(tx, all);
    const rows = notKept.size === 0 ? all : all.filter((_, at) => !notKept.has(at));
    await tx.query(
      INSERT,
      [
        timestamptzArray(rows.map((row) => row.at)),
        int4Array(rows.map((row) => row.gatewayId)),
        int4Array(rows.map((row) => row.unitId)),
        int4Array(rows.map((row) => row.issuerId)),
        byteaArray(rows.map((row) => row.serial)),
        textArray(rows.map((row) => row.stage)),
        boolArray(rows.map((row) => row.keyProved)),
        textArray(rows.map((row) => row.verdict)),
        textArray(rows.map((row) => row.reasons.join(' '))),
        textArray(rows.map((row) => row.address)),
        int4Array(rows.map((row) => row.lineId)),
        int4Array(rows.map((row) => row.policyVersion)),
        int8Array(rows.map((row) => (row.isStranger ? (alarm?.id ?? null) : null))),
        textArray(rows.map((row) => row.cell)),
        boolArray(rows.map((row) => row.lineSure)),
      ],
      { preparedAs: 'admission-decisions' },
    );
    return { openedAlarmId: alarm?.opened === true ? alarm.id : null, notKept };
  },
};

// An array of arrays would have to be square: reasons travel as words.
const INSERT = `
  INSERT INTO decision (at, gateway_id, unit_id, issuer_id, serial, stage, key_proved, verdict, reasons, address, line_id,
    policy_version, alarm_id, cell, line_sure)
  SELECT at, gateway_id, unit_id, issuer_id::smallint, serial, stage, key_proved, verdict,
    CASE reasons WHEN '' THEN '{}' ELSE string_to_array(reasons, ' ') END, address::inet, line_id, policy_version, alarm_id,
    cell, line_sure
  FROM unnest($1::timestamptz[], $2::int[], $3::int[], $4::int[], $5::bytea[], $6::text[], $7::boolean[], $8::text[],
    $9::text[], $10::text[], $11::int[], $12::int[], $13::bigint[], $14::text[], $15::boolean[])
    AS d(at, gateway_id, unit_id, issuer_id, serial, stage, key_proved, verdict, reasons, address, line_id,
      policy_version, alarm_id, cell, line_sure)`;

const NOBODY: ReadonlySet<number> = new Set();

/** Counts strangers by what one subscriber calls from; those past the limit of this minute. */
async function beyondTheLimit(tx: Transaction, rows: readonly DecisionRow[]): Promise<ReadonlySet<number>> {
  const counts = new Map<string, number>();
  for (const { isStranger, address } of rows) {
    if (isStranger) counts.set(homeOf(address), (counts.get(homeOf(address)) ?? 0) + 1);
  }
  const at = rows[0]?.at ?? new Date(0);
  // In order, so that two of these never wait for each other.
  const homes = [...counts.keys()].sort();
  const { rows: counted } = await tx.query<{ home: string; count: number }>(
    `INSERT INTO request_rate (scope, credential, minute, count)
     SELECT 'stranger', convert_to(home, 'UTF8'), date_trunc('minute', $1::timestamptz), n
     FROM unnest($2::text[], $3::int[]) AS s(home, n)
     ON CONFLICT (minute, scope, credential) DO UPDATE SET count = request_rate.count + EXCLUDED.count
     RETURNING convert_from(credential, 'UTF8') AS home, count`,
    [at, homes, homes.map((home) => counts.get(home) ?? 0)],
  );
  const left = new Map(
    counted.map(({ home, count }) => [home, STRANGERS_A_MINUTE - (count - (counts.get(home) ?? 0))]),
  );
  const beyond = new Set<number>();
  for (const [at, { isStranger, address }] of rows.entries()) {
    if (!isStranger) continue;
    const room = left.get(homeOf(address)) ?? 0;
    left.set(homeOf(address), room - 1);
    if (room <= 0) beyond.add(at);
  }
  return beyond;
}

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
