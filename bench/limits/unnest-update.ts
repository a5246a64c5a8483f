/**
 * The least that changing a row costs: `UPDATE … FROM unnest` on a table of the same shape, with the same indexes and as many
 * rows, in as many transactions. Nothing else is read, decided, recorded or told.
 */
import { byteaArray } from '../../src/platform/db/binary-array.js';
import type { Pool } from '../../src/platform/db/pool.pg.js';

/** `unit`: the one table whose rows an order changes. `status`: the shape of a certificate's row that the CRL is made of. */
export type Shape = 'unit' | 'status';

export interface UnnestUpdate {
  /** Changes every row once. */
  run(): Promise<void>;
  drop(): Promise<void>;
}

const ENTRY_BYTES = 43;

export async function prepareUnnestUpdate(
  pool: Pool,
  shape: Shape,
  { rows, rowsAPart }: { rows: number; rowsAPart: number },
): Promise<UnnestUpdate> {
  const update = shape === 'unit' ? await bareUnits(pool, rows) : await bareStatus(pool, rows);
  await pool.query('VACUUM ANALYZE bare');
  return {
    run: async () => {
      for (let from = 0; from < rows; from += rowsAPart) await update(from, Math.min(from + rowsAPart, rows));
    },
    drop: async () => {
      await pool.query('DROP TABLE bare');
    },
  };
}

type Part = (from: number, to: number) => Promise<unknown>;

async function bareUnits(pool: Pool, rows: number): Promise<Part> {
  await pool.query('CREATE TABLE bare (LIKE unit INCLUDING ALL)');
  await pool.query(
    `INSERT INTO bare (maker_id, batch_id, serial_number, eui, hardware_id, fqdn, model, state, state_changed_at)
     SELECT 1, 1, s, md5(s), s, md5(s) || '.femto.hanbit.example', 'FC-1', 'ACTIVE', now()
     FROM (SELECT 'BARE-' || lpad(n::text, 7, '0') AS s FROM generate_series(1, $1::int) n) AS names`,
    [rows],
  );
  const found = await pool.query<{ id: number }>('SELECT id FROM bare ORDER BY id');
  const ids = found.rows.map(({ id }) => id);
  return (from, to) => {
    const part = ids.slice(from, to);
    const at = new Date();
    return pool.query(
      `UPDATE bare b SET state = n.state, state_reason = n.reason, state_changed_at = n.at, revocation_epoch = b.revocation_epoch + 1
       FROM unnest($1::int[], $2::text[], $3::text[], $4::timestamptz[]) AS n(id, state, reason, at) WHERE b.id = n.id`,
      [part, part.map(() => 'SUSPENDED'), part.map(() => 'recalled by its maker'), part.map(() => at)],
    );
  };
}

async function bareStatus(pool: Pool, rows: number): Promise<Part> {
  await pool.query('CREATE TABLE bare (LIKE revoked_certificate INCLUDING ALL)');
  await pool.query(
    `INSERT INTO bare SELECT 1, decode('01' || left(md5(n::text), 30), 'hex'), now() + interval '3 days', n, 'held', 6, now(),
       decode(repeat('00', ${ENTRY_BYTES}), 'hex'), now() FROM generate_series(1, $1::int) n`,
    [rows],
  );
  const found = await pool.query<{ serial: Buffer }>('SELECT serial FROM bare ORDER BY unit_id');
  const serials = found.rows.map(({ serial }) => serial);
  const entry = Buffer.alloc(ENTRY_BYTES, 1);
  return (from, to) => {
    const part = serials.slice(from, to);
    const at = new Date();
    return pool.query(
      `UPDATE bare b SET state = 'revoked', reason = n.reason, revoked_at = n.at, entry_der = n.entry, changed_at = n.at
       FROM unnest($1::smallint[], $2::bytea[], $3::smallint[], $4::timestamptz[], $5::bytea[]) AS n(issuer_id, serial, reason, at, entry)
       WHERE b.issuer_id = n.issuer_id AND b.serial = n.serial`,
      [part.map(() => 1), byteaArray(part), part.map(() => 5), part.map(() => at), byteaArray(part.map(() => entry))],
    );
  };
}
