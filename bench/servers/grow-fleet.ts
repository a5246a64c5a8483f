import pg from 'pg';

/** Rows in one statement. */
const CHUNK = 100_000;

/**
 * Fills the tables with units that are in service, as they stand in a fleet that has been at work for days: each with its lineage,
 * its confirmed certificate, its key and its marker, in the order in which they were issued.
 *
 * @param from  number of the first unit; the same number never twice
 * @param der  of a certificate as long as theirs
 */
export async function growFleet(
  url: string,
  { from, units, of, der }: { from: number; units: number; of: number; der: Buffer },
): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query('SET synchronous_commit = off');
  for (let first = from; first < from + units; first += CHUNK) {
    const last = Math.min(first + CHUNK, from + units) - 1;
    const { rows } = await client.query<{ low: number }>(
      `WITH made AS (
         INSERT INTO unit (maker_id, batch_id, serial_number, eui, hardware_id, fqdn, model, state, state_changed_at, last_contact_at)
         SELECT 1, 1, 'GR-' || n, 'f' || lpad(to_hex(n), 11, '0'), 'GR-' || n, 'f' || lpad(to_hex(n), 11, '0') || '.grown.test',
           'FC-1', 'ACTIVE', now(), now() - random() * interval '6 hours'
         FROM generate_series($1::int, $2::int) n RETURNING id)
       SELECT min(id) AS low FROM made`,
      [first, last],
    );
    const low = rows[0]?.low ?? 0;
    const grown = `FROM unit u, LATERAL (SELECT substr(u.serial_number, 4)::int AS n) s,
        LATERAL (SELECT now() - (1 - s.n::float8 / ${of}) * interval '4 days' AS at) t
      WHERE u.id >= $1 AND u.serial_number LIKE 'GR-%'`;
    await client.query(
      `INSERT INTO lineage (unit_id, state, opened_at) SELECT u.id, 'open', t.at ${grown} ORDER BY u.id`,
      [low],
    );
    await client.query(
      `WITH slots AS (
         INSERT INTO lineage_slot (lineage_id, unit_id, generation, state, spki_hash, issuer_id, serial, not_before, not_after,
           attempt_id, renew_from, renew_until, created_at, confirmed_at, confirmed_by)
         SELECT l.id, u.id, 1, 'confirmed', sha256(int4send(s.n)), i.id,
           '\\x01'::bytea || int4send((extract(epoch FROM t.at) / 3600)::int) || substr(sha256(int4send(s.n)), 1, 11),
           t.at - interval '1 hour', t.at + interval '7 days', gen_random_uuid(),
           t.at + interval '4.2 days' + random() * interval '0.93 days', t.at + interval '6.3 days', t.at, t.at, 'confirm-call'
         ${grown.replace('FROM unit u', `FROM unit u JOIN lineage l ON l.unit_id = u.id JOIN issuer i ON i.label = 'device-ca-1'`)}
         ORDER BY u.id RETURNING *
       ), certificates AS (
         INSERT INTO certificate (not_after, issuer_id, serial, purpose, unit_id, slot_id, generation, spki_hash, not_before,
           attempt_id, issued_at, der)
         SELECT not_after, issuer_id, serial, 'operational', unit_id, id, 1, spki_hash, not_before, attempt_id, created_at, $2
         FROM slots
       ), keys AS (
         INSERT INTO key_seen (spki_hash, unit_id, owner_kind, owner_name, attempt_id, first_seen_at)
         SELECT spki_hash, unit_id, 'operational', 'grown', attempt_id, created_at FROM slots
       )
       INSERT INTO renewal_due (due_at, slot_id) SELECT renew_from, id FROM slots`,
      [low, der],
    );
  }
  await client.end();
}

/** As autovacuum leaves it. */
export async function settleTables(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query('VACUUM (ANALYZE)');
  await client.end();
}
