import type { Clock } from '../clock.js';
import type { Lease, Leases } from '../db/lease.js';
import type { Transaction, Transactor } from '../db/transaction.js';
import { type Anchor, type AnchorDeltaEntry, type AnchorTarget, anchorFileName } from './anchor.js';
import { ANCHORED_KINDS } from './heads.js';

export interface AnchorDeps {
  readonly transactor: Transactor;
  readonly leases: Leases;
  readonly target: AnchorTarget;
  readonly clock: Clock;
  /** PEM, the audit certificate first, then what certifies it. */
  readonly certificates: readonly string[];
}

export interface AnchorQueue {
  /** Heads written by this call. */
  readonly anchored: number;
  /** Heads that still wait. */
  readonly waiting: number;
  /** What the target said, when it failed: an alarm, not an error, because issuing goes on (fault A2). */
  readonly failure: Error | null;
}

/** Heads of one run; a long outage is made good in a few. */
const HEADS_A_RUN = 200;

/** Sends every head that has not left the host yet, oldest first, each with its own delta. */
export async function anchorPending(deps: AnchorDeps, lease: Lease): Promise<AnchorQueue> {
  let anchored = 0;
  let failure: Error | null = null;
  for (const head of await pendingHeads(deps.transactor.read)) {
    const anchor = await composeAnchor(deps, head);
    try {
      await deps.target.put(anchorFileName(head), `${JSON.stringify(anchor)}\n`);
    } catch (thrown) {
      failure = thrown instanceof Error ? thrown : new Error(String(thrown));
      break;
    }
    // A crash before this line writes the same file again: the same content, because head and delta are fixed.
    await deps.transactor.run(async (tx) => {
      await deps.leases.check(tx, lease);
      await tx.query(`UPDATE ledger_head SET anchored_at = $3 WHERE epoch = $1 AND size = $2`, [
        head.epoch,
        head.size,
        deps.clock.now(),
      ]);
    });
    anchored += 1;
  }
  const { rows } = await deps.transactor.read.query<{ waiting: number }>(
    'SELECT count(*)::int AS waiting FROM ledger_head WHERE anchored_at IS NULL',
  );
  return { anchored, waiting: rows[0]?.waiting ?? 0, failure };
}

interface PendingHead {
  readonly epoch: number;
  readonly size: number;
  readonly head_text: string;
  readonly signature: Buffer;
  readonly after: number;
}

async function pendingHeads(tx: Transaction): Promise<PendingHead[]> {
  const { rows } = await tx.query<PendingHead>(
    `SELECT epoch, size, head_text, signature,
            coalesce((SELECT max(p.size) FROM ledger_head p WHERE p.epoch = h.epoch AND p.size < h.size), 0)::bigint AS after
     FROM ledger_head h WHERE anchored_at IS NULL ORDER BY epoch, size LIMIT $1`,
    [HEADS_A_RUN],
  );
  return rows;
}

async function composeAnchor(deps: AnchorDeps, head: PendingHead): Promise<Anchor> {
  const { rows } = await deps.transactor.read.query<AnchorDeltaEntry>(
    `SELECT seq, kind, subject, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at, body
     FROM ledger WHERE epoch = $1 AND seq > $2 AND seq <= $3 AND kind = ANY($4::text[]) ORDER BY seq`,
    [head.epoch, head.after, head.size, ANCHORED_KINDS],
  );
  return {
    version: 1,
    epoch: head.epoch,
    size: head.size,
    headText: head.head_text,
    signature: head.signature.toString('base64'),
    certificates: [...deps.certificates],
    delta: { after: head.after, entries: rows },
  };
}
