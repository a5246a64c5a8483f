import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import { canonicalAddress } from '../../platform/net/ip-address.js';
import { checkUnitTransition, type Unit } from '../model/index.js';
import { bindCell, bindLine, releaseCell, releaseLine } from './bind-place.js';
import { changeStates } from './change-states.js';
import { plainModel } from './model.js';
import type { Registry, StateChange } from './registry.js';
import { type RegistryDeps, requireUnit } from './require-unit.js';

/** A unit that calls every second must not write its row every second. */
const CONTACT_STEP_MS = 60_000;
const REASON_CHARACTERS_MAX = 500;

export function makeRegistry(deps: RegistryDeps): Registry {
  const { units, places, models } = deps;
  return {
    unitBySerialNumber: (tx, serialNumber) => units.find(tx, { serialNumber }),
    unitById: (tx, id, options) => units.find(tx, { id }, options?.lock),
    unitByFqdn: (tx, fqdn) => units.find(tx, { fqdn }),
    unitByVendorKey: (tx, vendorSpkiHash) => units.find(tx, { vendorSpkiHash }),
    changeState: (tx, change) => changeState(deps, tx, change),
    changeStates: (tx, change) => changeStates(deps, tx, change),
    raiseRevocationEpoch: (tx, unitIds) => units.raiseRevocationEpoch(tx, unitIds),
    touchContact: (tx, unitId, at, renewal) =>
      units.touchContact(tx, { unitId, at, stepMs: CONTACT_STEP_MS, renewal: renewal ?? null }),
    history: (tx, unitId) => units.history(tx, unitId),

    lineAt: async (tx, address, at) => {
      const canonical = canonicalAddress(address);
      return canonical === null ? null : places.lineAt(tx, canonical, at);
    },
    lineByName: (tx, name) => places.line(tx, { name }),
    lineById: (tx, id) => places.line(tx, { id }),
    unitOnLine: (tx, lineId) => units.find(tx, { lineId }),
    bindLine: (tx, binding) => bindLine(deps, tx, binding),
    releaseLine: (tx, release) => releaseLine(deps, tx, release),
    bindCell: (tx, binding) => bindCell(deps, tx, binding),
    releaseCell: (tx, release) => releaseCell(deps, tx, release),
    cellOf: (tx, unitId) => places.cell(tx, { unitId }),
    freeCell: (tx) => places.freeCell(tx),

    profile: (tx, name) => units.profile(tx, name),
    setProfile: (tx, change) => setProfile(deps, tx, change),
    modelOf: async (tx, { makerId, model }) =>
      (await models.model(tx, { makerId, model })) ?? plainModel({ makerId, model }),
    modelByLabel: (tx, label) => models.modelByLabel(tx, label),
  };
}

async function changeState({ units, ledger }: RegistryDeps, tx: Transaction, change: StateChange): Promise<Unit> {
  const { unitId, to, actor, at } = change;
  const unit = await requireUnit(units, tx, unitId, 'update');
  if (change.from !== undefined && change.from !== unit.state) {
    throw new FemtoError('STATE_CONFLICT', `The unit is ${unit.state} by now; look at it again and decide anew.`, {
      facts: { state: unit.state, expected: change.from },
    });
  }
  try {
    checkUnitTransition(unit.state, to);
  } catch (cause) {
    // Same words, plus the name under which every conflict shows the current state (REG-2).
    if (!(cause instanceof FemtoError)) throw cause;
    throw new FemtoError(cause.code, cause.message, { facts: { ...cause.facts, state: unit.state }, cause });
  }
  const reason = change.reason.slice(0, REASON_CHARACTERS_MAX);
  const evidence = change.evidence ?? null;
  await units.writeState(tx, { unitId, to, reason, at });
  await units.appendHistory(tx, [{ unitId, from: unit.state, to, actor, reason, evidence, at }]);
  await ledger.append(tx, [
    {
      kind: 'unit.state-changed',
      subject: `unit:${unit.serialNumber}`,
      at,
      body: { unitId, from: unit.state, to, actor, reason, evidence },
    },
  ]);
  return { ...unit, state: to };
}

async function setProfile(
  { units, ledger }: RegistryDeps,
  tx: Transaction,
  { unitId, profile, actor, at }: Parameters<Registry['setProfile']>[1],
): Promise<Unit> {
  const unit = await requireUnit(units, tx, unitId, 'update');
  if ((await units.profile(tx, profile)) === null) {
    throw new FemtoError('NOT_FOUND', 'There is no such profile; list the profiles first.');
  }
  if (unit.profile === profile) return unit;
  await units.writeProfile(tx, unitId, profile);
  await ledger.append(tx, [
    {
      kind: 'unit.profile-changed',
      subject: `unit:${unit.serialNumber}`,
      at,
      body: { unitId, from: unit.profile, to: profile, actor },
    },
  ]);
  return { ...unit, profile };
}
