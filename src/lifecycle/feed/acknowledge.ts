import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { LedgerPosition } from '../../platform/ledger/cursors.js';
import { type AckStage, comparePositions, positionText } from './feed.js';
import type { FeedStore, GatewayCursor } from './feed-store.js';

export interface Acknowledgement {
  /** The machine row whose certificate's key made the call: nobody speaks for another gateway. */
  readonly gatewayId: number;
  readonly stage: AckStage;
  readonly position: LedgerPosition;
}

/**
 * Takes an acknowledgement down. Its own table and not the ledger: an entry for each would move the very position that
 * is acknowledged. The same one again changes nothing but the time at which the gateway was last heard.
 *
 * @returns where the gateway stands now
 * @throws FemtoError BAD_REQUEST for a position that does not exist; STATE_CONFLICT for one behind what was said before,
 *   and for `enforced` beyond `received`
 */
export async function acknowledge(
  store: FeedStore,
  tx: Transaction,
  { gatewayId, stage, position }: Acknowledgement,
  { end, at }: { end: LedgerPosition; at: Date },
): Promise<GatewayCursor> {
  if (position.epoch !== end.epoch || position.seq > end.seq) {
    throw new FemtoError('BAD_REQUEST', 'There is no such position; acknowledge the `to` of a page that you read.', {
      facts: { position: positionText(position), end: positionText(end) },
    });
  }
  const before = await store.lockCursor(tx, gatewayId);
  const facts = { received: positionText(before.received), enforced: positionText(before.enforced) };
  if (comparePositions(position, before[stage]) < 0) {
    throw new FemtoError('STATE_CONFLICT', 'You acknowledged more than that already; go on from there.', { facts });
  }
  if (stage === 'enforced' && comparePositions(position, before.received) > 0) {
    throw new FemtoError('STATE_CONFLICT', 'Acknowledge `received` for that position first.', { facts });
  }
  const from = before[stage].epoch === position.epoch ? before[stage] : { epoch: position.epoch, seq: 0 };
  await store.writeCursor(tx, gatewayId, stage, position, at);
  await store.addReceipt(tx, { gatewayId, stage, from, to: position, at });
  return stage === 'received'
    ? { ...before, received: position, receivedAt: at }
    : { ...before, enforced: position, enforcedAt: at };
}
