import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import { carryOut } from './carry-out-order.js';
import type { FleetDeps } from './fleet-deps.js';
import {
  FLEET_UNITS_MAX,
  type FleetOrder,
  type FleetOrders,
  fleetOrderSubject,
  listSha256,
  type NewFleetOrder,
} from './fleet-order.js';
import { countsOf, previewFleet } from './preview-fleet.js';
import { nothingFound } from './restrict.js';
import { checkRestrictionBudget, requireSecondPerson } from './restriction-budget.js';
import type { UnitSelection } from './revocation.js';

export function makeFleetOrders(deps: FleetDeps): FleetOrders {
  const { orders, transactor } = deps;
  return {
    preview: (act, selection, requester) => previewFleet(deps, act, selection, requester),
    list: (selection) => listOf(deps, transactor.read, selection),
    place: (order) => place(deps, order),
    start: (orderId) => start(deps, orderId),
    carryOut: (orderId, signal) => carryOut(deps, orderId, signal),
    running: () => orders.running(transactor.read),
    byId: (orderId) => orders.byId(transactor.read, orderId),
    recent: () => orders.recent(transactor.read),
    listOf: (orderId) => orders.listOf(transactor.read, orderId),
  };
}

async function place(deps: FleetDeps, order: NewFleetOrder): Promise<FleetOrder> {
  const earlier = await deps.orders.byHash(deps.transactor.read, order.requestHash);
  if (earlier !== null) return earlier;
  const at = deps.clock.now();
  const { terms, actor, personId } = await deps.judge.judge(asOrder(order, at));
  const selection = terms.selection ?? { by: 'serial-numbers', serialNumbers: order.listed ?? [] };
  const serialNumbers = await listOf(deps, deps.transactor.read, selection);
  if (listSha256(serialNumbers) !== terms.list.sha256 || serialNumbers.length !== terms.list.count) {
    throw new FemtoError(
      'STATE_CONFLICT',
      `The selection names ${serialNumbers.length} units by now, and other ones than were signed; look at a new preview.`,
      { facts: { units: serialNumbers.length, signed: terms.list.count } },
    );
  }
  if (order.approvalId === null && (terms.act === 'release' || terms.secondPerson)) requireSecondPerson({ actor });
  const units = (await countsOf(deps, terms.act, serialNumbers, at)).changing.units;
  await deps.transactor.run(async (tx) => {
    const state = order.approvalId === null ? 'running' : 'waiting';
    const id = await deps.orders.insert(tx, { ...order, serialNumbers, state, at });
    if (id === null || state === 'waiting') return;
    await checkRestrictionBudget(deps, tx, { actor, personId, units, what: `${terms.act} of a fleet`, at });
    await deps.ledger.append(tx, [startedEntry({ id, order, actor, approvedBy: null, units: terms.list.count, at })]);
  });
  return present(await deps.orders.byHash(deps.transactor.read, order.requestHash));
}

async function start(deps: FleetDeps, orderId: number): Promise<FleetOrder> {
  const order = present(await deps.orders.byId(deps.transactor.read, orderId));
  if (order.state !== 'waiting') return order;
  const at = deps.clock.now();
  const { terms, actor, personId, approvedBy, spend } = await deps.judge.judge(order);
  if (approvedBy === null || spend === undefined) requireSecondPerson({ actor });
  const serialNumbers = await deps.orders.listOf(deps.transactor.read, orderId);
  const units = terms.act === 'release' ? 0 : (await countsOf(deps, terms.act, serialNumbers, at)).changing.units;
  await deps.transactor.run(async (tx) => {
    if (!(await deps.orders.start(tx, orderId, at))) return;
    await spend?.(tx);
    const use = { actor, personId, units, what: `${terms.act} of a fleet`, at };
    await checkRestrictionBudget(deps, tx, approvedBy === null ? use : { ...use, approvedBy });
    await deps.ledger.append(tx, [startedEntry({ id: orderId, order, actor, approvedBy, units: order.count, at })]);
  });
  return present(await deps.orders.byId(deps.transactor.read, orderId));
}

async function listOf(deps: FleetDeps, tx: Transaction, selection: UnitSelection): Promise<string[]> {
  const unitIds = await deps.store.unitIds(tx, selection);
  if (unitIds.length === 0) throw nothingFound();
  if (unitIds.length > FLEET_UNITS_MAX) {
    throw new FemtoError(
      'BAD_REQUEST',
      `The selection names ${unitIds.length} units, and an order takes ${FLEET_UNITS_MAX}; split it, for example by batch.`,
      { facts: { units: unitIds.length, unitsMax: FLEET_UNITS_MAX } },
    );
  }
  // By code units, which is how `sort` under LC_ALL=C sorts them.
  return (await deps.orders.serialNumbersOf(tx, unitIds)).sort();
}

function startedEntry(of: {
  id: number;
  order: Pick<NewFleetOrder, 'requestHash'>;
  actor: string;
  approvedBy: string | null;
  units: number;
  at: Date;
}) {
  const { id, order, actor, approvedBy, units, at } = of;
  const body = { orderId: id, requestSha256: order.requestHash, units, actor, approvedBy };
  return { kind: 'fleet-order.started', subject: fleetOrderSubject(order), at, body };
}

function asOrder(order: NewFleetOrder, createdAt: Date): FleetOrder {
  const progress = { done: 0, units: 0, certificates: 0, blockedKeys: 0, passedOver: 0 };
  const rest = { id: 0, count: 0, progress, lastError: null, createdAt, startedAt: null, finishedAt: null };
  return { ...order, ...rest, state: order.approvalId === null ? 'running' : 'waiting' };
}

function present(order: FleetOrder | null): FleetOrder {
  if (order === null) throw new FemtoError('NOT_FOUND', 'No such order; list them with femtopki fleet list.');
  return order;
}
