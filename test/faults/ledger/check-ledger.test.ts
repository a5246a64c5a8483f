import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { crlPartStore } from '../../../src/lifecycle/status/crl-part-store.pg.js';
import { crlStore } from '../../../src/lifecycle/status/crl-store.pg.js';
import { makeCrlPartsPublisher, makeCrlPublisher } from '../../../src/lifecycle/status/index.js';
import { statusChangeReader } from '../../../src/lifecycle/status/status-changes.pg.js';
import { checkLedger } from '../../../src/operator/audit/check-ledger.pg.js';
import { checkTable } from '../../../src/operator/audit/check-table.js';
import { dataPaths } from '../../../src/platform/data-directory.js';
import { makeLeases } from '../../../src/platform/db/lease.pg.js';
import { anchorPending } from '../../../src/platform/ledger/anchors.pg.js';
import { fileDropAnchor } from '../../../src/platform/ledger/file-drop-anchor.js';
import { makeAuditHeads } from '../../../src/platform/ledger/heads.pg.js';
import { ledger } from '../../../src/platform/ledger/ledger.pg.js';
import { makeSequencer } from '../../../src/platform/ledger/sequencer.pg.js';
import { systemClock } from '../../../src/platform/system-clock.js';
import { makeCrlDirectory } from '../../../src/protocol/crl/crl-directory.js';
import {
  freshSpki,
  type IssuanceWorld,
  operational,
  startIssuanceWorld,
  successorOf,
} from '../../support/issuance-world.js';

let world: IssuanceWorld;
let paths: ReturnType<typeof dataPaths>;
let auditPem: string;

/** Two units, one renewed, one revoked; CRLs, a head and an anchor: all by the real rooms and a real token. */
beforeAll(async () => {
  world = await startIssuanceWorld();
  paths = dataPaths(world.token.dataDir);
  for (const dir of [paths.logs, paths.crl, paths.anchors, paths.secrets]) mkdirSync(dir, { recursive: true });
  const [kept, lost] = await world.addUnits(2);
  if (!kept || !lost) throw new Error('no units');
  const first = await world.firstCertificate(kept);
  await world.db.pool.query(`UPDATE lineage_slot SET state = 'confirmed', confirmed_at = now() WHERE unit_id = $1`, [
    kept.id,
  ]);
  await world.issuance.issue(operational(kept, { spki: freshSpki(), successor: await successorOf(world, first) }));
  await world.firstCertificate(lost);
  await publishLists();
  await world.revocation.revoke({
    selection: { by: 'unit', unitId: lost.id },
    reason: 'keyCompromise',
    note: 'test',
    actor: 'person:test',
    personId: null,
  });
  await publish();
}, 120_000);
afterAll(() => world.close());

/** Complete CRLs, and what follows them. */
async function publishLists(): Promise<void> {
  const { transactor } = world;
  const leases = makeLeases(transactor);
  const signer = world.token.connect('worker');
  const crls = makeCrlPublisher({
    store: crlStore,
    changes: statusChangeReader,
    transactor,
    ledger,
    leases,
    signer,
    files: makeCrlDirectory(paths.crl),
    clock: systemClock,
    holder: 'test',
    everySeconds: 3_600,
    lifeSeconds: 21_600,
  });
  const parts = makeCrlPartsPublisher({
    store: crlPartStore,
    completes: crlStore,
    transactor,
    leases,
    signer,
    files: makeCrlDirectory(paths.crl),
    clock: systemClock,
    holder: 'test',
    everySeconds: 3_600,
    deltas: true,
    shards: 2,
    statusUrl: 'http://127.0.0.1:8080',
  });
  for (const { outcome, error } of await crls.publishDue())
    expect([outcome, error?.message]).toEqual(['published', undefined]);
  for (const { outcome, error } of await parts.publishDue())
    expect([outcome, error?.message]).toEqual(['published', undefined]);
}

/** What the worker's loops do. */
async function publish(): Promise<void> {
  const { transactor } = world;
  const leases = makeLeases(transactor);
  const signer = world.token.connect('worker');
  await publishLists();
  const audit = world.token.hierarchy.entries.find(({ kind }) => kind === 'audit');
  if (!audit) throw new Error('no audit key');
  auditPem = audit.certificatePem;
  const lease = await leases.acquire('test', 'test', 60_000);
  if (!lease) throw new Error('no lease');
  await makeSequencer({ transactor, leases }).sequenceOnce(lease);
  await makeAuditHeads({
    transactor,
    leases,
    signer,
    ledger,
    clock: systemClock,
    installation: world.token.hierarchy.installation,
    auditKeyLabel: audit.keyLabel,
    auditCertificate: audit.certificatePem,
  }).signHead(lease);
  const target = fileDropAnchor(paths.anchors);
  await anchorPending({ transactor, leases, target, clock: systemClock, certificates: [auditPem] }, lease);
}

const check = (only?: number[]) =>
  checkLedger({ databaseUrl: world.db.url, paths, auditCertificates: [auditPem], ...(only && { only }) });

async function asOwner(...statements: string[]): Promise<void> {
  const client = await world.db.pool.connect();
  try {
    await client.query('ALTER TABLE ledger DISABLE TRIGGER USER');
    for (const statement of statements) await client.query(statement);
    await client.query('ALTER TABLE ledger ENABLE TRIGGER USER');
  } finally {
    client.release();
  }
}

test('an honest record is clean; what could not be judged says why', async () => {
  const report = await check();
  expect(report.invariants.flatMap(({ violations }) => violations)).toEqual([]);
  expect(report).toMatchObject({ ok: true, exitCode: 0 });
  expect(report.invariants.map(({ id }) => id)).toEqual(Array.from({ length: 16 }, (_, n) => n + 1));
  expect(report.invariants.filter(({ result }) => result === 'not run').map(({ id }) => id)).toEqual([9]);
  for (const id of [2, 3, 6, 7, 8, 10, 11]) {
    expect(report.invariants.find((invariant) => invariant.id === id)?.examined).toBeGreaterThan(0);
  }
  expect(checkTable(report)).toContain('✓ The record hangs together.');
});

/** The unit that was revoked has id 2; unit 1 has two generations. */
const KEEP_PARTS = 'CREATE TABLE kept_part AS SELECT issuer_id, part, number, der, sha256, tbs_sha256 FROM crl_part';
const RESTORE_PARTS = `UPDATE crl_part p SET der = k.der, sha256 = k.sha256, tbs_sha256 = k.tbs_sha256 FROM kept_part k
  WHERE (p.issuer_id, p.part, p.number) = (k.issuer_id, k.part, k.number); DROP TABLE kept_part`;

const SABOTAGE: readonly (readonly [id: number, what: string, sabotage: string, undo: string, says: RegExp])[] = [
  [
    1,
    'a serial twice',
    `INSERT INTO certificate SELECT not_after + interval '70 days', issuer_id, serial, purpose, unit_id, machine_id, slot_id, generation, spki_hash, not_before, attempt_id, issued_at, der FROM certificate WHERE unit_id = 2`,
    `DELETE FROM certificate WHERE not_after > now() + interval '60 days'`,
    /occurs 2 times/,
  ],
  [
    2,
    'a certificate whose column was edited',
    `UPDATE certificate SET not_before = not_before - interval '1 day' WHERE unit_id = 2`,
    `UPDATE certificate SET not_before = not_before + interval '1 day' WHERE unit_id = 2`,
    /column not_before differs/,
  ],
  [
    2,
    'a certificate with one bit changed',
    `UPDATE certificate SET der = set_byte(der, length(der) - 1, get_byte(der, length(der) - 1) # 1) WHERE unit_id = 2`,
    `UPDATE certificate SET der = set_byte(der, length(der) - 1, get_byte(der, length(der) - 1) # 1) WHERE unit_id = 2`,
    /signature is not its issuer/,
  ],
  [
    2,
    'an intent that was altered',
    `UPDATE issuance_intent SET tbs = tbs || '\\x00' WHERE unit_id = 2`,
    `UPDATE issuance_intent SET tbs = substring(tbs for length(tbs) - 1) WHERE unit_id = 2`,
    /not what was intended/,
  ],
  [
    3,
    'an issue missing from the ledger',
    `UPDATE ledger SET kind = 'certificate.mislaid' WHERE kind = 'certificate.issued' AND body::jsonb ->> 'unitId' = '2'`,
    `UPDATE ledger SET kind = 'certificate.issued' WHERE kind = 'certificate.mislaid'`,
    /1 intents, 0 issues/,
  ],
  [
    4,
    'an attempt left in signing',
    `UPDATE issuance_intent SET state = 'signing', created_at = created_at - interval '5 minutes' WHERE unit_id = 2`,
    `UPDATE issuance_intent SET state = 'issued', created_at = created_at + interval '5 minutes' WHERE unit_id = 2`,
    /in signing since/,
  ],
  [
    5,
    'a key that another unit owns',
    `UPDATE key_seen SET unit_id = 1 WHERE unit_id = 2`,
    `UPDATE key_seen SET unit_id = 2 WHERE spki_hash IN (SELECT spki_hash FROM certificate WHERE unit_id = 2)`,
    /another holder/,
  ],
  [
    6,
    'a missing generation',
    `UPDATE lineage_slot SET generation = 5 WHERE unit_id = 1 AND generation = 2`,
    `UPDATE lineage_slot SET generation = 2 WHERE generation = 5`,
    /2 generations up to 5/,
  ],
  [
    7,
    'a revocation that the CRL lacks',
    `INSERT INTO revoked_certificate SELECT issuer_id, serial, not_after, unit_id, 'revoked', 1, now(), '\\x00', now() - interval '5 minutes' FROM certificate WHERE unit_id = 1 AND generation = 1`,
    `DELETE FROM revoked_certificate WHERE unit_id = 1`,
    /not on CRL/,
  ],
  [
    7,
    'a revocation that was wiped from the database',
    `DELETE FROM revoked_certificate WHERE unit_id = 2`,
    '',
    /not in the database/,
  ],
  [
    8,
    'a delta that names another base',
    `UPDATE crl_part SET base_number = 0 WHERE part = 'delta'`,
    `UPDATE crl_part SET base_number = 1 WHERE part = 'delta'`,
    /delta 2 of device-ca-1 is of another number, base or kind/,
  ],
  [
    8,
    'a shard under the name of another',
    `${KEEP_PARTS}; UPDATE crl_part a SET der = b.der, sha256 = b.sha256 FROM crl_part b WHERE a.issuer_id = b.issuer_id AND a.part = 'shard-2-0' AND b.part = 'shard-2-1' AND a.der IS NOT NULL AND b.der IS NOT NULL`,
    RESTORE_PARTS,
    /shard-2-0 \d of device-ca-1 is of another number, base or kind/,
  ],
  [
    11,
    'a delta that was not signed so',
    `${KEEP_PARTS}; UPDATE crl_part SET tbs_sha256 = sha256(tbs_sha256) WHERE part = 'delta'`,
    RESTORE_PARTS,
    /crl-part:device-ca-1:delta:2: the recorded part is not the one/,
  ],
  [
    12,
    'a due certificate without a task',
    `UPDATE lineage_slot SET renew_from = now() - interval '10 minutes', created_at = now() - interval '1 day' WHERE unit_id = 1 AND generation = 2; UPDATE unit SET state = 'ACTIVE' WHERE id = 1`,
    `UPDATE lineage_slot SET renew_from = now() + interval '4 days' WHERE unit_id = 1 AND generation = 2`,
    /is due and has no task/,
  ],
  [
    13,
    'a batch with more identities than units',
    `UPDATE certificate SET purpose = 'bootstrap'`,
    `UPDATE certificate SET purpose = 'operational'`,
    /issued 2 of 1/,
  ],
  [
    14,
    'a permit for a suspended unit',
    `INSERT INTO unit_history (unit_id, from_state, to_state, actor, reason, at) VALUES (2, 'ACTIVE', 'SUSPENDED', 'x', 'x', now() - interval '1 minute'); INSERT INTO decision (at, gateway_id, unit_id, stage, key_proved, verdict, reasons) VALUES (now(), 1, 2, 'ike', true, 'permit', '{}')`,
    'DELETE FROM decision',
    /while it was SUSPENDED/,
  ],
  [
    15,
    'an approval that nobody signed',
    `INSERT INTO person (name, role, created_at) VALUES ('p1', 'operator', now()), ('p2', 'approver', now()); INSERT INTO approval (kind, request, request_hash, selection_count, requested_by, request_signature, approved_by, approval_signature, state, created_at, expires_at) VALUES ('x', '{}', sha256('{}'), 1, 1, '\\x00', 2, '\\x00', 'approved', now(), now())`,
    'DELETE FROM approval',
    /did not sign it/,
  ],
  [
    16,
    'a private key in a job',
    `INSERT INTO dead_letter (queue, job_name, job_key, payload, error, tries, failed_at) VALUES ('q', 'j', 'k', '-----BEGIN PRIVATE KEY-----', '', 5, now())`,
    'DELETE FROM dead_letter',
    /dead_letter.payload hold a private key/,
  ],
];

describe('a broken record is named', () => {
  test.each(SABOTAGE)('invariant %i: %s', async (id, _what, sabotage, undo, says) => {
    const saved = await world.db.pool.query(`SELECT * FROM revoked_certificate WHERE unit_id = 2`);
    await asOwner(sabotage);
    const report = await check([id]);
    if (undo !== '') await asOwner(undo);
    else {
      const row = saved.rows[0];
      await world.db.pool.query('INSERT INTO revoked_certificate VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)', [
        row.issuer_id,
        row.serial,
        row.not_after,
        row.unit_id,
        row.state,
        row.reason,
        row.revoked_at,
        row.entry_der,
        row.changed_at,
      ]);
    }
    expect(report).toMatchObject({ ok: false, exitCode: 9 });
    expect(report.invariants[0]?.violations.join('\n')).toMatch(says);
    expect((await check([id])).invariants[0]?.violations).toEqual([]);
  });

  test('invariant 8: a CRL file that is not the newest row, or is gone', async () => {
    const file = join(paths.crl, 'device-ca-1.crl');
    const whole = readFileSync(file);
    await world.db.pool.query(`UPDATE crl SET this_update = this_update - interval '10 minutes'`);
    writeFileSync(file, Buffer.concat([whole.subarray(0, -1), Buffer.from([(whole.at(-1) ?? 0) ^ 1])]));
    const report = await check([8]);
    writeFileSync(file, whole);
    await world.db.pool.query(`UPDATE crl SET this_update = this_update + interval '10 minutes'`);
    expect(report.invariants[0]?.violations.join()).toMatch(/device-ca-1\.crl is not CRL/);
    expect((await check([8])).invariants[0]?.violations).toEqual([]);
  });

  test('invariant 10: an edited ledger entry', async () => {
    await asOwner(`UPDATE ledger SET subject = subject || 'x' WHERE seq = 2`);
    const report = await check([10]);
    await asOwner(`UPDATE ledger SET subject = left(subject, -1) WHERE seq = 2`);
    expect(report.invariants[0]?.violations.join()).toMatch(/Entry 2/);
  });

  test('invariant 11: a signature that nothing explains, and a journal line that was taken out', async () => {
    const file = join(paths.signer, 'journal-ca.log');
    const whole = readFileSync(file, 'utf8');
    const lines = whole.trimEnd().split('\n');
    const next = lines.length + 1;
    appendFileSync(
      file,
      `v1 ${next} ${new Date().toISOString()} operational device-ca-1 01${'ab'.repeat(15)} ${'00'.repeat(32)}\n`,
    );
    expect((await check([11])).invariants[0]?.violations.join()).toMatch(/signed and nowhere recorded/);
    writeFileSync(file, `${[...lines.slice(0, 1), ...lines.slice(2)].join('\n')}\n`);
    expect((await check([11])).invariants[0]?.violations.join('\n')).toMatch(/entry 2 is missing/);
    writeFileSync(file, whole);
    expect((await check([11])).invariants[0]?.violations).toEqual([]);
  });

  test('invariant 16: a PIN in a log, without repeating it', async () => {
    writeFileSync(join(paths.secrets, 'test.pin'), '8842-7711-0099\n');
    writeFileSync(join(paths.logs, 'x.log'), `${'y'.repeat((1 << 20) - 5)}8842-7711-0099\n`);
    const text = (await check([16])).invariants[0]?.violations.join() ?? '';
    expect(text).toMatch(/x\.log holds a PIN/);
    expect(text).not.toContain('8842');
  });
});
