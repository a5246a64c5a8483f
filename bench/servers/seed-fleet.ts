import { createHash } from 'node:crypto';
import pg from 'pg';
import type { CertificateRecord } from '../../src/lifecycle/model/index.js';

export interface FleetSeed {
  readonly units: number;
  /** A certificate that issuance made, and where it stands in it: others differ in serial and name. */
  readonly template: {
    readonly der: Buffer;
    readonly serial: Buffer;
    readonly fqdn: string;
    readonly realm: string;
    readonly record: CertificateRecord;
  };
}

export interface FleetUnit {
  readonly der: Buffer;
  readonly fqdn: string;
  readonly address: string;
}

/** Spread over all of the fleet, so that a larger one is not asked about the same few rows. */
const ASKED_MAX = 20_000;
/** The template's own unit. */
const FIRST = 2;

/**
 * Fills an empty database with units that are in service: each on a line of its own with its own prefix, its certificate
 * confirmed, and its traces up to six and a quarter hours old, as with units that ask every quarter of an hour.
 *
 * @returns those to ask about, with the certificates that the record has
 */
export async function seedFleet(url: string, { units, template }: FleetSeed): Promise<FleetUnit[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { der, serial, fqdn, realm, record } = template;
  const places = [...placesOf(der, Buffer.from(fqdn))];
  const named = places.reduce(
    (sql, at) => `overlay(${sql} placing convert_to(lpad(to_hex(n), 12, '0'), 'UTF8') from ${at + 1} for 12)`,
    `overlay($1::bytea placing ${SERIAL} from ${der.indexOf(serial) + 1} for 16)`,
  );
  await client.query('SET synchronous_commit = off');
  await client.query(`INSERT INTO line (name) SELECT 'L-' || n FROM generate_series(${FIRST}, $1::int) n`, [units]);
  await client.query(
    `INSERT INTO line_prefix (prefix, line_id, valid_from)
     SELECT set_masklen('10.0.0.0'::inet + n, 32)::cidr, l.id, now() - interval '1 year'
     FROM line l, LATERAL (SELECT substr(l.name, 3)::int AS n) s`,
  );
  await client.query(
    `INSERT INTO unit (maker_id, batch_id, serial_number, eui, hardware_id, fqdn, model, state, state_changed_at, line_id, last_contact_at)
     SELECT 1, 1, 'SN-' || n, lpad(to_hex(n), 12, '0'), 'SN-' || n, lpad(to_hex(n), 12, '0') || '.' || $1, 'FC-1', 'ACTIVE', now(), l.id,
       now() - random() * interval '375 minutes'
     FROM line l, LATERAL (SELECT substr(l.name, 3)::int AS n) s ORDER BY n`,
    [realm],
  );
  await client.query(
    `INSERT INTO lineage (unit_id, state, opened_at) SELECT id, 'open', now() FROM unit WHERE line_id IS NOT NULL ORDER BY id`,
  );
  const { issuerId, spkiHash, notBefore, notAfter, attemptId } = record;
  await client.query(
    `INSERT INTO lineage_slot (lineage_id, unit_id, generation, state, spki_hash, issuer_id, serial, not_before, not_after,
       attempt_id, renew_from, renew_until, created_at, confirmed_at, confirmed_by, last_used_at, line_id)
     SELECT l.id, l.unit_id, 1, 'confirmed', $1, $2, ${SERIAL}, $3, $4::timestamptz, $5, $4::timestamptz - interval '3 days',
       $4::timestamptz - interval '2 days', now(), now(), 'first-permit', u.last_contact_at, u.line_id
     FROM lineage l JOIN unit u ON u.id = l.unit_id, LATERAL (SELECT substr(u.serial_number, 4)::int AS n) s
     WHERE u.line_id IS NOT NULL ORDER BY l.id`,
    [spkiHash, issuerId, notBefore, notAfter, attemptId],
  );
  await client.query(
    `INSERT INTO certificate (not_after, issuer_id, serial, purpose, unit_id, slot_id, generation, spki_hash, not_before,
       attempt_id, issued_at, der)
     SELECT $2, $3, ${SERIAL}, 'operational', u.id, s.id, 1, $4, $5, $6, now(), ${named}
     FROM lineage_slot s JOIN unit u ON u.id = s.unit_id, LATERAL (SELECT substr(u.serial_number, 4)::int AS n) x
     WHERE u.line_id IS NOT NULL ORDER BY s.id`,
    [der, notAfter, issuerId, spkiHash, notBefore, attemptId],
  );
  await client.query('VACUUM ANALYZE');
  await client.end();
  const count = Math.min(ASKED_MAX, units - FIRST + 1);
  // A step that shares no factor with the size walks through all of it.
  return Array.from({ length: count }, (_none, index) => FIRST + ((index * 7_919) % (units - FIRST + 1))).map((n) =>
    unitOf(n, { der, serial, places, realm }),
  );
}

/** 01 and 15 octets that nothing else has. */
const SERIAL = `'\\x01'::bytea || substr(sha256(convert_to(n::text, 'UTF8')), 1, 15)`;

function unitOf(
  n: number,
  { der, serial, places, realm }: { der: Buffer; serial: Buffer; places: readonly number[]; realm: string },
): FleetUnit {
  const eui = n.toString(16).padStart(12, '0');
  const copy = Buffer.from(der);
  copy.set(
    Buffer.concat([Buffer.from([1]), createHash('sha256').update(String(n)).digest().subarray(0, 15)]),
    der.indexOf(serial),
  );
  for (const at of places) copy.set(Buffer.from(eui), at);
  const address = 0x0a000000 + n;
  return {
    der: copy,
    fqdn: `${eui}.${realm}`,
    address: [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join('.'),
  };
}

function* placesOf(der: Buffer, name: Buffer): Generator<number> {
  for (let at = der.indexOf(name); at >= 0; at = der.indexOf(name, at + 1)) yield at;
}
