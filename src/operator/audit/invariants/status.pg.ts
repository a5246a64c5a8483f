import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readCertificate } from '../../../x509/certificate.js';
import { readCrl, readCrlHead, verifyCrlSignature } from '../../../x509/crl.js';
import { compareWithRows, crlBytes, type NewestCrl, newestCrls, PUBLICATION_MS } from './crl-listing.pg.js';
import { checkParts } from './crl-parts.pg.js';
import { type Evidence, type Invariant, type Outcome, Violations } from './invariant.js';

export const STATUS_INVARIANTS: readonly Invariant[] = [
  { id: 7, name: 'what is revoked is on the newest CRL, and nothing else is', check: revokedIsListed },
  { id: 8, name: 'CRL numbers rise, the published bytes are the newest row, and half a life is left', check: crlsRise },
  { id: 9, name: 'OCSP says what the database says', check: ocspAgrees },
];

const OCSP_SAMPLE = 25;

async function revokedIsListed({ tx, asOf }: Evidence): Promise<Outcome> {
  const violations = new Violations();
  for (const newest of await newestCrls(tx)) {
    const { entriesDer } = readCrlHead(await crlBytes(tx, newest));
    await compareWithRows(tx, { newest, entriesDer, asOf }, violations);
  }
  const { rows: orphans } = await tx.query<{ serial: string }>(
    `SELECT encode(i.serial, 'hex') AS serial FROM issuance_intent i
     LEFT JOIN revoked_certificate r ON r.issuer_id = i.issuer_id AND r.serial = i.serial AND r.state = 'revoked'
     WHERE i.state = 'abandoned' AND r.serial IS NULL LIMIT 1000`,
  );
  for (const { serial } of orphans) violations.add(`the abandoned serial ${serial} is not revoked`);
  return violations.outcome();
}

async function crlsRise(evidence: Evidence): Promise<Outcome> {
  const { tx, asOf, crlDir } = evidence;
  const violations = new Violations();
  const { rows } = await tx.query<{ label: string; number: number }>(
    `SELECT i.label, c.number FROM (
       SELECT issuer_id, number, this_update, lag(this_update) OVER (PARTITION BY issuer_id ORDER BY number) AS before FROM crl
     ) c JOIN issuer i ON i.id = c.issuer_id WHERE c.this_update < c.before LIMIT 1000`,
  );
  for (const { label, number } of rows) violations.add(`CRL ${number} of ${label} is older than the one before it`);
  for (const crl of await newestCrls(tx)) {
    violations.examined += 1;
    const { label, number } = crl;
    const der = await crlBytes(tx, crl);
    const parsed = readCrl(der);
    if (!verifyCrlSignature(parsed, readCertificate(crl.certificate_der).spki))
      violations.add(`CRL ${number} of ${label} does not verify`);
    if (parsed.number !== BigInt(number)) violations.add(`CRL ${number} of ${label} carries number ${parsed.number}`);
    const life = crl.next_update.getTime() - crl.this_update.getTime();
    if (crl.next_update.getTime() - asOf.getTime() < life / 2)
      violations.add(`CRL ${number} of ${label} has less than half its life left`);
    if (crlDir !== null) comparePublished(crlDir, { ...crl, der }, asOf, violations);
  }
  const { rows: missing } = await tx.query<{ label: string }>(
    `SELECT label FROM issuer i WHERE kind IN ('device-ca', 'bootstrap-ca', 'services-ca') AND state = 'active'
       AND NOT EXISTS (SELECT 1 FROM crl c WHERE c.issuer_id = i.id)`,
  );
  for (const { label } of missing) violations.add(`${label} has no CRL`);
  await checkParts(evidence, violations);
  return violations.outcome();
}

function comparePublished(
  dir: string,
  crl: NewestCrl & { readonly der: Buffer },
  asOf: Date,
  violations: Violations,
): void {
  const path = join(dir, `${crl.label}.crl`);
  const file = existsSync(path) ? readFileSync(path) : null;
  if (file?.equals(crl.der)) return;
  // Between two looks the publisher may have gone on: a newer file is not wrong, an older one after a minute is.
  if (file && (readCrl(file).number ?? 0n) > BigInt(crl.number)) return;
  if (crl.published_at === null && asOf.getTime() - crl.this_update.getTime() <= PUBLICATION_MS) return;
  violations.add(`${crl.label}.crl is ${file ? 'not' : 'missing; it should be'} CRL ${crl.number}`);
}

async function ocspAgrees({ tx, askOcsp }: Evidence): Promise<Outcome> {
  if (askOcsp === null) return { examined: 0, violations: [], notRun: 'no status server to ask' };
  const violations = new Violations();
  const { rows } = await tx.query<{ serial: Buffer; certificate_der: Buffer; expected: 'good' | 'revoked' }>(
    `(SELECT c.serial, i.certificate_der, 'good' AS expected FROM certificate c JOIN issuer i ON i.id = c.issuer_id
      WHERE c.not_after > now() AND NOT EXISTS (SELECT 1 FROM revoked_certificate r
        WHERE r.issuer_id = c.issuer_id AND r.serial = c.serial AND r.state <> 'released')
      ORDER BY c.issued_at DESC LIMIT ${OCSP_SAMPLE})
     UNION ALL
     (SELECT r.serial, i.certificate_der, 'revoked' FROM revoked_certificate r JOIN issuer i ON i.id = r.issuer_id
      WHERE r.state <> 'released' AND r.not_after > now() ORDER BY r.changed_at DESC LIMIT ${OCSP_SAMPLE})`,
  );
  for (const { serial, certificate_der: issuerCertificateDer, expected } of rows) {
    violations.examined += 1;
    const answer = await askOcsp({ issuerCertificateDer, serial });
    if (answer !== expected)
      violations.add(`OCSP says ${answer} of ${serial.toString('hex')}, the database ${expected}`);
  }
  return violations.outcome();
}
