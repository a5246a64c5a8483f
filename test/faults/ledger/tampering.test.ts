import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import { auditTable } from '../../../src/operator/audit/audit-table.js';
import { exportedSource, exportLedger } from '../../../src/operator/audit/export-directory.js';
import type { Finding } from '../../../src/operator/audit/findings.js';
import { databaseSource } from '../../../src/operator/audit/ledger-source.pg.js';
import { type AuditReport, verifyLedger } from '../../../src/operator/audit/verify-ledger.js';
import { readEntries } from '../../../src/platform/ledger/cursors.pg.js';
import { emptyChain, entryHash, extendChain } from '../../../src/platform/ledger/entry-hash.js';
import { fact, startLedger, type TestLedger } from '../../support/test-ledger.js';

const kits: TestLedger[] = [];
let kit: TestLedger;

/** 3 rounds of 10 entries, a head and an anchor each; heads at 10, 21, 32; then 4 unsigned entries. */
beforeEach(async () => {
  kit = await startLedger();
  kits.push(kit);
  for (let round = 0; round < 3; round++) {
    const entries = Array.from({ length: 10 }, (_, n) =>
      fact(round * 10 + n, n === 4 ? 'certificate.issued' : 'test.noted'),
    );
    await kit.append(...entries);
    await kit.sequence();
    await kit.sign();
    await kit.anchor();
  }
  await kit.append(fact(100), fact(101), fact(102));
  await kit.sequence();
  await kit.append(fact(200), fact(201));
});
afterAll(async () => {
  for (const { db } of kits) await db.drop();
});

async function verify(anchorDir: string | null = kit.anchorDir): Promise<AuditReport> {
  const source = databaseSource({
    databaseUrl: kit.db.url,
    auditCertificates: [kit.signer.certificatePem],
    ...(anchorDir === null ? {} : { anchorDir }),
  });
  try {
    return await verifyLedger(source);
  } finally {
    await source.close();
  }
}

/** What somebody with all rights over the tables would run: the triggers are no obstacle to an owner. */
async function asOwner(...statements: string[]): Promise<void> {
  const client = await kit.db.pool.connect();
  try {
    await client.query('ALTER TABLE ledger DISABLE TRIGGER USER; ALTER TABLE ledger_head DISABLE TRIGGER USER');
    for (const statement of statements) await client.query(statement);
    await client.query('ALTER TABLE ledger ENABLE TRIGGER USER; ALTER TABLE ledger_head ENABLE TRIGGER USER');
  } finally {
    client.release();
  }
}

const places = (report: AuditReport): [Finding['code'], number | null, number | null][] =>
  report.findings.map(({ code, seq, seqTo }) => [code, seq, seqTo]);

test('an untouched ledger is clean, with its tails counted', async () => {
  const report = await verify();
  expect(report).toMatchObject({
    ok: true,
    exitCode: 0,
    findings: [],
    unsequenced: 2,
    epochs: [{ epoch: 1, entries: 36, heads: 3, anchors: 3, firstBadSeq: null, unsigned: 4, unanchored: 4 }],
  });
  expect(auditTable(report)).toContain('✓ The ledger is the one that was written.');
});

test('without anchors the report warns, and a missing certificate is critical', async () => {
  expect(await verify(null)).toMatchObject({ ok: true, exitCode: 8, epochs: [{ anchors: null, unanchored: null }] });
  const source = databaseSource({ databaseUrl: kit.db.url, auditCertificates: [] });
  expect(await verifyLedger(source)).toMatchObject({ ok: false, exitCode: 9 });
  await source.close();
});

describe('one row', () => {
  test.each([
    ['body', `UPDATE ledger SET body = '{"n":999}' WHERE seq = 14`],
    ['kind', `UPDATE ledger SET kind = 'test.denied' WHERE seq = 14`],
    ['subject', `UPDATE ledger SET subject = 'unit:T-0' WHERE seq = 14`],
    ['time, by a microsecond', `UPDATE ledger SET at = at + interval '1 microsecond' WHERE seq = 14`],
    ['hash', `UPDATE ledger SET hash = sha256(hash) WHERE seq = 14`],
  ])('edited (%s) is named', async (_what, statement) => {
    await asOwner(statement);
    const report = await verify();
    expect(report).toMatchObject({ ok: false, exitCode: 9, epochs: [{ firstBadSeq: 14 }] });
    expect(places(report)[0]).toEqual(['ENTRY_CHANGED', 14, 14]);
    expect(auditTable(report)).toContain('Entry 14');
  });

  test('edited together with its own hash is named by its successor and by the next head', async () => {
    const [entry] = await readEntries(kit.transactor.read, { epoch: 1, seq: 13 }, 1);
    if (!entry) throw new Error('no entry');
    const hash = entryHash({ ...entry, body: '{"n":7}' });
    await asOwner(`UPDATE ledger SET body = '{"n":7}', hash = '\\x${hash.toString('hex')}' WHERE seq = 14`);
    const report = await verify();
    expect(report.epochs[0]?.firstBadSeq).toBe(14);
    expect(places(report)).toEqual([
      ['ENTRY_REWRITTEN', 14, 14],
      ['HEAD_CONTRADICTS', 11, 21],
      ['ANCHOR_CONTRADICTS', 11, 21],
    ]);
  });

  test('deleted is named, and the heads beyond still prove the rest', async () => {
    await asOwner('DELETE FROM ledger WHERE seq = 14');
    const report = await verify();
    expect(places(report)).toEqual([['ENTRY_MISSING', 14, 14]]);
  });

  test('several deleted in a row are named as a range', async () => {
    await asOwner('DELETE FROM ledger WHERE seq BETWEEN 12 AND 14');
    expect(places(await verify())).toEqual([['ENTRY_MISSING', 12, 14]]);
  });

  test('two swapped are both named', async () => {
    await asOwner(
      'UPDATE ledger SET seq = -1 WHERE seq = 12',
      'UPDATE ledger SET seq = 12 WHERE seq = 17',
      'UPDATE ledger SET seq = 17 WHERE seq = -1',
    );
    const report = await verify();
    expect(report.epochs[0]?.firstBadSeq).toBe(12);
    expect(places(report).slice(0, 2)).toEqual([
      ['ENTRY_CHANGED', 12, 12],
      ['ENTRY_CHANGED', 17, 17],
    ]);
  });

  test('inserted at the end, with a right hash and link, is named', async () => {
    const [last] = await readEntries(kit.transactor.read, { epoch: 1, seq: 35 }, 1);
    if (!last) throw new Error('no entry');
    const {
      entries: [forged],
    } = extendChain({ ...emptyChain(1), lastHash: last.hash }, [
      { kind: 'case.closed', subject: 'unit:T-1', atMicros: 1_764_000_000_000_000, body: '{}' },
    ]);
    const hash = entryHash({ ...(forged ?? last), seq: 37 });
    await kit.db.pool.query(
      `INSERT INTO ledger (epoch, seq, kind, subject, at, body, prev_hash, hash)
       VALUES (1, 37, 'case.closed', 'unit:T-1', to_timestamp(1764000000), '{}', $1, $2)`,
      [last.hash, hash],
    );
    expect(places(await verify())).toEqual([['ENTRY_BEYOND_END', 37, 37]]);
  });

  test('the last one removed is named', async () => {
    await asOwner('DELETE FROM ledger WHERE seq = 36');
    expect(places(await verify())).toEqual([['LEDGER_CUT', 36, 36]]);
  });
});

describe('the whole past', () => {
  /** Rewrites every entry from `seq` on, all hashes and the frontier, as an insider with the source code would. */
  async function rewriteFrom(seq: number): Promise<void> {
    const entries = await readEntries(kit.transactor.read, { epoch: 1, seq: 0 }, 1_000);
    const altered = entries.map((entry) => (entry.seq === seq ? { ...entry, body: '{"n":0}' } : entry));
    const { entries: chained } = extendChain(emptyChain(1), altered);
    await asOwner(
      'DELETE FROM ledger',
      ...chained.map(
        ({ seq, kind, subject, atMicros, body, prevHash, hash }) =>
          `INSERT INTO ledger VALUES (1, ${seq}, '${kind}', '${subject}', to_timestamp(${atMicros} / 1000000.0), '${body}', '\\x${prevHash.toString('hex')}', '\\x${hash.toString('hex')}')`,
      ),
    );
  }

  test('rewritten consistently is contradicted by the first head after it, which bounds the range', async () => {
    await rewriteFrom(14);
    const report = await verify();
    expect(report.epochs[0]?.firstBadSeq).toBeNull();
    expect(places(report)).toEqual([
      ['HEAD_CONTRADICTS', 11, 21],
      ['ANCHOR_CONTRADICTS', 11, 21],
    ]);
  });

  test('rewritten with the heads removed is contradicted by the anchors', async () => {
    await rewriteFrom(15);
    await asOwner('DELETE FROM ledger_head');
    const found = places(await verify()).map(([code]) => code);
    expect(found).toContain('HEAD_MISSING');
    expect(found).toContain('ANCHOR_CONTRADICTS');
  });

  test('an older database is contradicted by newer anchors: the lost range is named', async () => {
    await asOwner(
      'DELETE FROM ledger WHERE seq > 21',
      'DELETE FROM ledger_head WHERE size > 21',
      'UPDATE ledger_frontier SET size = 21',
    );
    const report = await verify();
    expect(places(report)).toEqual([
      ['HEAD_MISSING', 22, 32],
      ['LEDGER_CUT', 22, 32],
    ]);
  });
});

describe('heads and anchors', () => {
  test.each([
    ['its root', "UPDATE ledger_head SET merkle_root = sha256('x') WHERE size = 21"],
    ['its time', "UPDATE ledger_head SET at = at - interval '1 hour' WHERE size = 21"],
    ['its text', "UPDATE ledger_head SET head_text = replace(head_text, 'c0ffee', 'c0ffe0') WHERE size = 21"],
    [
      'its signature',
      'UPDATE ledger_head SET signature = (SELECT signature FROM ledger_head WHERE size = 10) WHERE size = 21',
    ],
  ])('a head with %s forged is named', async (_what, statement) => {
    await asOwner(statement);
    expect(places(await verify())).toEqual([['HEAD_FORGED', 11, 21]]);
  });

  test('a head that was removed is named by its entry and by its anchor', async () => {
    await asOwner('DELETE FROM ledger_head WHERE size = 21');
    const report = await verify();
    expect(report.counts).toEqual({ HEAD_MISSING: 2 });
  });

  test('a missing anchor is named', async () => {
    rmSync(join(kit.anchorDir, '1-21.json'));
    expect(places(await verify())).toEqual([['ANCHOR_MISSING', 11, 21]]);
  });

  test('an anchor whose issues were altered is named by the entry', async () => {
    const path = join(kit.anchorDir, '1-21.json');
    const anchor = JSON.parse(readFileSync(path, 'utf8'));
    anchor.delta.entries[0].body = '{"n":1}';
    writeFileSync(path, JSON.stringify(anchor));
    expect(places(await verify())).toEqual([
      ['ANCHOR_CONTRADICTS', anchor.delta.entries[0].seq, anchor.delta.entries[0].seq],
    ]);
  });

  test('an anchor signed by another key, cut short or of another size is forged', async () => {
    const path = join(kit.anchorDir, '1-21.json');
    const whole = readFileSync(path, 'utf8');
    writeFileSync(path, whole.slice(0, -20));
    expect(places(await verify())).toEqual([['ANCHOR_FORGED', 11, 21]]);
    writeFileSync(path, readFileSync(join(kit.anchorDir, '1-10.json'), 'utf8'));
    expect(places(await verify())).toEqual([['ANCHOR_FORGED', 11, 21]]);
  });
});

describe('an export', () => {
  test('gives the same verdict on a laptop, without a database', async () => {
    await kit.append({
      kind: 'test.noted',
      subject: 'unit:T',
      at: new Date(0),
      body: { text: 'line\u2028end \n "quoted"' },
    });
    await kit.sequence();
    const dir = join(mkdtempSync(join(tmpdir(), 'fp-export-')), 'x');
    const source = databaseSource({ databaseUrl: kit.db.url, auditCertificates: [kit.signer.certificatePem] });
    expect(await exportLedger(source, dir, kit.anchorDir)).toEqual({ entries: 39, heads: 3, anchors: 3 });
    await expect(exportLedger(source, dir)).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    await source.close();
    expect(await verifyLedger(exportedSource(dir))).toMatchObject({ ok: true, exitCode: 0, epochs: [{ entries: 39 }] });

    const path = join(dir, 'entries-1.ndjson');
    const lines = readFileSync(path, 'utf8').split('\n');
    lines[13] = (lines[13] ?? '').replace('unit:T', 'unit:U');
    writeFileSync(path, lines.join('\n'));
    expect(await verifyLedger(exportedSource(dir))).toMatchObject({ ok: false, epochs: [{ firstBadSeq: 14 }] });
    writeFileSync(path, `${lines.slice(0, 30).join('\n')}\nno json\n`);
    await expect(verifyLedger(exportedSource(dir))).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  });
});
