import type { Transaction } from '../../platform/db/transaction.js';
import type { UnitState } from '../model/index.js';
import type { FleetDeps } from './fleet-deps.js';
import { type FleetAct, type FleetPreview, listSha256 } from './fleet-order.js';
import type { ChangeCounts } from './fleet-order-store.js';
import { MAY_MOVE, nothingFound } from './restrict.js';
import { restrictedSoFar, UNITS_ALONE_MAX } from './restriction-budget.js';
import { type CertificateSelection, isOfCertificates, type Requester, type Selection } from './revocation.js';
import { distinctUnits } from './write-status.js';

const DAY_MS = 24 * 3_600_000;
/** Units a statement looks at: well inside its time limit at any size of the fleet. */
const COUNTED_AT_ONCE = 10_000;
const GATEWAYS_SHOWN_MAX = 50;

/** Reads only; what it counts may have changed when the order is carried out. */
export async function previewFleet(
  deps: FleetDeps,
  act: FleetAct,
  selection: Selection,
  requester: Requester,
): Promise<FleetPreview> {
  const at = deps.clock.now();
  const tx = deps.transactor.read;
  const shown = isOfCertificates(selection)
    ? await previewCertificates(deps, act, selection, at)
    : await previewUnits(deps, act, await deps.store.unitIds(tx, selection), at);
  const { personId } = requester;
  const usedToday =
    personId === null ? 0 : await deps.transactor.run((own) => restrictedSoFar(deps, own, { personId, at }));
  const isBeyond = personId !== null && usedToday + shown.changing.units > UNITS_ALONE_MAX;
  return { ...shown, usedToday, needsApproval: act === 'release' || (isBeyond && shown.changing.units > 0) };
}

type Shown = Omit<FleetPreview, 'usedToday' | 'needsApproval'>;

async function previewUnits(deps: FleetDeps, act: FleetAct, unitIds: readonly number[], at: Date): Promise<Shown> {
  if (unitIds.length === 0) throw nothingFound();
  const tx = deps.transactor.read;
  const serialNumbers = (await deps.orders.serialNumbersOf(tx, unitIds)).sort();
  const counts = await countUnits(deps, act, unitIds, at);
  return {
    ...counts,
    units: unitIds.length,
    listSha256: listSha256(serialNumbers),
    already: unitIds.length - counts.changing.units,
    gateways: await gatewaysOf(deps, tx, unitIds, at),
  };
}

async function previewCertificates(
  deps: FleetDeps,
  act: FleetAct,
  selection: CertificateSelection,
  at: Date,
): Promise<Shown> {
  const tx = deps.transactor.read;
  const certificates = await deps.store.certificatesBy(tx, selection, at);
  if (certificates.length === 0) throw nothingFound();
  const judged = await deps.orders.changeable(tx, act, certificates);
  const unitIds = distinctUnits(certificates);
  const changing = judged.filter(({ changes }) => changes);
  const units = distinctUnits(changing).length;
  const serialNumbers = [...(await deps.store.serialNumbers(tx, unitIds)).values()].sort();
  const cas = [...new Set(judged.map(({ ca }) => ca))].sort();
  return {
    units: unitIds.length,
    listSha256: listSha256(serialNumbers),
    changing: { units: units === 0 ? changing.length : units, certificates: changing.length },
    already: unitIds.length - units,
    byState: [],
    byCa: cas.map((ca) => ({
      ca,
      certificates: judged.filter((one) => one.ca === ca).length,
      changing: changing.filter((one) => one.ca === ca).length,
    })),
    gateways: await gatewaysOf(deps, tx, unitIds, at),
  };
}

/** What an act would change of a list of units. */
export async function countsOf(
  deps: FleetDeps,
  act: FleetAct,
  serialNumbers: readonly string[],
  at: Date,
): Promise<Pick<FleetPreview, 'changing' | 'byState' | 'byCa'>> {
  const unitIds = await deps.store.unitIds(deps.transactor.read, { by: 'serial-numbers', serialNumbers });
  return countUnits(deps, act, unitIds, at);
}

async function countUnits(
  deps: FleetDeps,
  act: FleetAct,
  unitIds: readonly number[],
  at: Date,
): Promise<Pick<FleetPreview, 'changing' | 'byState' | 'byCa'>> {
  const parts: ChangeCounts[] = [];
  const moving: readonly UnitState[] = act === 'release' ? ['SUSPENDED'] : MAY_MOVE.SUSPENDED;
  for (const ids of inParts(unitIds)) {
    parts.push(await deps.orders.countChanges(deps.transactor.read, act, ids, { at, moving }));
  }
  const states = new Map<string, { units: number; changing: number }>();
  const cas = new Map<string, { certificates: number; changing: number }>();
  for (const { byState, byCa } of parts) {
    for (const { state, units, changing } of byState) {
      const sum = states.get(state) ?? { units: 0, changing: 0 };
      states.set(state, { units: sum.units + units, changing: sum.changing + changing });
    }
    for (const { ca, certificates, changing } of byCa) {
      const sum = cas.get(ca) ?? { certificates: 0, changing: 0 };
      cas.set(ca, { certificates: sum.certificates + certificates, changing: sum.changing + changing });
    }
  }
  const byState = [...states].map(([state, sum]) => ({ state, ...sum }));
  const byCa = [...cas].map(([ca, sum]) => ({ ca, ...sum }));
  const total = (rows: readonly { changing: number }[]): number => rows.reduce((sum, row) => sum + row.changing, 0);
  return { changing: { units: total(byState), certificates: total(byCa) }, byState, byCa };
}

async function gatewaysOf(
  deps: FleetDeps,
  tx: Transaction,
  unitIds: readonly number[],
  at: Date,
): Promise<FleetPreview['gateways']> {
  const sums = new Map<string, number>();
  for (const ids of inParts(unitIds)) {
    for (const { gateway, units } of await deps.orders.gatewaysOf(tx, ids, new Date(at.getTime() - DAY_MS))) {
      sums.set(gateway, (sums.get(gateway) ?? 0) + units);
    }
  }
  return [...sums]
    .map(([gateway, units]) => ({ gateway, units }))
    .sort((a, b) => b.units - a.units || (a.gateway < b.gateway ? -1 : 1))
    .slice(0, GATEWAYS_SHOWN_MAX);
}

function inParts(unitIds: readonly number[]): number[][] {
  const parts: number[][] = [];
  for (let from = 0; from < unitIds.length; from += COUNTED_AT_ONCE) {
    parts.push(unitIds.slice(from, from + COUNTED_AT_ONCE));
  }
  return parts;
}
