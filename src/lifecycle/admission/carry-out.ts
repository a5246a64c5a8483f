import type { Transaction } from '../../platform/db/transaction.js';
import type { ErrorCode } from '../../platform/errors.js';
import type { LedgerEntry } from '../../platform/ledger/ledger.js';
import { serialHex } from '../../x509/serial.js';
import { type ForkReport, headOf, type LineageView, type UseVerdict } from '../lineage/index.js';
import type { Issuer } from '../model/index.js';
import type { NetworkVerdict } from '../registry/index.js';
import type { AdmissionDeps, Asked } from './admission-deps.js';
import { isOurs } from './checks.js';
import type { Verdict } from './decision.js';
import type { FactsPage, KnownFacts } from './facts.js';

/** One request with its verdict, not written down yet. */
export interface Judged {
  readonly asked: Asked;
  readonly issuer: Issuer | null;
  readonly known: KnownFacts;
  readonly use: UseVerdict | null;
  readonly view: LineageView | null;
  readonly network: NetworkVerdict;
  readonly page: FactsPage;
  readonly verdict: Verdict;
  readonly reasons: readonly ErrorCode[];
  readonly isStranger: boolean;
}

/** More than the answer and its traces would change, or more than the presented slot must be looked at. */
export function needsItsOwnTransaction({ asked, issuer, known, use }: Judged): boolean {
  // It names a CA of ours and is not what the record holds: it must be read whole.
  if (asked.shown.whole === null && (!known.recorded || known.unit === null)) return true;
  if (known.slot?.hasOthers === true) return true;
  if (use?.kind === 'permit' && use.confirmsSlotId !== null) return true;
  if (use?.kind === 'deny' && use.grade !== null) return true;
  if (known.unit?.mayMove === true && asked.request.keyProved) return true;
  return isOurs(issuer) && !known.serialKnown;
}

/**
 * Carries out what a verdict asks for, in the transaction that saw it.
 *
 * @param again  judges anew after something changed
 * @returns the verdict that stands
 */
export async function carryOut(
  deps: AdmissionDeps,
  tx: Transaction,
  first: Judged,
  again: () => Promise<Judged>,
): Promise<Judged> {
  const judged = (await moveLine(deps, tx, first)) ? await again() : first;
  const { asked, use, verdict, known } = judged;
  if (verdict === 'permit') {
    // A claim without proof of the key marks nothing (rules 5.1).
    if (asked.request.keyProved && use?.kind === 'permit' && use.confirmsSlotId !== null) {
      await deps.lineages.confirmSlot(tx, {
        slotId: use.confirmsSlotId,
        by: 'first-permit',
        at: asked.now,
        actor: actorOf(asked),
        lineId: authoritativeLine(known),
      });
    }
  } else if (verdict === 'deny') await followDenial(deps, tx, judged);
  return judged;
}

/** Nothing is written of it but the decision. */
export function isOneRow(judged: Judged): boolean {
  return judged.verdict === 'permit' && !leavesTrace(judged);
}

/** Writes down the answers, their traces and the reasons of refusals: a few statements for all of them. */
export async function recordAll(deps: AdmissionDeps, tx: Transaction, judged: readonly Judged[]): Promise<void> {
  if (judged.length === 0) return;
  const added = await deps.decisions.add(
    tx,
    judged.map(({ asked, issuer, known, page, verdict, reasons, isStranger }) => ({
      at: asked.now,
      gatewayId: asked.gateway.machineId,
      unitId: known.unit?.id ?? null,
      issuerId: issuer?.id ?? null,
      serial: asked.shown.serial,
      stage: asked.request.stage,
      keyProved: asked.request.keyProved,
      verdict,
      reasons,
      address: asked.address,
      lineId: known.line?.lineId ?? null,
      lineSure: known.line?.authoritative === true,
      cell: asked.request.cell ?? null,
      policyVersion: page.policyVersion,
      isStranger,
    })),
  );
  const { openedAlarmId, notKept } = added;
  const refusals = judged.filter(({ verdict }, at) => verdict !== 'permit' && !notKept.has(at)).map(refusalEntry);
  if (openedAlarmId !== null) refusals.push(alarmEntry(openedAlarmId, judged));
  if (refusals.length > 0) await deps.ledger.append(tx, refusals);
  for (const used of judged.filter(leavesTrace)) await noteUse(deps, tx, used);
  if (openedAlarmId !== null) {
    deps.alarm('units that nobody knows ask to be let in', {
      alarmId: openedAlarmId,
      gateway: judged[0]?.asked.gateway.name,
    });
  }
}

/**
 * A unit in place asks again every quarter of an hour: its rows are touched every six hours, for each decision says when
 * it was seen to the millisecond, and dormancy counts in days. Another line than before is news at once.
 */
const TRACE_STEP_MS = 6 * 3_600_000;

function leavesTrace({ asked, known, verdict }: Judged): boolean {
  const { slot, unit } = known;
  if (verdict !== 'permit' || !asked.request.keyProved || slot === null || unit === null) return false;
  const lineId = authoritativeLine(known);
  return (
    isOlder(slot.lastUsedAt, asked.now) ||
    isOlder(unit.lastContactAt, asked.now) ||
    (lineId !== null && lineId !== slot.lineId)
  );
}

function isOlder(at: Date | null, now: Date): boolean {
  return at === null || now.getTime() - at.getTime() >= TRACE_STEP_MS;
}

async function noteUse(deps: AdmissionDeps, tx: Transaction, { asked, known }: Judged): Promise<void> {
  const { slot, unit } = known;
  if (slot === null || unit === null) return;
  await deps.lineages.touchSlot(tx, { slotId: slot.id, at: asked.now, lineId: authoritativeLine(known) });
  await deps.registry.touchContact(tx, unit.id, asked.now);
}

/** An order lets the unit in on its new line; nothing else about it may be wrong. */
async function moveLine(deps: AdmissionDeps, tx: Transaction, judged: Judged): Promise<boolean> {
  const { asked, known, reasons } = judged;
  const { unit: seen, line } = known;
  if (!seen?.mayMove || !line?.authoritative || !asked.request.keyProved) return false;
  if (reasons.some((reason) => reason !== 'LINE_MISMATCH')) return false;
  const unit = await deps.registry.unitById(tx, seen.id);
  const { now: at } = asked;
  return unit !== null && (await deps.relocations.spend(tx, { unit, lineId: line.lineId, actor: actorOf(asked), at }));
}

async function followDenial(deps: AdmissionDeps, tx: Transaction, judged: Judged): Promise<void> {
  const { asked, issuer, known, use, view } = judged;
  const { shown, now: at } = asked;
  const actor = actorOf(asked);
  // Signed by our key and unknown to our record: the worst news there is. The serial goes on the CRL (rules 5.7).
  if (isOurs(issuer) && !known.serialKnown && shown.whole !== null) {
    await deps.revocation.revokeUnrecorded(
      tx,
      {
        issuerId: issuer.id,
        serial: shown.serial,
        notAfter: shown.notAfter,
        spkiHash: shown.whole.spki.spkiHash,
      },
      { actor, at },
    );
  }
  // A revoked or held certificate is refused and recorded, and starts nothing (rules section 4).
  if (use?.kind !== 'deny' || view === null || known.status !== 'good') return;
  const report: ForkReport = {
    lineageId: view.lineage.id,
    at,
    actor,
    row: `use:${use.code}`,
    presentedSlotId: known.slot?.id ?? null,
    successorSlotId: headOf(view.slots)?.id ?? null,
    facts: { gateway: asked.gateway.name },
  };
  if (use.grade === 'hard') await containFork(deps, tx, report, known);
  else if (use.grade) await deps.lineages.recordFork(tx, { ...report, grade: use.grade });
}

/** Both branches, in the transaction that saw the fork: whoever asks OCSP or the CRL hears of it too (rules section 4). */
async function containFork(
  deps: AdmissionDeps,
  tx: Transaction,
  report: ForkReport,
  { unit }: KnownFacts,
): Promise<void> {
  await deps.lineages.quarantineLineage(tx, report);
  if (unit === null) return;
  const { actor, at } = report;
  await deps.revocation.quarantine(tx, { unitId: unit.id, actor, note: `FORK_HARD: ${report.row}`, at });
}

function refusalEntry({ asked, known, use, network, verdict, reasons }: Judged): LedgerEntry {
  const { shown, request, gateway, address, now: at } = asked;
  return {
    kind: verdict === 'restricted' ? 'admission.restricted' : 'admission.denied',
    subject: known.unit ? `unit:${known.unit.serialNumber}` : `certificate:${serialHex(shown.serial)}`,
    at,
    body: {
      reasons,
      gateway: gateway.name,
      stage: request.stage,
      keyProved: request.keyProved,
      address,
      ...(request.cell !== undefined && { cell: request.cell }),
      line: known.line?.name ?? null,
      ...(request.cell !== undefined && { cell: request.cell }),
      certificateSha256: shown.fingerprint,
      serialKnown: known.serialKnown,
      grade: use?.kind === 'deny' ? use.grade : null,
      ...(network.rules.length > 0 && { networkRules: network.rules }),
    },
  };
}

function alarmEntry(alarmId: number, judged: readonly Judged[]): LedgerEntry {
  const first = judged.find(({ isStranger }) => isStranger) ?? judged[0];
  return {
    kind: 'unknown-alarm.opened',
    subject: `unknown-alarm:${alarmId}`,
    at: first?.asked.now ?? new Date(0),
    body: { alarmId, gateway: first?.asked.gateway.name ?? null },
  };
}

function authoritativeLine({ line }: KnownFacts): number | null {
  return line?.authoritative ? line.lineId : null;
}

function actorOf({ gateway }: Asked): string {
  return `machine:${gateway.name}`;
}
