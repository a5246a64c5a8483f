import type { Clock } from '../../platform/clock.js';
import { isOurSerialShape, serialIssuedAfter } from '../../x509/serial.js';
import type { StatusReader } from './certificate-status.js';
import type { StatusSnapshot } from './status-changes.js';
import { keptFrom, type StatusIndex } from './status-index.js';

/** Where an index stands. Written by whoever follows the ledger into it. */
export interface IndexStanding {
  readonly index: StatusIndex;
  /** The snapshot that the index holds exactly; undefined while it is loaded, or when it lost its place. */
  readonly snapshot: StatusSnapshot | undefined;
  /** When that snapshot was taken, by our clock: before the query was sent. */
  readonly takenAt: Date;
  /** Serials drawn in an hour from here on may be issued any moment: the database is asked about those it has not. */
  readonly unsettledFrom: Date;
  /** True for a certificate whose row changed after the snapshot, as far as somebody told us. */
  isDoubted(issuerId: number, serial: Buffer): boolean;
}

/**
 * The {@link StatusReader} that answers from memory where memory must know, and asks `fallback` everywhere else: before the
 * index is loaded, when it is behind, about what was told to have changed since, and about serials that are too young, too
 * old or of a shape that the index cannot rule out. What it says is what `fallback` would have said at the index's snapshot.
 *
 * @param primary  where `fallback` reads a replica: who is asked about what was told to have changed, because a replica may
 *                 still show what was before
 */
export function makeIndexedStatusReader(
  standing: IndexStanding,
  fallback: StatusReader,
  clock: Clock,
  primary: StatusReader = fallback,
): StatusReader {
  return {
    read: async (certificate) => {
      const { issuerId, serial } = certificate;
      const { snapshot } = standing;
      const now = clock.now();
      if (standing.isDoubted(issuerId, serial)) return primary.read(certificate);
      if (snapshot === undefined || !isRecent(standing.takenAt, now)) return fallback.read(certificate);
      const { isIssued, row } = standing.index.look(issuerId, serial);
      if (!isIssued && row === null && !mustKnow(standing, serial, now)) return fallback.read(certificate);
      const { heartbeatAt, isPrimary } = snapshot;
      return { heartbeatAt, isPrimary, row, isIssued, intent: isIssued ? 'issued' : null };
    },
  };
}

/** An index that stood still for longer than this is asked nothing. */
const INDEX_AGE_MS_MAX = 5_000;

function isRecent(takenAt: Date, now: Date): boolean {
  return Math.abs(now.getTime() - takenAt.getTime()) <= INDEX_AGE_MS_MAX;
}

/**
 * An absent serial of our shape was never issued if its hour lies between what is forgotten and what is still on its way:
 * nothing that was drawn after `keptFrom` has expired before it.
 */
function mustKnow({ unsettledFrom }: IndexStanding, serial: Buffer, now: Date): boolean {
  if (!isOurSerialShape(serial)) return false;
  const drawnMs = serialIssuedAfter(serial).getTime();
  return drawnMs > keptFrom(now).getTime() + DAY_MS && drawnMs + HOUR_MS < unsettledFrom.getTime();
}

const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;
