/** An expired head or head − 1 may still renew this long after notAfter (rules 4), so a revocation must reach it. */
const COMEBACK = `interval '31 days'`;

const COLUMNS = 'issuer_id, serial, not_after, unit_id, purpose, spki_hash';

/**
 * SQL of every certificate that could still be used after `$1`: unexpired ones, an expired head or head − 1 that might
 * renew, and serials being signed right now. Each once: a serial whose intent is still open has no certificate yet.
 *
 * @param where  a condition on the columns that certificate and issuance_intent share
 */
export function usableCertificates(where: string): string {
  return `SELECT ${COLUMNS} FROM certificate c WHERE ${where} AND c.not_after > $1
    UNION ALL
    SELECT ${COLUMNS} FROM certificate c
      WHERE ${where} AND c.not_after > $1::timestamptz - ${COMEBACK} AND c.not_after <= $1 AND EXISTS (
        SELECT 1 FROM lineage_slot s JOIN lineage l ON l.id = s.lineage_id AND l.state <> 'closed'
        WHERE s.id = c.slot_id AND s.state IN ('pending', 'confirmed') AND NOT EXISTS (
          SELECT 1 FROM lineage_slot n WHERE n.lineage_id = s.lineage_id AND n.generation > s.generation + 1
            AND n.state IN ('pending', 'confirmed')))
    UNION ALL
    SELECT ${COLUMNS} FROM issuance_intent i WHERE ${where} AND i.state = 'signing' AND i.not_after > $1`;
}
