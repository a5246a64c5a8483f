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
  const { grade, code, caseKind } = graded;
  const unit = subject.startsWith('unit:')
    ? await deps.registry.unitBySerialNumber(tx, subject.slice('unit:'.length))
    : null;
  const unitId = unit?.id ?? null;
  // Soft evidence is kept and counted; it never wakes anybody.
  const filed = grade === 'soft' ? null : await deps.cases.file(tx, { unitId, subject, kind: caseKind, grade, at });
  const source = { epoch: fact.epoch, seq: fact.seq };
  await deps.evidence.add(tx, {
    at,
    code,
    grade,
    unitId,
    subject,
    facts: { ...body, source },
    caseId: filed?.caseId ?? null,
  });
  if (!unit || !(await callsForQuarantine(deps, tx, unit.id, graded, at))) return;
  if (
    unit.state === 'ACTIVE' ||
    unit.state === 'DORMANT' ||
    unit.state === 'BOOTSTRAPPED' ||
    unit.state === 'SUSPENDED'
  ) {
    await deps.revocation.quarantine(tx, {
      unitId: unit.id,
      actor: 'system:detection',
      note: `${code} (${grade})`,
      evidence: `ledger ${fact.epoch}/${fact.seq}`,
      at,
    });
  }
}

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
