/** A ledger on a fresh database: append, number, sign, anchor, with a signer in memory. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Lease, Leases } from '../../src/platform/db/lease.js';
import { makeLeases } from '../../src/platform/db/lease.pg.js';
import type { Transactor } from '../../src/platform/db/transaction.js';
import { transactorOf } from '../../src/platform/db/transaction.pg.js';
import { type AnchorQueue, anchorPending } from '../../src/platform/ledger/anchors.pg.js';
import { fileDropAnchor } from '../../src/platform/ledger/file-drop-anchor.js';
import { HEADS_LEASE, type SignedHead } from '../../src/platform/ledger/heads.js';
import { makeAuditHeads } from '../../src/platform/ledger/heads.pg.js';
import type { LedgerEntry } from '../../src/platform/ledger/ledger.js';
import { ledger } from '../../src/platform/ledger/ledger.pg.js';
import { SEQUENCER_LEASE, type SequencedBatch } from '../../src/platform/ledger/sequencer.js';
import { makeSequencer } from '../../src/platform/ledger/sequencer.pg.js';
import { systemClock } from '../../src/platform/system-clock.js';
import { type AuditSigner, makeAuditSigner, TEST_INSTALLATION } from './audit-signer.js';
import { freshDatabase, type TestDatabase } from './database.js';

export interface TestLedger {
  readonly db: TestDatabase;
  readonly transactor: Transactor;
  readonly leases: Leases;
  readonly signer: AuditSigner;
  readonly anchorDir: string;
  append(...entries: LedgerEntry[]): Promise<void>;
  /** Numbers until the inbox is empty. */
  sequence(): Promise<SequencedBatch>;
  sign(): Promise<SignedHead | null>;
  anchor(dir?: string): Promise<AnchorQueue>;
}

export async function startLedger(): Promise<TestLedger> {
  const db = await freshDatabase();
  const transactor = transactorOf(db.pool);
  const leases = makeLeases(transactor);
  const signer = await makeAuditSigner();
  const anchorDir = mkdtempSync(join(tmpdir(), 'fp-anchors-'));
  const sequencer = makeSequencer({ transactor, leases });
  const heads = makeAuditHeads({
    transactor,
    leases,
    signer,
    ledger,
    clock: systemClock,
    installation: TEST_INSTALLATION,
    auditKeyLabel: 'audit',
    auditCertificate: signer.certificatePem,
  });
  const held = async (name: string): Promise<Lease> => {
    const lease = await leases.acquire(name, 'test', 60_000);
    if (!lease) throw new Error(`${name} is held by another`);
    return lease;
  };
  return {
    db,
    transactor,
    leases,
    signer,
    anchorDir,
    append: (...entries) => transactor.run((tx) => ledger.append(tx, entries)),
    sequence: async () => {
      const lease = await held(SEQUENCER_LEASE);
      let taken = 0;
      for (;;) {
        const batch = await sequencer.sequenceOnce(lease);
        taken += batch.taken;
        if (batch.taken === 0) return { ...batch, taken };
      }
    },
    sign: async () => heads.signHead(await held(HEADS_LEASE)),
    anchor: async (dir = anchorDir) =>
      anchorPending(
        { transactor, leases, target: fileDropAnchor(dir), clock: systemClock, certificates: [signer.certificatePem] },
        await held(HEADS_LEASE),
      ),
  };
}

export function fact(n: number, kind = 'test.noted'): LedgerEntry {
  return { kind, subject: `unit:T-${n}`, at: new Date(1_764_000_000_000 + n), body: { n } };
}
