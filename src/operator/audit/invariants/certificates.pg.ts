import { createHash, X509Certificate } from 'node:crypto';
import type { Transaction } from '../../../platform/db/transaction.js';
import { type Certificate, readCertificate, verifyCertificateSignature } from '../../../x509/certificate.js';
import { type Evidence, type Invariant, type Outcome, Violations, violationsOf } from './invariant.js';

const PAGE = 1_000;

export const CERTIFICATE_INVARIANTS: readonly Invariant[] = [
  {
    id: 1,
    name: 'a serial number is used once by each CA',
    check: ({ tx }) =>
      violationsOf(tx, 'SELECT count(*) AS n FROM issuance_intent', {
        sql: `SELECT 'certificate' AS what, issuer_id, encode(serial, 'hex') AS serial, count(*) AS n
              FROM certificate GROUP BY issuer_id, serial HAVING count(*) > 1
              UNION ALL
              SELECT 'intent', issuer_id, encode(serial, 'hex'), count(*)
              FROM issuance_intent GROUP BY issuer_id, serial HAVING count(*) > 1`,
        says: ({ what, issuer_id, serial, n }) => `${what} serial ${serial} of issuer ${issuer_id} occurs ${n} times`,
      }),
  },
  {
    id: 2,
    name: 'every certificate reads the same in two parsers, verifies, and is what was intended and recorded',
    check: everyCertificate,
  },
  {
    id: 3,
    name: 'every certificate has one intent and one issue in the ledger, in that order',
    check: intentAndIssue,
  },
  {
    id: 4,
    name: 'no attempt is left in signing',
    check: ({ tx, asOf }) =>
      violationsOf(tx, `SELECT count(*) AS n FROM issuance_intent WHERE state = 'signing'`, {
        // The reconciler gives up after 60 s and comes every 15 s.
        sql: `SELECT attempt_id, created_at FROM issuance_intent
              WHERE state = 'signing' AND created_at < $1::timestamptz - interval '80 seconds'`,
        params: [asOf],
        says: ({ attempt_id, created_at }) =>
          `attempt ${attempt_id} is in signing since ${(created_at as Date).toISOString()}`,
      }),
  },
  {
    id: 5,
    name: 'a key belongs to one device for ever',
    check: ({ tx }) =>
      violationsOf(tx, 'SELECT count(*) AS n FROM key_seen', {
        sql: `SELECT encode(c.spki_hash, 'hex') AS key, 'has certificates of several holders' AS fault FROM certificate c
              GROUP BY c.spki_hash HAVING count(DISTINCT (c.unit_id, c.machine_id)) > 1
              UNION ALL
              SELECT encode(c.spki_hash, 'hex'), 'is certified for another holder than the one that was first seen'
              FROM certificate c LEFT JOIN key_seen k ON k.spki_hash = c.spki_hash
              WHERE k.spki_hash IS NULL OR k.unit_id IS DISTINCT FROM c.unit_id`,
        says: ({ key, fault }) => `key ${key} ${fault}`,
      }),
  },
];

interface Row {
  readonly not_after: Date;
  readonly issuer_id: number;
  readonly serial: Buffer;
  readonly spki_hash: Buffer;
  readonly not_before: Date;
  readonly attempt_id: string;
  readonly der: Buffer;
  readonly tbs: Buffer | null;
  readonly tbs_hash: Buffer | null;
  readonly intent_attempt: string | null;
  readonly intent_state: string | null;
}

type PagePlace = [notAfter: Date | string, issuerId: number, serial: Buffer];

interface IssuerKey {
  readonly certificate: Certificate;
  readonly node: X509Certificate;
}

async function everyCertificate({ tx }: Evidence): Promise<Outcome> {
  const violations = new Violations();
  const issuers = await issuerKeys(tx);
  let [notAfter, issuerId, serial]: PagePlace = ['-infinity', 0, Buffer.alloc(0)];
  for (;;) {
    const { rows }: { rows: Row[] } = await tx.query<Row>(
      `SELECT c.not_after, c.issuer_id, c.serial, c.spki_hash, c.not_before, c.attempt_id, c.der,
              i.tbs, i.tbs_hash, i.attempt_id AS intent_attempt, i.state AS intent_state
       FROM (SELECT * FROM certificate WHERE (not_after, issuer_id, serial) > ($1::timestamptz, $2::smallint, $3::bytea)
             ORDER BY not_after, issuer_id, serial LIMIT ${PAGE}) c
       LEFT JOIN issuance_intent i ON i.issuer_id = c.issuer_id AND i.serial = c.serial
         AND i.created_at BETWEEN c.issued_at - interval '1 day' AND c.issued_at + interval '1 hour'
       ORDER BY c.not_after, c.issuer_id, c.serial`,
      [notAfter, issuerId, serial],
    );
    for (const row of rows) {
      violations.examined += 1;
      for (const fault of faultsOf(row, issuers.get(row.issuer_id))) {
        violations.add(`certificate ${row.serial.toString('hex')} of issuer ${row.issuer_id}: ${fault}`);
      }
    }
    const last: Row | undefined = rows.at(-1);
    if (!last || rows.length < PAGE) return violations.outcome();
    [notAfter, issuerId, serial] = [last.not_after, last.issuer_id, last.serial];
  }
}

function faultsOf(row: Row, issuer: IssuerKey | undefined): string[] {
  if (!issuer) return ['its issuer is not recorded'];
  let ours: Certificate;
  let theirs: X509Certificate;
  try {
    ours = readCertificate(row.der);
    theirs = new X509Certificate(row.der);
  } catch (thrown) {
    return [`it does not parse: ${thrown instanceof Error ? thrown.message : String(thrown)}`];
  }
  const faults: string[] = [];
  const expect = (holds: boolean, fault: string): void => {
    if (!holds) faults.push(fault);
  };
  const serialHex = row.serial.toString('hex');
  expect(ours.serial.equals(row.serial), 'the serial column differs');
  expect(theirs.serialNumber.toLowerCase().padStart(32, '0') === serialHex, 'the second parser sees another serial');
  expect(Date.parse(theirs.validTo) === ours.notAfter.getTime(), 'the parsers see different ends');
  expect(Date.parse(theirs.validFrom) === ours.notBefore.getTime(), 'the parsers see different beginnings');
  expect(ours.notAfter.getTime() === row.not_after.getTime(), 'the column not_after differs');
  expect(ours.notBefore.getTime() === row.not_before.getTime(), 'the column not_before differs');
  expect(ours.spki.spkiHash.equals(row.spki_hash), 'the key column differs');
  const spki = theirs.publicKey.export({ type: 'spki', format: 'der' });
  expect(createHash('sha256').update(spki).digest().equals(row.spki_hash), 'the second parser sees another key');
  expect(verifyCertificateSignature(ours, issuer.certificate.spki), 'the signature is not its issuer’s');
  expect(theirs.verify(issuer.node.publicKey), 'the second parser does not verify the signature');
  if (row.tbs === null || row.tbs_hash === null) faults.push('there is no intent for it');
  else {
    expect(ours.tbsDer.equals(row.tbs), 'what was signed is not what was intended');
    expect(createHash('sha256').update(row.tbs).digest().equals(row.tbs_hash), 'the intent was altered');
    expect(row.intent_attempt === row.attempt_id, 'it belongs to another attempt than its intent');
    expect(row.intent_state === 'issued', `its intent is ${row.intent_state}`);
  }
  return faults;
}

async function issuerKeys(tx: Transaction): Promise<Map<number, IssuerKey>> {
  const { rows } = await tx.query<{ id: number; certificate_der: Buffer }>('SELECT id, certificate_der FROM issuer');
  return new Map(
    rows.map(({ id, certificate_der: der }) => [
      id,
      { certificate: readCertificate(der), node: new X509Certificate(der) },
    ]),
  );
}

/** Numbered and waiting entries together: what was committed counts, numbered or not. */
const FACTS = `SELECT kind, epoch * 1000000000000 + seq AS place, body FROM ledger
  UNION ALL SELECT kind, 9000000000000000 + id, body FROM ledger_inbox`;

async function intentAndIssue({ tx }: Evidence): Promise<Outcome> {
  return violationsOf(tx, 'SELECT count(*) AS n FROM certificate', {
    sql: `WITH facts AS (
            SELECT (body::jsonb ->> 'issuerId')::int AS issuer_id, body::jsonb ->> 'serial' AS serial, kind, place
            FROM (${FACTS}) f WHERE kind IN ('certificate.intended', 'certificate.issued', 'certificate.abandoned')
          ), told AS (
            SELECT issuer_id, serial,
              count(*) FILTER (WHERE kind = 'certificate.intended') AS intended,
              count(*) FILTER (WHERE kind = 'certificate.issued') AS issued,
              count(*) FILTER (WHERE kind = 'certificate.abandoned') AS abandoned,
              min(place) FILTER (WHERE kind = 'certificate.intended') AS intended_at,
              min(place) FILTER (WHERE kind = 'certificate.issued') AS issued_at
            FROM facts GROUP BY issuer_id, serial
          ), recorded AS (
            SELECT issuer_id::int AS issuer_id, encode(serial, 'hex') AS serial, true AS is_certificate FROM certificate
          ), tried AS (
            SELECT issuer_id::int AS issuer_id, encode(serial, 'hex') AS serial, state FROM issuance_intent
          )
          SELECT coalesce(t.serial, r.serial, i.serial) AS serial, coalesce(t.intended, 0) AS intended,
            coalesce(t.issued, 0) AS issued, coalesce(t.abandoned, 0) AS abandoned, r.is_certificate, i.state
          FROM told t FULL JOIN recorded r USING (issuer_id, serial) FULL JOIN tried i USING (issuer_id, serial)
          WHERE coalesce(t.intended, 0) <> 1
            OR coalesce(t.issued, 0) <> (CASE WHEN r.is_certificate THEN 1 ELSE 0 END)
            OR coalesce(t.abandoned, 0) <> (CASE WHEN i.state = 'abandoned' THEN 1 ELSE 0 END)
            OR t.issued_at < t.intended_at`,
    says: ({ serial, intended, issued, abandoned, is_certificate, state }) =>
      `serial ${serial} (${is_certificate ? 'recorded' : 'not recorded'}, intent ${state ?? 'missing'}): the ledger tells of ${intended} intents, ${issued} issues, ${abandoned} abandonments`,
  });
}
