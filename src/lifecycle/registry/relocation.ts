import type { Clock } from '../../platform/clock.js';
import type { Transaction, Transactor } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import { type Actor, mayServe, type Unit } from '../model/index.js';
import type { Registry } from './registry.js';
import type { RelocationOrder, RelocationStore } from './relocation-store.js';

export interface RelocationDeps {
  readonly transactor: Transactor;
  readonly orders: RelocationStore;
  readonly registry: Registry;
  readonly ledger: Ledger;
  readonly clock: Clock;
}

/** A unit moves house (NET-2). */
export interface Relocations {
  /**
   * Lets a unit move to one new line within `lifeSeconds`. Ledger `relocation.ordered`.
   *
   * @throws FemtoError NOT_FOUND; STATE_CONFLICT for a unit that may not serve (LOST, held, quarantined, retired), a line
   *   that carries a unit or is its own, or where the unit or the line has an open order
   */
  order(request: {
    serialNumber: string;
    line: string;
    lifeSeconds: number;
    reason: string;
    actor: Actor;
  }): Promise<RelocationOrder>;
  /** @throws FemtoError NOT_FOUND; STATE_CONFLICT when there is no open order */
  withdraw(request: { serialNumber: string; actor: Actor }): Promise<RelocationOrder>;
  list(page: { serialNumber?: string; limit: number }): Promise<RelocationOrder[]>;
  /**
   * The unit was seen on the line with its key proved: spends its order and binds the line in the place of the old one, in
   * the caller's transaction. Ledger `relocation.spent`, `line.released`, `line.bound`. False where no order allows it.
   *
   * @param unit  locked by the caller
   */
  spend(tx: Transaction, move: { unit: Unit; lineId: number; actor: Actor; at: Date }): Promise<boolean>;
}

export function makeRelocations(deps: RelocationDeps): Relocations {
  const { transactor, orders, registry, ledger, clock } = deps;
  return {
    order: (request) => transactor.run((tx) => order(deps, tx, request)),
    withdraw: ({ serialNumber, actor }) =>
      transactor.run(async (tx) => {
        const unit = await unitOf(deps, tx, serialNumber);
        const open = await orders.openOf(tx, unit.id);
        const at = clock.now();
        if (open === null || !(await orders.close(tx, { id: open.id, state: 'withdrawn', at }))) {
          throw new FemtoError('STATE_CONFLICT', 'The unit has no open relocation order; list them first.');
        }
        await ledger.append(tx, [entry('relocation.withdrawn', open, at, { actor })]);
        return { ...open, state: 'withdrawn', closedAt: at };
      }),
    list: async ({ serialNumber, limit }) => {
      const tx = transactor.read;
      return serialNumber === undefined
        ? orders.list(tx, { limit })
        : orders.list(tx, { limit, unitId: (await unitOf(deps, tx, serialNumber)).id });
    },
    spend: async (tx, { unit, lineId, actor, at }) => {
      // A lost unit's order is worth nothing, however it was got.
      if (!mayServe(unit.state)) return false;
      const open = await orders.open(tx, { unitId: unit.id, lineId, at });
      if (open === null || (await registry.unitOnLine(tx, lineId)) !== null) return false;
      if (!(await orders.close(tx, { id: open.id, state: 'spent', at }))) return false;
      await registry.releaseLine(tx, { unitId: unit.id, actor, at });
      await registry.bindLine(tx, { unitId: unit.id, lineId, actor, at });
      await ledger.append(tx, [entry('relocation.spent', open, at, { actor })]);
      return true;
    },
  };
}

async function order(
  deps: RelocationDeps,
  tx: Transaction,
  request: Parameters<Relocations['order']>[0],
): Promise<RelocationOrder> {
  const { orders, registry, ledger, clock } = deps;
  const { id: unitId } = await unitOf(deps, tx, request.serialNumber);
  const unit = await registry.unitById(tx, unitId, { lock: 'update' });
  if (unit === null || !mayServe(unit.state)) {
    throw new FemtoError('STATE_CONFLICT', `The unit is ${unit?.state}; only a unit that may serve is moved.`, {
      facts: { state: unit?.state ?? null },
    });
  }
  const line = await registry.lineByName(tx, request.line);
  if (line === null) throw new FemtoError('NOT_FOUND', `No line ${request.line}; add it with femtopki line add.`);
  if (line.id === unit.lineId) throw new FemtoError('STATE_CONFLICT', 'The unit is on this line already.');
  if ((await registry.unitOnLine(tx, line.id)) !== null) {
    throw new FemtoError('STATE_CONFLICT', 'The line carries another unit; release that binding first.');
  }
  const createdAt = clock.now();
  const expiresAt = new Date(createdAt.getTime() + request.lifeSeconds * 1_000);
  await orders.expire(tx, { unitId, lineId: line.id, at: createdAt });
  const { reason, actor: createdBy } = request;
  const id = await orders.add(tx, { unitId, lineId: line.id, reason, createdBy, createdAt, expiresAt });
  if (id === null) {
    throw new FemtoError(
      'STATE_CONFLICT',
      'The unit or the line has an open relocation order; withdraw that one first.',
    );
  }
  const made: RelocationOrder = {
    id,
    unitId,
    serialNumber: unit.serialNumber,
    lineId: line.id,
    lineName: line.name,
    state: 'open',
    reason,
    createdBy,
    createdAt,
    expiresAt,
    closedAt: null,
  };
  await ledger.append(tx, [
    entry('relocation.ordered', made, createdAt, { reason, actor: createdBy, expiresAt: expiresAt.toISOString() }),
  ]);
  return made;
}

async function unitOf({ registry }: RelocationDeps, tx: Transaction, serialNumber: string): Promise<Unit> {
  const unit = await registry.unitBySerialNumber(tx, serialNumber);
  if (unit !== null) return unit;
  throw new FemtoError('NOT_FOUND', `No unit ${serialNumber}; list them with femtopki unit list.`);
}

function entry(kind: string, order: RelocationOrder, at: Date, more: Record<string, unknown>) {
  return {
    kind,
    subject: `unit:${order.serialNumber}`,
    at,
    body: { orderId: order.id, line: order.lineName, ...more },
  };
}
