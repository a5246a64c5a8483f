/** What a renewal leaves in a database whatever serves it, as arguments of copy-rows.ts and set-rows.ts. */

/** Recorded before the token is asked (rules 4: T1): whose serial it is, by which nothing that was signed is unknown. */
export const INTENT_ROW = [
  `DROP TABLE IF EXISTS floor_intent;
   CREATE TABLE floor_intent (attempt_id uuid, created_at timestamptz, issuer_id smallint, serial bytea, unit_id integer,
     spki_hash bytea, not_after timestamptz, tbs_hash bytea, state text, PRIMARY KEY (created_at, attempt_id));
   CREATE UNIQUE INDEX ON floor_intent (issuer_id, serial)`,
  [...['~', '2026-12-25 00:00:00Z', '1', '\\\\x~', '7', '\\\\x~~', '2027-01-01 00:00:00Z', '\\\\x~~', 'signing']].join(
    '\t',
  ),
  'floor_intent',
];

/** The successor's slot; its unique indexes are what two servers cannot both win (rules 4). */
export const SLOT_ROW = [
  `DROP TABLE IF EXISTS floor_slot;
   CREATE TABLE floor_slot (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, lineage_id uuid, generation integer,
     state text, spki_hash bytea, issuer_id smallint, serial bytea, not_after timestamptz, renew_from timestamptz,
     renew_until timestamptz, confirmed_at timestamptz);
   CREATE UNIQUE INDEX ON floor_slot (lineage_id, generation) WHERE state <> 'displaced';
   CREATE UNIQUE INDEX ON floor_slot (issuer_id, serial)`,
  [
    ...['~', '2', 'pending', '\\\\x~~', '1', '\\\\x~', '2027-01-01 00:00:00Z', '2026-12-29 00:00:00Z'],
    '2026-12-31 00:00:00Z',
  ].join('\t'),
  'floor_slot (lineage_id, generation, state, spki_hash, issuer_id, serial, not_after, renew_from, renew_until)',
];

/** One public key, one holder, for ever (KEY-1). */
export const KEY_ROW = [
  `DROP TABLE IF EXISTS floor_key;
   CREATE TABLE floor_key (spki_hash bytea PRIMARY KEY, unit_id integer, attempt_id uuid, first_seen_at timestamptz)`,
  ['\\\\x~~', '7', '~', '2026-12-25 00:00:00Z'].join('\t'),
  'floor_key',
];

/** What one credential asked for in this minute (rules 8.5: in PostgreSQL). */
export const COUNTER_ROW = [
  `DROP TABLE IF EXISTS floor_counter;
   CREATE TABLE floor_counter (credential bytea, minute timestamptz, count integer, PRIMARY KEY (minute, credential))`,
  ['\\\\x~~', '2026-12-25 00:00:00Z', '1'].join('\t'),
  'floor_counter',
];

const ROWS = 50_000;

/** The record of a certificate that is shown, or the slots of a lineage: a look at one row by its key. */
export function lookUp(): string {
  return JSON.stringify({
    rows: ROWS,
    ddl: `DROP TABLE IF EXISTS floor_record;
      CREATE TABLE floor_record (id bigint PRIMARY KEY, unit_id integer, state text, hash bytea);
      INSERT INTO floor_record SELECT n, n, 'good', sha256(n::text::bytea) FROM generate_series(1, ${ROWS}) n;
      ANALYZE floor_record`,
    sql: 'SELECT r.id, r.unit_id, r.state, r.hash FROM unnest($1::bigint[]) AS k(id) JOIN floor_record r USING (id)',
  });
}

/** pending → confirmed. */
export function confirmSlot(): string {
  return JSON.stringify({
    rows: ROWS,
    ddl: `DROP TABLE IF EXISTS floor_pending;
      CREATE TABLE floor_pending (id bigint PRIMARY KEY, lineage_id bigint, generation integer, state text,
        confirmed_at timestamptz) WITH (fillfactor = 50);
      INSERT INTO floor_pending SELECT n, n, 2, 'pending' FROM generate_series(1, ${ROWS}) n; ANALYZE floor_pending`,
    sql: `UPDATE floor_pending s SET state = 'confirmed', confirmed_at = now() FROM unnest($1::bigint[]) AS k(id)
      WHERE s.id = k.id`,
  });
}

/** The exchange ends with its second answer, kept for a repeat of the same bytes. */
export function closeExchange(answerOctets: number): string {
  const rows = ROWS / 5;
  return JSON.stringify({
    rows,
    payloadOctets: answerOctets,
    ddl: `DROP TABLE IF EXISTS floor_exchange;
      CREATE TABLE floor_exchange (id bigint PRIMARY KEY, state text, last_hash bytea, response bytea);
      ALTER TABLE floor_exchange ALTER response SET STORAGE EXTERNAL;
      INSERT INTO floor_exchange SELECT n, 'unconfirmed', sha256(n::text::bytea) FROM generate_series(1, ${rows}) n;
      ANALYZE floor_exchange`,
    sql: `UPDATE floor_exchange e SET state = 'closed', response = k.response
      FROM unnest($1::bigint[], $2::bytea[]) AS k(id, response) WHERE e.id = k.id`,
  });
}
