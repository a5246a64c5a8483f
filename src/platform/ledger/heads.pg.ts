import { verify, X509Certificate } from 'node:crypto';
import type { Clock } from '../clock.js';
import type { Lease, Leases } from '../db/lease.js';
import type { Transaction, Transactor } from '../db/transaction.js';
import { FemtoError } from '../errors.js';
import { failpoint } from '../failpoint.js';
import { auditHeadName, auditHeadText, consistencyEvidence, parseAuditHead } from '../hsm/audit-head.js';
import type { Signer } from '../signer.js';
import { genesisHash, packFrontier, unpackFrontier } from './entry-hash.js';
import { growTree } from './head-proof.js';
import { type AuditHeads, HEAD_ENTRIES_MAX, type SignedHead } from './heads.js';
import type { Ledger } from './ledger.js';
import { MerkleFrontier } from './merkle.js';
import { currentEpoch } from './sequencer.pg.js';

export interface HeadDeps {
  readonly transactor: Transactor;
  readonly leases: Leases;
  readonly signer: Signer;
  readonly ledger: Ledger;
  readonly clock: Clock;
  /** Id in every head; hex, as in the signer's own file. */
  readonly installation: string;
  readonly auditKeyLabel: string;
  /** The audit certificate, DER or PEM: what the signer returns is checked before anybody sees it. */
  readonly auditCertificate: Buffer | string;
}

export function makeAuditHeads(deps: HeadDeps): AuditHeads {
  const publicKey = new X509Certificate(deps.auditCertificate).publicKey;
  return {
    signHead: async (lease) => {
      // 1. what to sign is written down first: see prisma/migrations/0004
      const intent = await deps.transactor.run((tx) => prepare(deps, tx, lease));
      if (!intent) return null;
      // 2. sign
      const signature = await askSigner(deps.signer, deps.auditKeyLabel, intent);
      if (!verify('sha256', Buffer.from(intent.headText, 'latin1'), publicKey, signature)) {
        throw new FemtoError('INTERNAL', 'The token returned a wrong signature for an audit head; take it out of use.');
      }
      await failpoint('head-signed');
      // 3. record
      return deps.transactor.run((tx) => record(deps, tx, { lease, intent, signature }));
    },
  };
}

interface HeadIntent {
  readonly epoch: number;
  readonly size: number;
  readonly frontier: Buffer;
  readonly headText: string;
  readonly evidence: Buffer;
}

async function prepare(deps: HeadDeps, tx: Transaction, lease: Lease): Promise<HeadIntent | null> {
  await deps.leases.check(tx, lease);
  const epoch = await currentEpoch(tx);
  const { rows } = await tx.query<HeadIntent & { recorded: boolean }>(
    `SELECT i.epoch, i.size, i.frontier, i.head_text AS "headText", i.evidence,
            EXISTS (SELECT 1 FROM ledger_head h WHERE h.epoch = i.epoch AND h.size = i.size) AS recorded
     FROM ledger_head_intent i WHERE i.epoch = $1 FOR UPDATE`,
    [epoch],
  );
  const last = rows[0];
  // Asked before and perhaps signed: exactly the same text again, until it is recorded.
  if (last && !last.recorded) return last;
  const next = await buildIntent(deps, tx, { epoch, last });
  if (!next) return null;
  await tx.query(
    `INSERT INTO ledger_head_intent (epoch, size, frontier, head_text, evidence) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (epoch) DO UPDATE SET size = $2, frontier = $3, head_text = $4, evidence = $5`,
    [next.epoch, next.size, next.frontier, next.headText, next.evidence],
  );
  return next;
}

async function buildIntent(
  deps: HeadDeps,
  tx: Transaction,
  from: { epoch: number; last: HeadIntent | undefined },
): Promise<HeadIntent | null> {
  const { epoch, last } = from;
  const oldSize = last?.size ?? 0;
  const { rows: frontiers } = await tx.query<{ size: number; frontier: Buffer }>(
    'SELECT size, frontier FROM ledger_frontier WHERE epoch = $1',
    [epoch],
  );
  const sequenced = frontiers[0];
  if (!sequenced || sequenced.size === oldSize) return null;
  const newSize = Math.min(sequenced.size, oldSize + HEAD_ENTRIES_MAX);
  const { rows } = await tx.query<{ hash: Buffer }>(
    'SELECT hash FROM ledger WHERE epoch = $1 AND seq > $2 AND seq <= $3 ORDER BY seq',
    [epoch, oldSize, newSize],
  );
  const hashes = rows.map(({ hash }) => hash);
  const { tree, proof } = growTree(oldSize, unpackFrontier(last?.frontier ?? Buffer.alloc(0)), hashes);
  // Grown from the rows, not from the sequencer's frontier: where the two differ, a row was changed or removed since.
  const expected = new MerkleFrontier(sequenced.size, unpackFrontier(sequenced.frontier));
  if (tree.size !== newSize || (newSize === sequenced.size && !tree.root().equals(expected.root()))) {
    throw new FemtoError(
      'INTERNAL',
      `The ledger rows ${oldSize + 1} to ${newSize} of epoch ${epoch} are not those that were numbered. Run femtopki audit verify.`,
      { facts: { epoch, from: oldSize + 1, to: newSize } },
    );
  }
  const chainHash = hashes.at(-1) ?? genesisHash(epoch);
  const headText = auditHeadText({
    installation: deps.installation,
    epoch,
    size: newSize,
    rootHex: tree.root().toString('hex'),
    chainHex: chainHash.toString('hex'),
    at: deps.clock.now(),
  });
  const evidence = consistencyEvidence(oldSize, proof);
  return { epoch, size: newSize, frontier: packFrontier(tree.subtrees), headText, evidence };
}

async function askSigner(signer: Signer, keyLabel: string, intent: HeadIntent): Promise<Buffer> {
  const request = {
    purpose: 'audit-head' as const,
    keyLabel,
    name: auditHeadName(intent),
    tbs: Buffer.from(intent.headText, 'latin1'),
  };
  const [first] = await signer.sign([{ ...request, evidence: intent.evidence }]);
  if (first?.ok) return first.signature;
  if (first?.code !== 'DENIED') throw unavailable(first?.message);
  // It may have signed this very head before its answer was lost: then it stands at this size already.
  const [again] = await signer.sign([{ ...request, evidence: consistencyEvidence(intent.size, []) }]);
  if (again?.ok) return again.signature;
  if (again?.code !== 'DENIED') throw unavailable(again?.message);
  throw new FemtoError(
    'INTERNAL',
    `The signer refuses the audit head of size ${intent.size}: ${first.message} Run femtopki audit verify.`,
    { facts: { epoch: intent.epoch, size: intent.size } },
  );
}

function unavailable(message: string | undefined): FemtoError {
  return new FemtoError('HSM_UNAVAILABLE', `The audit head was not signed: ${message ?? 'no answer'}`);
}

async function record(
  deps: HeadDeps,
  tx: Transaction,
  { lease, intent, signature }: { lease: Lease; intent: HeadIntent; signature: Buffer },
): Promise<SignedHead> {
  await deps.leases.check(tx, lease);
  const { epoch, size, rootHex, chainHex, at } = parseAuditHead(intent.headText);
  const head: SignedHead = {
    epoch,
    size,
    merkleRoot: Buffer.from(rootHex, 'hex'),
    chainHash: Buffer.from(chainHex, 'hex'),
    at,
    headText: intent.headText,
    signature,
  };
  await tx.query(
    `INSERT INTO ledger_head (epoch, size, merkle_root, chain_hash, at, head_text, signature)
     VALUES ($1, $2, $3, $4, $5, $6, $7)`,
    [epoch, size, head.merkleRoot, head.chainHash, at, head.headText, signature],
  );
  const now = deps.clock.now();
  await deps.ledger.append(tx, [
    { kind: 'head.signed', subject: `ledger:${epoch}`, at: now, body: { epoch, size, root: rootHex } },
  ]);
  return head;
}
