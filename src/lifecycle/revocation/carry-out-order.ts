import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { FleetDeps } from './fleet-deps.js';
import { type FleetOrder, type FleetProgress, fleetOrderSubject, type JudgedOrder, listSha256 } from './fleet-order.js';
import { endHold } from './release.js';
import { restrictUnits } from './restrict.js';
import { UNITS_ALONE_MAX } from './restriction-budget.js';
import type { StatusChange } from './revocation.js';

/**
 * Units a transaction takes. Large enough that its statements and its fsync are shared by many, small enough that whoever
 * issues for one of these units, or revokes under the same CA, waits for a fraction of a second, and that the first of a
 * hundred thousand are on the CRL while the last are still to come.
 */
export const UNITS_A_PART = 2_000;
/** A release asks for each unit whether its head still stands. */
const RELEASED_A_PART = 200;

/** One part after another; its place on the list moves in the transaction that did it, so nothing is done twice or left out. */
export async function carryOut(deps: FleetDeps, orderId: number, signal?: AbortSignal): Promise<FleetOrder> {
  const { orders, transactor } = deps;
  const order = await orders.byId(transactor.read, orderId);
  if (order === null) throw new FemtoError('NOT_FOUND', 'No such order; list them with femtopki fleet list.');
  if (order.state !== 'running') return order;
  try {
    const judged = await deps.judge.judge(order);
    const serialNumbers = await orders.listOf(transactor.read, orderId);
    if (listSha256(serialNumbers) !== judged.terms.list.sha256) {
      throw new FemtoError('DENIED', 'The list of this order is not the one that was signed; check the database.');
    }
    // Whoever can write rows could set a finished order back; what the ledger closed stays closed.
    if (await orders.isClosed(transactor.read, fleetOrderSubject(order))) {
      throw new FemtoError('DENIED', 'The ledger says that this order was carried out; make a new one.');
    }
    let isMore = true;
    while (isMore && signal?.aborted !== true) {
      isMore = await transactor.run((tx) => carryOutPart(deps, tx, order, { judged, serialNumbers }));
    }
  } catch (thrown) {
    const sentence = thrown instanceof FemtoError ? `${thrown.code}: ${thrown.message}` : 'INTERNAL: see the log.';
    await orders.writeError(transactor.read, orderId, sentence).catch(() => undefined);
    throw thrown;
  }
  return (await orders.byId(transactor.read, orderId)) ?? order;
}

/** @returns false when nothing is left, or another process is at it */
async function carryOutPart(
  deps: FleetDeps,
  tx: Transaction,
  order: FleetOrder,
  { judged, serialNumbers }: { judged: JudgedOrder; serialNumbers: readonly string[] },
): Promise<boolean> {
  const place = await deps.orders.lockRunning(tx, order.id);
  if (place === null) return false;
  const { terms } = judged;
  const size = terms.act === 'release' ? RELEASED_A_PART : UNITS_A_PART;
  const part = serialNumbers.slice(place.done, place.done + size);
  const done = place.done + part.length;
  const isLast = done >= serialNumbers.length;
  const at = deps.clock.now();
  const selection = terms.selection ?? { by: 'serial-numbers', serialNumbers: part };
  const unitIds = await deps.store.unitIds(tx, selection, part);
  const changed = await actOn(deps, tx, unitIds, judged, at);
  if (judged.approvedBy === null && place.units + changed.units > UNITS_ALONE_MAX) {
    throw new FemtoError('APPROVAL_REQUIRED', 'Nobody else signed this order, and it changes more than one may alone.');
  }
  await deps.orders.advance(tx, order.id, { ...changed, done, passedOver: part.length - unitIds.length, isLast, at });
  if (isLast) {
    const body = { orderId: order.id, requestSha256: order.requestHash, units: place.units + changed.units };
    await deps.ledger.append(tx, [
      { kind: 'fleet-order.finished', subject: fleetOrderSubject(order), at, body: { ...body, actor: judged.actor } },
    ]);
  }
  return !isLast;
}

async function actOn(
  deps: FleetDeps,
  tx: Transaction,
  unitIds: readonly number[],
  { terms, actor, approvedBy }: JudgedOrder,
  at: Date,
): Promise<Pick<FleetProgress, 'units' | 'certificates' | 'blockedKeys'>> {
  const { act, note, reason, evidence } = terms;
  if (act === 'release') return endHolds(deps, tx, unitIds, { actor, note, approvedBy: approvedBy ?? actor });
  const change: StatusChange =
    act === 'hold'
      ? { state: 'held', reason: 'certificateHold', actor, at, note }
      : { state: 'revoked', reason, actor, at, note };
  return restrictUnits(deps, tx, { unitIds, to: 'SUSPENDED', change, evidence });
}

/** Only holds: what is lost or quarantined comes back one by one, each with its inspection. */
async function endHolds(
  deps: FleetDeps,
  tx: Transaction,
  unitIds: readonly number[],
  by: { readonly actor: string; readonly note: string; readonly approvedBy: string },
): Promise<Pick<FleetProgress, 'units' | 'certificates' | 'blockedKeys'>> {
  let units = 0;
  let certificates = 0;
  for (const unit of await deps.store.lockUnits(tx, unitIds)) {
    if (unit.state !== 'SUSPENDED') continue;
    const outcome = await endHold(deps, tx, unit, by);
    units += 1;
    certificates += outcome.certificates;
  }
  return { units, certificates, blockedKeys: 0 };
}
