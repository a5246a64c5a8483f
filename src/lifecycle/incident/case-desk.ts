import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import type { EvidenceGrade } from '../model/index.js';

export interface CaseDesk {
  /** Opens the case of a unit and kind, or adds to the one that is open. Ledger `case.opened` where it is new. */
  file(tx: Transaction, report: CaseReport): Promise<{ caseId: number; opened: boolean }>;
  /** @throws NOT_FOUND; STATE_CONFLICT when it is closed or somebody was faster */
  acknowledge(tx: Transaction, caseId: number, by: string, at: Date): Promise<void>;
}

export interface CaseReport {
  readonly unitId: number | null;
  /** As the ledger names it. */
  readonly subject: string;
  /** e.g. `lineage-fork`, `lost-unit-seen`, `unrecorded-certificate`, `claim-contested`. */
  readonly kind: string;
  readonly grade: EvidenceGrade;
  readonly at: Date;
}

export interface CaseStore {
  /** Upsert on (unit, kind) among cases that are not closed; the grade only rises. */
  upsert(tx: Transaction, report: CaseReport): Promise<{ caseId: number; opened: boolean }>;
  acknowledge(tx: Transaction, caseId: number, by: string, at: Date): Promise<boolean>;
  subject(tx: Transaction, caseId: number): Promise<string | null>;
}

export function makeCaseDesk(deps: { store: CaseStore; ledger: Ledger }): CaseDesk {
  return {
    file: async (tx, report) => {
      const filed = await deps.store.upsert(tx, report);
      if (filed.opened) {
        const { subject, at, kind, grade } = report;
        await deps.ledger.append(tx, [
          { kind: 'case.opened', subject, at, body: { caseId: filed.caseId, kind, grade } },
        ]);
      }
      return filed;
    },
    acknowledge: async (tx, caseId, by, at) => {
      const subject = await deps.store.subject(tx, caseId);
      if (subject === null) {
        throw new FemtoError('NOT_FOUND', `No case ${caseId}; list them with femtopki case list.`);
      }
      if (!(await deps.store.acknowledge(tx, caseId, by, at))) {
        throw new FemtoError('STATE_CONFLICT', `Case ${caseId} was acknowledged or closed already; look at it first.`);
      }
      await deps.ledger.append(tx, [{ kind: 'case.acknowledged', subject, at, body: { caseId, by } }]);
    },
  };
}
