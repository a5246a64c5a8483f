import type { Transaction, Transactor } from '../../platform/db/transaction.js';
import type { CaseDesk } from '../incident/index.js';
import type { EvidenceGrade } from '../model/index.js';
import type { Registry } from '../registry/index.js';
import type { Revocation } from '../revocation/index.js';
import { type Fact, type GradedFact, gradeFact } from './grade-fact.js';

export interface DetectionDeps {
  readonly db: Transactor;
  readonly registry: Registry;
  readonly revocation: Revocation;
  readonly cases: CaseDesk;
  readonly evidence: EvidenceStore;
}

export interface EvidenceStore {
  add(tx: Transaction, row: EvidenceRow): Promise<void>;
  /** Codes of strong evidence about a unit since an instant. */
  strongCodesSince(tx: Transaction, unitId: number, since: Date): Promise<string[]>;
  /** Units quarantined since then on the word of one of these gateways; the largest number of any. */
  quarantinesOnTheWordOf(tx: Transaction, gateways: readonly string[], since: Date): Promise<number>;
  /** Units of a model quarantined since then on the word of any gateways. */
  quarantinesOfModel(tx: Transaction, model: string, since: Date): Promise<number>;
}

export interface EvidenceRow {
  readonly at: Date;
  readonly code: string;
  readonly grade: EvidenceGrade;
  readonly unitId: number | null;
  readonly subject: string;
  readonly facts: Readonly<Record<string, unknown>>;
  readonly caseId: number | null;
}

const WINDOW_MS = 24 * 3_600_000;

/**
 * Weighs a page of ledger entries, in order, inside the transaction that also moves detection's cursor: an entry counts
 * once, whatever crashes.
 *
 * @returns how many of them were evidence
 */
export async function weighFacts(deps: DetectionDeps, tx: Transaction, facts: readonly Fact[]): Promise<number> {
  let evidence = 0;
  for (const fact of facts) {
    const graded = gradeFact(fact);
    if (!graded) continue;
    evidence++;
    await weigh(deps, tx, fact, graded);
  }
  return evidence;
}

async function weigh(deps: DetectionDeps, tx: Transaction, fact: Fact, graded: GradedFact): Promise<void> {
  const { at, subject, body } = fact;
  const { grade, code, caseKind, onTheWordOf } = graded;
  const unit = subject.startsWith('unit:')
    ? await deps.registry.unitBySerialNumber(tx, subject.slice('unit:'.length))
    : null;
  const unitId = unit?.id ?? null;
  // Soft evidence is kept and counted; it never wakes anybody.
  const filed = grade === 'soft' ? null : await deps.cases.file(tx, { unitId, subject, kind: caseKind, grade, at });
  const mayQuarantine = unit !== null && (!onTheWordOf || (await isWithinCap(deps, tx, onTheWordOf, unit.model, at)));
  const source = { epoch: fact.epoch, seq: fact.seq };
  await deps.evidence.add(tx, {
    at,
    code,
    grade,
    unitId,
    subject,
    facts: { ...body, source, ...(onTheWordOf && { capped: !mayQuarantine }) },
    caseId: filed?.caseId ?? null,
  });
  if (!unit || !mayQuarantine || !(await callsForQuarantine(deps, tx, unit.id, graded, at))) return;
  if (QUARANTINED_FROM.has(unit.state)) {
    await deps.revocation.quarantine(tx, {
      unitId: unit.id,
      actor: 'system:detection',
      note: `${code} (${grade})`,
      evidence: `ledger ${fact.epoch}/${fact.seq}`,
      at,
    });
  }
}

const QUARANTINED_FROM: ReadonlySet<string> = new Set(['ACTIVE', 'DORMANT', 'BOOTSTRAPPED', 'SUSPENDED']);

/**
 * A gateway that lies about sessions, or a fault in one model's firmware, must not take the fleet down: past these numbers
 * a day the case stands and pages, and people decide (rules 5.6).
 */
async function isWithinCap(
  { evidence }: DetectionDeps,
  tx: Transaction,
  gateways: readonly string[],
  model: string,
  at: Date,
): Promise<boolean> {
  const since = new Date(at.getTime() - WINDOW_MS);
  if ((await evidence.quarantinesOnTheWordOf(tx, gateways, since)) >= QUARANTINES_A_GATEWAY_MAX) return false;
  return (await evidence.quarantinesOfModel(tx, model, since)) < QUARANTINES_A_MODEL_MAX;
}

const QUARANTINES_A_GATEWAY_MAX = 10;
const QUARANTINES_A_MODEL_MAX = 25;

/** Hard, or two strong ones of different kinds within a day (DET-5). */
async function callsForQuarantine(
  deps: DetectionDeps,
  tx: Transaction,
  unitId: number,
  { grade }: GradedFact,
  at: Date,
): Promise<boolean> {
  if (grade === 'hard') return true;
  if (grade === 'soft') return false;
  const codes = await deps.evidence.strongCodesSince(tx, unitId, new Date(at.getTime() - WINDOW_MS));
  return new Set(codes).size >= 2;
}
