/** An expired head or head − 1 may still renew this long after notAfter (rules 4), so a revocation must reach it. */
const COMEBACK = `interval '31 days'`;

const COLUMNS = 'issuer_id, serial, not_after, unit_id, purpose, spki_hash';

/**
 * A condition for {@link usableCertificates} that `column` is among the elements of an array. Behind a subquery, because the
 * planner would weigh each of two thousand elements against each of forty partitions: longer than the statement then takes.
 */
export function isAmong(column: 'unit_id' | 'spki_hash', parameter: string): string {
  return `${column} = ANY((SELECT ${parameter})::${column === 'unit_id' ? 'int' : 'bytea'}[])`;
}

/**
 * SQL of every certificate that could still be used after `$1`: unexpired ones, an expired head or head − 1 that might
 * renew, and serials being signed right now. Each once: a serial whose intent is still open has no certificate yet. Each
 * table is named once, and of the intents only partitions that can hold one by now: with dozens of partitions it is the
 * planning that costs.
 *
 * @param where  a condition on the columns that certificate and issuance_intent share
 */
export function usableCertificates(where: string): string {
  return `SELECT ${COLUMNS} FROM certificate c WHERE ${where} AND c.not_after > $1::timestamptz - ${COMEBACK}
      AND (c.not_after > $1 OR EXISTS (
        SELECT 1 FROM lineage_slot s JOIN lineage l ON l.id = s.lineage_id AND l.state <> 'closed'
        WHERE s.id = c.slot_id AND s.state IN ('pending', 'confirmed') AND NOT EXISTS (
          SELECT 1 FROM lineage_slot n WHERE n.lineage_id = s.lineage_id AND n.generation > s.generation + 1
            AND n.state IN ('pending', 'confirmed'))))
    UNION ALL
    SELECT ${COLUMNS} FROM issuance_intent i WHERE ${where} AND i.state = 'signing' AND i.not_after > $1
      AND i.created_at < $1::timestamptz + interval '1 day'`;
}
