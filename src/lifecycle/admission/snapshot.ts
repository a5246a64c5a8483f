import { createHash } from 'node:crypto';
import type { Clock } from '../../platform/clock.js';
import type { Transaction, Transactor } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { LedgerPosition } from './decision.js';

/**
 * Who may come in while nobody can be asked (AUZ-3, rules 5.4): every ACTIVE unit with its line and the serials that count,
 * and the operator's line table. Exact, not a filter: a filter would let some stranger in.
 *
 * Unit, 52 octets, ascending: name (16) │ line (u32, 0 = none) │ head (16) │ head − 1 while the head is pending, else zeros (16).
 * name = SHA-256 of the FQDN, head = SHA-256 of the issuer's key identifier and the serial, each cut to 16 octets.
 *
 * Prefix, 24 octets, longest first: family (4 or 6) │ bits │ authoritative (1 or 0) │ 0 │ address (16, IPv4 in the first four) │
 * line (u32).
 */
export interface Snapshot {
  readonly position: LedgerPosition;
  /** Of the state; nobody may use it after `validUntil`. */
  readonly issuedAt: Date;
  readonly validUntil: Date;
  readonly units: SnapshotBlock;
  readonly prefixes: SnapshotBlock;
}

export interface SnapshotBlock {
  readonly bytes: Buffer;
  readonly recordBytes: number;
  readonly count: number;
  /** Hex. */
  readonly sha256: string;
}

export const UNIT_RECORD_BYTES = 52;
export const PREFIX_RECORD_BYTES = 24;

export interface SnapshotStore {
  /** From here on this transaction reads one state. */
  begin(tx: Transaction): Promise<void>;
  position(tx: Transaction): Promise<LedgerPosition>;
  /** Ready records, ascending, some thousands a piece. */
  units(tx: Transaction, now: Date): AsyncIterable<Buffer>;
  prefixes(tx: Transaction, now: Date): Promise<readonly PrefixRow[]>;
}

export interface PrefixRow {
  readonly family: 4 | 6;
  readonly bits: number;
  /** Network address, 4 or 16 octets. */
  readonly address: Buffer;
  readonly authoritative: boolean;
  readonly lineId: number;
}

export interface Snapshots {
  /** Of at most half a minute ago; many gateways share one. @throws FemtoError SNAPSHOT_STALE when none can be made */
  current(): Promise<Snapshot>;
}

const FRESH_MS = 30_000;
/** How long a gateway goes on by itself. What was revoked meanwhile it hears from the feed, or from a CRL. */
export const SNAPSHOT_LIFE_MS = 3_600_000;

export function makeSnapshots(deps: { db: Transactor; clock: Clock; store: SnapshotStore }): Snapshots {
  let made: Snapshot | undefined;
  let making: Promise<Snapshot> | undefined;
  const isFresh = (snapshot: Snapshot): boolean => {
    const ageMs = deps.clock.now().getTime() - snapshot.issuedAt.getTime();
    return ageMs >= 0 && ageMs < FRESH_MS;
  };
  return {
    current: async () => {
      if (made && isFresh(made)) return made;
      making ??= makeSnapshot(deps).finally(() => {
        making = undefined;
      });
      made = await making;
      return made;
    },
  };
}

async function makeSnapshot(deps: { db: Transactor; clock: Clock; store: SnapshotStore }): Promise<Snapshot> {
  const { db, clock, store } = deps;
  try {
    return await db.run(async (tx) => {
      await store.begin(tx);
      // Before the rows are read, so that the state is never older than it says.
      const issuedAt = clock.now();
      const position = await store.position(tx);
      const chunks: Buffer[] = [];
      for await (const chunk of store.units(tx, issuedAt)) chunks.push(chunk);
      const prefixes = (await store.prefixes(tx, issuedAt)).map(prefixRecord);
      return {
        position,
        issuedAt,
        validUntil: new Date(issuedAt.getTime() + SNAPSHOT_LIFE_MS),
        units: block(chunks, UNIT_RECORD_BYTES),
        prefixes: block(prefixes, PREFIX_RECORD_BYTES),
      };
    });
  } catch (cause) {
    throw new FemtoError('SNAPSHOT_STALE', 'No snapshot can be made now; keep the last one until its end.', { cause });
  }
}

function block(chunks: readonly Buffer[], recordBytes: number): SnapshotBlock {
  const bytes = Buffer.concat(chunks);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { bytes, recordBytes, count: bytes.length / recordBytes, sha256 };
}

function prefixRecord({ family, bits, address, authoritative, lineId }: PrefixRow): Buffer {
  const record = Buffer.alloc(PREFIX_RECORD_BYTES);
  record[0] = family;
  record[1] = bits;
  record[2] = authoritative ? 1 : 0;
  address.copy(record, 4);
  record.writeUInt32BE(lineId, 20);
  return record;
}
