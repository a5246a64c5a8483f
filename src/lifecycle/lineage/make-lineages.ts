import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import { serialHex } from '../../x509/serial.js';
import type { LineageSlot } from '../model/index.js';
import { isStanding, SOFT_INTERVAL_MS } from './heads.js';
import type { ForkReport, Lineage, Lineages, LineageView } from './lineage.js';
import type { LineageStore } from './lineage-store.js';

export interface LineagesDeps {
  readonly store: LineageStore;
  readonly ledger: Ledger;
}

export function makeLineages(deps: LineagesDeps): Lineages {
  const { store, ledger } = deps;
  return {
    slotByKey: async (tx, spkiHash) => {
      const slots = await store.slotsByKey(tx, spkiHash);
      return slots.find(isStanding) ?? slots[0] ?? null;
    },
    viewBySerial: (tx, issuerId, serial) => store.viewBySerial(tx, issuerId, serial),
    view: async (tx, lineageId) => viewOf(store, tx, await store.lineage(tx, lineageId, false)),
    lock: (tx, lineageId) => store.lineage(tx, lineageId, true),
    lockBySerial: (tx, issuerId, serial) => store.lockBySerial(tx, issuerId, serial),
    liveViewOfUnit: async (tx, unitId, options) =>
      viewOf(store, tx, await store.liveLineageOfUnit(tx, unitId, options?.lock === true)),

    confirmSlot: (tx, options) => confirmSlot(deps, tx, options),
    refuseSlot: (tx, options) => refuseSlot(deps, tx, options),
    touchSlot: (tx, change) => store.touch(tx, change),
    lineOfSlot: (tx, slotId) => store.lineOf(tx, slotId),
    setToken: (tx, change) => store.setToken(tx, change),

    quarantineLineage: async (tx, report) => {
      const changed = await store.leave(tx, {
        lineageId: report.lineageId,
        from: ['open'],
        to: 'quarantined',
        at: report.at,
        reason: report.row,
      });
      if (changed) await appendFork(deps, tx, report, 'hard');
      return changed;
    },
    recordFork: (tx, report) => appendFork(deps, tx, report, report.grade),
    closeLineage: async (tx, { lineageId, reason, actor, at }) => {
      const changed = await store.leave(tx, { lineageId, from: ['open', 'quarantined'], to: 'closed', at, reason });
      if (!changed) return false;
      const subject = `unit:${await store.unitSerialNumber(tx, lineageId)}`;
      await ledger.append(tx, [{ kind: 'lineage.closed', subject, at, body: { lineageId, reason, actor } }]);
      return true;
    },
  };
}

async function viewOf(store: LineageStore, tx: Transaction, lineage: Lineage | null): Promise<LineageView | null> {
  return lineage === null ? null : { lineage, slots: await store.slots(tx, lineage.id) };
}

async function confirmSlot(
  { store, ledger }: LineagesDeps,
  tx: Transaction,
  { slotId, by, at, actor, lineId }: Parameters<Lineages['confirmSlot']>[1],
): Promise<boolean> {
  const confirmed = await store.confirm(tx, { slotId, at, by, lineId: lineId ?? null });
  if (confirmed === null) {
    const slot = await store.slotById(tx, slotId);
    if (slot?.state === 'confirmed') return false;
    throw new FemtoError(
      'STATE_CONFLICT',
      'This certificate cannot be confirmed; renew again and confirm the newest.',
      {
        facts: { slotState: slot?.state ?? 'absent' },
      },
    );
  }
  const subject = `unit:${confirmed.unitSerialNumber}`;
  await ledger.append(tx, [
    { kind: 'lineage.confirmed', subject, at, body: { ...slotFacts(confirmed), by, actor: actor ?? null } },
  ]);
  return true;
}

async function refuseSlot(
  { store, ledger }: LineagesDeps,
  tx: Transaction,
  { slotId, at, actor }: Parameters<Lineages['refuseSlot']>[1],
): Promise<boolean> {
  const outcome = await store.refuse(tx, { slotId, at });
  if (outcome === 'too-soon') {
    throw new FemtoError(
      'RATE_LIMITED',
      'A certificate of this unit was given up within the hour; keep this one for now.',
      {
        retryAfterSeconds: SOFT_INTERVAL_MS / 1_000,
      },
    );
  }
  const slot = await store.slotById(tx, slotId);
  if (slot === null || slot.state !== 'displaced') {
    throw new FemtoError('STATE_CONFLICT', 'This certificate cannot be refused any more; revoke it instead.', {
      facts: { slotState: slot?.state ?? 'absent' },
    });
  }
  if (outcome === 'not-pending') return false;
  const subject = `unit:${await store.unitSerialNumber(tx, slot.lineageId)}`;
  const body = { ...slotFacts(slot), lineageId: slot.lineageId, how: 'refused', actor };
  await ledger.append(tx, [{ kind: 'lineage.displaced', subject, at, body }]);
  return true;
}

async function appendFork(
  { store, ledger }: LineagesDeps,
  tx: Transaction,
  report: ForkReport,
  grade: 'soft' | 'strong' | 'hard',
): Promise<void> {
  const [presented, successor] = await Promise.all(
    [report.presentedSlotId, report.successorSlotId].map(async (id) =>
      id === null ? null : await store.slotById(tx, id),
    ),
  );
  const subject = `unit:${await store.unitSerialNumber(tx, report.lineageId)}`;
  await ledger.append(tx, [
    {
      kind: 'lineage.forked',
      subject,
      at: report.at,
      body: {
        grade,
        row: report.row,
        lineageId: report.lineageId,
        presented: presented ? slotFacts(presented) : null,
        successor: successor ? slotFacts(successor) : null,
        actor: report.actor,
        ...report.facts,
      },
    },
  ]);
}

function slotFacts(slot: LineageSlot): Record<string, unknown> {
  return {
    slotId: slot.id,
    generation: slot.generation,
    state: slot.state,
    issuerId: slot.issuerId,
    serial: serialHex(slot.serial),
    spkiSha256: slot.spkiHash.toString('hex'),
  };
}
