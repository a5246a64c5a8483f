import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { LedgerEntry } from '../../platform/ledger/ledger.js';
import type { Actor, Unit } from '../model/index.js';
import type { Cell } from './registry.js';
import { type RegistryDeps, requireUnit } from './require-unit.js';

// Lock order everywhere: unit, then line or cell. Two units that swap lines at once either follow each other or one is
// told STATE_CONFLICT; the unique constraints behind the locks hold whatever this code believes (REG-3).

interface Release {
  readonly unitId: number;
  readonly actor: Actor;
  readonly at: Date;
}

export async function bindLine(
  deps: RegistryDeps,
  tx: Transaction,
  binding: Release & { readonly lineId: number },
): Promise<Unit> {
  const { units, places } = deps;
  const unit = await bindableUnit(deps, tx, binding.unitId);
  if (unit.lineId === binding.lineId) return unit;
  if (unit.lineId !== null) throw boundElsewhere('The unit is on another line');
  const line = await places.line(tx, { id: binding.lineId }, 'update');
  if (line === null) throw new FemtoError('NOT_FOUND', 'There is no such line; add it first.');
  if ((await units.find(tx, { lineId: line.id })) !== null) throw boundElsewhere('The line carries another unit');
  await units.writeLine(tx, unit.id, line.id);
  await record(deps, tx, unit, { ...binding, what: 'line', value: line.name, action: 'bound' });
  return { ...unit, lineId: line.id };
}

export async function releaseLine(deps: RegistryDeps, tx: Transaction, release: Release): Promise<Unit> {
  const { units, places } = deps;
  const unit = await requireUnit(units, tx, release.unitId, 'update');
  if (unit.lineId === null) return unit;
  const line = await places.line(tx, { id: unit.lineId });
  await units.writeLine(tx, unit.id, null);
  await record(deps, tx, unit, { ...release, what: 'line', value: line?.name ?? '', action: 'released' });
  return { ...unit, lineId: null };
}

export async function bindCell(
  deps: RegistryDeps,
  tx: Transaction,
  binding: Release & { readonly cellId: string },
): Promise<Cell> {
  const { places } = deps;
  const unit = await bindableUnit(deps, tx, binding.unitId);
  const held = await places.cell(tx, { unitId: unit.id });
  if (held?.id === binding.cellId) return held;
  if (held !== null) throw boundElsewhere('The unit has another cell identity');
  const cell = await places.cell(tx, { id: binding.cellId }, 'update');
  if (cell === null) throw new FemtoError('NOT_FOUND', 'There is no such cell identity; add it first.');
  if (cell.unitId !== null) throw boundElsewhere('The cell identity is on another unit');
  await places.writeCellUnit(tx, cell.id, unit.id);
  await record(deps, tx, unit, { ...binding, what: 'cell', value: cell.id, action: 'bound' });
  return { ...cell, unitId: unit.id };
}

export async function releaseCell(deps: RegistryDeps, tx: Transaction, release: Release): Promise<void> {
  const { units, places } = deps;
  const unit = await requireUnit(units, tx, release.unitId, 'update');
  const cell = await places.cell(tx, { unitId: unit.id }, 'update');
  if (cell === null) return;
  await places.writeCellUnit(tx, cell.id, null);
  await record(deps, tx, unit, { ...release, what: 'cell', value: cell.id, action: 'released' });
}

async function bindableUnit({ units }: RegistryDeps, tx: Transaction, unitId: number): Promise<Unit> {
  const unit = await requireUnit(units, tx, unitId, 'update');
  if (unit.state !== 'RETIRED') return unit;
  throw new FemtoError('STATE_CONFLICT', 'The unit is RETIRED and gets no line or cell; bind another unit.', {
    facts: { state: unit.state },
  });
}

async function record(
  { places, ledger }: RegistryDeps,
  tx: Transaction,
  unit: Unit,
  { what, value, action, actor, at }: Release & { what: 'line' | 'cell'; value: string; action: 'bound' | 'released' },
): Promise<void> {
  await places.appendBinding(tx, { unitId: unit.id, what, value, action, actor, at });
  const entry: LedgerEntry = {
    kind: `${what}.${action}`,
    subject: `unit:${unit.serialNumber}`,
    at,
    body: { unitId: unit.id, [what]: value, actor },
  };
  await ledger.append(tx, [entry]);
}

function boundElsewhere(fault: string): FemtoError {
  return new FemtoError('STATE_CONFLICT', `${fault}; release that binding first.`, { facts: { fault } });
}
