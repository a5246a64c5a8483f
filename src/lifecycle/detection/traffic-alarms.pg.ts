import type { ShownDecision, ShownEvidence, TrafficAlarm, TrafficAlarmReader } from './traffic-alarms.js';

const ALARM = `a.id, a.rule, a.subject, a.grade, a.first_at AS "firstAt", a.last_at AS "lastAt", a.words`;

export const trafficAlarmReader: TrafficAlarmReader = {
  list: async (tx, { unit = null, rule = null, limit }) =>
    (
      await tx.query<TrafficAlarm>(
        `SELECT ${ALARM} FROM traffic_alarm a
         WHERE ($1::text IS NULL OR a.unit_id = (SELECT id FROM unit WHERE serial_number = $1))
           AND ($2::text IS NULL OR a.rule = $2) ORDER BY a.id DESC LIMIT $3`,
        [unit, rule, limit],
      )
    ).rows,

  show: async (tx, id) => {
    const { rows } = await tx.query<TrafficAlarm & { facts: string }>(
      `SELECT ${ALARM}, a.facts FROM traffic_alarm a WHERE a.id = $1`,
      [id],
    );
    const [alarm] = rows;
    if (alarm === undefined) return null;
    const { rows: decisions } = await tx.query<ShownDecision>(
      `SELECT d.at, m.name AS gateway, d.stage, d.verdict, d.reasons, d.key_proved AS "keyProved", host(d.address) AS address,
         l.name AS line, d.cell
       FROM traffic_alarm a CROSS JOIN LATERAL unnest(a.decision_at, a.decision_id) AS r(at, id)
       JOIN decision d ON d.at = r.at AND d.id = r.id
       LEFT JOIN machine m ON m.id = d.gateway_id LEFT JOIN line l ON l.id = d.line_id
       WHERE a.id = $1 ORDER BY d.at, d.id`,
      [id],
    );
    return { ...alarm, facts: JSON.parse(alarm.facts), decisions };
  },

  evidence: async (tx, serialNumber, limit) => {
    const { rows } = await tx.query<Omit<ShownEvidence, 'facts'> & { facts: string }>(
      `SELECT at, code, grade, case_id AS "caseId", facts FROM evidence
       WHERE unit_id = (SELECT id FROM unit WHERE serial_number = $1) ORDER BY at DESC, id DESC LIMIT $2`,
      [serialNumber, limit],
    );
    return rows.map((row) => ({ ...row, facts: JSON.parse(row.facts) }));
  },
};
