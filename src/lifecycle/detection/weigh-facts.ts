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
  /** Somebody must look now. */
  readonly alarm: (what: string, facts: Record<string, unknown>) => void;
}

export interface EvidenceStore {
  /** @returns its id */
  add(tx: Transaction, row: EvidenceRow): Promise<number>;
  /** Strong evidence about a unit since an instant, by its kinds: what rests on the same sightings is one kind. */
  strongSince(tx: Transaction, unitId: number, since: Date): Promise<StrongKind[]>;
  /** Remembers on whose word this evidence brought its unit into quarantine, or that it did not because of the cap. */
  settle(tx: Transaction, evidenceId: number, end: { onTheWordOf: readonly string[]; capped: boolean }): Promise<void>;
  /** Units quarantined since then on the word of one of these gateways, whatever the rule; the largest number of any. */
  quarantinesOnTheWordOf(tx: Transaction, gateways: readonly string[], since: Date): Promise<number>;
  /** Units of a model quarantined since then on the word of any gateways. */
  quarantinesOfModel(tx: Transaction, model: string, since: Date): Promise<number>;
}

export interface StrongKind {
  readonly kind: string;
  /** Gateways whose word it is; none where the record proves it. */
  readonly gateways: readonly string[];
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
  const caseId = filed?.caseId ?? null;
  const source = { epoch: fact.epoch, seq: fact.seq };
  const facts = { ...body, source, ...(onTheWordOf && { gateways: onTheWordOf }) };
  const evidenceId = await deps.evidence.add(tx, { at, code, grade, unitId, subject, facts, caseId });
  if (!unit || !QUARANTINED_FROM.has(unit.state)) return;
  const grounds = await groundsForQuarantine(deps, tx, unit.id, graded, at);
  if (grounds === null) return;
  if (grounds.length > 0) {
    const capped = !(await isWithinCap(deps, tx, grounds, unit.model, at));
    await deps.evidence.settle(tx, evidenceId, { onTheWordOf: grounds, capped });
    if (capped) {
      deps.alarm('so many units would be quarantined on the word of gateways that people must decide', {
        unit: unit.serialNumber,
        model: unit.model,
        gateways: grounds,
        caseId,
      });
      return;
    }
  }
  await deps.revocation.quarantine(tx, {
    unitId: unit.id,
    actor: 'system:detection',
    note: `${code} (${grade})`,
    evidence: `ledger ${fact.epoch}/${fact.seq}`,
    at,
  });
}

const QUARANTINED_FROM: ReadonlySet<string> = new Set(['ACTIVE', 'DORMANT', 'BOOTSTRAPPED', 'SUSPENDED']);

/**
 * Hard, or two strong ones of different kinds within a day (DET-5).
 *
 * @returns the gateways on whose word alone it would be; empty where our own record proves it; null: it does not call for it
 */
async function groundsForQuarantine(
  deps: DetectionDeps,
  tx: Transaction,
  unitId: number,
  { grade, onTheWordOf = [] }: GradedFact,
  at: Date,
): Promise<readonly string[] | null> {
  if (grade === 'hard') return onTheWordOf;
  if (grade === 'soft') return null;
  const strong = await deps.evidence.strongSince(tx, unitId, new Date(at.getTime() - WINDOW_MS));
  if (new Set(strong.map(({ kind }) => kind)).size < 2) return null;
  return [...new Set(strong.flatMap(({ gateways }) => gateways))].sort();
}

/**
 * A gateway that lies about its units, or a fault in one model's firmware, must not take the fleet down: past these numbers
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
