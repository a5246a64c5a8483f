import type { Transactor } from '../../platform/db/transaction.js';
import type { PastTraffic, TrafficReader } from './dry-run.js';

export function trafficReader({ read }: Transactor): TrafficReader {
  return {
    since: async (from, { decisionsMax, groupsMax }) =>
      (
        await read.query<PastTraffic>(
          `SELECT u.serial_number AS unit, b.name AS batch, u.model, l.region, host(d.address) AS address, d.stage,
             count(*)::int AS attempts, (count(*) FILTER (WHERE d.verdict = 'permit'))::int AS permits,
             max(d.at) AS "lastAt"
           FROM (SELECT unit_id, address, stage, verdict, at FROM decision
                 WHERE at >= $1 AND address IS NOT NULL ORDER BY id DESC LIMIT $2) d
           LEFT JOIN unit u ON u.id = d.unit_id LEFT JOIN batch b ON b.id = u.batch_id LEFT JOIN line l ON l.id = u.line_id
           GROUP BY u.serial_number, b.name, u.model, l.region, d.address, d.stage
           ORDER BY max(d.at) DESC, u.serial_number LIMIT $3`,
          [from, decisionsMax, groupsMax],
        )
      ).rows,
  };
}
