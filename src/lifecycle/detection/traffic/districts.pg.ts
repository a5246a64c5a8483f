import type { District } from './district.js';
import type { RawEvent } from './finding.js';
import type { DistrictTraffic } from './traffic-store.js';

export const districts: DistrictTraffic = {
  count: async (tx, { from, until }) => {
    await tx.query(
      `INSERT INTO traffic_hour AS h (region, hour, attempts, denied)
       SELECT l.region, date_trunc('hour', d.at, 'UTC'),
         count(*) FILTER (WHERE d.key_proved AND d.stage <> 'config'), count(*) FILTER (WHERE d.verdict = 'deny')
       FROM decision d JOIN unit u ON u.id = d.unit_id JOIN line l ON l.id = u.line_id
       WHERE d.at > $1 AND d.at <= $2 AND (d.key_proved OR d.verdict = 'deny') AND l.region <> ''
       GROUP BY 1, 2 ORDER BY 1, 2
       ON CONFLICT (region, hour) DO UPDATE SET attempts = h.attempts + EXCLUDED.attempts, denied = h.denied + EXCLUDED.denied`,
      [from, until],
    );
  },

  districts: async (tx, at, limit) => {
    const { rows } = await tx.query<{ region: string; hours: Date[]; attempts: number[]; denied: number[] }>(
      `SELECT h.region, array_agg(h.hour ORDER BY h.hour) AS hours, array_agg(h.attempts ORDER BY h.hour) AS attempts,
         array_agg(h.denied ORDER BY h.hour) AS denied
       FROM (SELECT region FROM traffic_hour WHERE hour = date_trunc('hour', $1::timestamptz, 'UTC')
         ORDER BY attempts + denied DESC LIMIT $2) AS now
       JOIN traffic_hour h ON h.region = now.region AND h.hour > $1::timestamptz - interval '14 days' AND h.hour <= $1
       GROUP BY h.region`,
      [at, limit],
    );
    return rows.map(
      ({ region, hours, attempts, denied }): District => ({
        region,
        lastAt: at,
        hours: hours.map((hour, n) => ({ hour, attempts: attempts[n] ?? 0, denied: denied[n] ?? 0 })),
      }),
    );
  },

  newest: async (tx, { from, until, region, what, limit }) => {
    const { rows } = await tx.query<RawEvent>(
      `SELECT d.id, d.at::text AS at FROM decision d JOIN unit u ON u.id = d.unit_id JOIN line l ON l.id = u.line_id
       WHERE d.at > $1 AND d.at <= $2 AND l.region = $3
         AND CASE $4 WHEN 'denied' THEN d.verdict = 'deny' ELSE d.key_proved AND d.stage <> 'config' END
       ORDER BY d.at DESC, d.id LIMIT $5`,
      [from, until, region, what, limit],
    );
    return rows;
  },
};
