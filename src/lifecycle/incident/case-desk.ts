import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import type { EvidenceGrade } from '../model/index.js';
import { type Owed, owedFrom, RULE_PACKS, type RulePack } from './rule-packs.js';

export interface CaseDesk {
  /** Opens the case of a unit and kind, or adds to the one that is open. Ledger `case.opened` where it is new. */
  file(tx: Transaction, report: CaseReport): Promise<{ caseId: number; opened: boolean }>;
  /**
   * Takes a case over, by name. From now on nobody can say that nobody knew: the times of all reports run.
   *
   * @throws NOT_FOUND; STATE_CONFLICT when it is closed or somebody was faster
   */
  acknowledge(tx: Transaction, caseId: number, by: string, at: Date): Promise<void>;
  /**
   * Hard evidence that nobody has looked at for four hours: the operator counts as aware from there on (INC-2).
   *
   * @returns the cases that this made so
   */
  startAwareness(tx: Transaction, now: Date): Promise<number[]>;
  /** A confirmed new fact, which the authority hears of by its own time. @throws NOT_FOUND, STATE_CONFLICT */
  addFact(tx: Transaction, caseId: number, act: CaseAct): Promise<void>;
  /**
   * A report went out.
   *
   * @param report.receipt  what the receiver gave for it
   * @throws NOT_FOUND when the case does not owe it; STATE_CONFLICT when it is closed
   */
  report(tx: Transaction, caseId: number, report: CaseAct & { duty: string; receipt: string }): Promise<void>;
  /** @throws NOT_FOUND; STATE_CONFLICT while a report is owed, or before anybody took it over */
  close(tx: Transaction, caseId: number, act: CaseAct): Promise<void>;
}

export interface CaseAct {
  readonly by: string;
  readonly note: string;
  readonly at: Date;
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

export interface CaseRow {
  readonly subject: string;
  readonly state: 'open' | 'acknowledged' | 'closed';
  readonly awareAt: Date | null;
}

export interface CaseStore {
  /** Upsert on (unit, kind) among cases that are not closed; the grade only rises. */
  upsert(tx: Transaction, report: CaseReport): Promise<{ caseId: number; opened: boolean }>;
  /** Locked. */
  find(tx: Transaction, caseId: number): Promise<CaseRow | null>;
  acknowledge(tx: Transaction, caseId: number, by: string, at: Date): Promise<boolean>;
  setAware(tx: Transaction, caseId: number, by: string, at: Date): Promise<void>;
  /** Open cases with hard evidence, opened before then, that nobody is aware of; locked. */
  unheeded(tx: Transaction, openedBefore: Date): Promise<{ id: number; subject: string; openedAt: Date }[]>;
  addEvent(tx: Transaction, caseId: number, event: CaseAct & { kind: CaseEventKind }): Promise<void>;
  addDuties(tx: Transaction, caseId: number, owed: readonly Owed[]): Promise<void>;
  /** The oldest of its kind that is owed. False: none is. */
  settleDuty(
    tx: Transaction,
    caseId: number,
    duty: string,
    done: { by: string; receipt: string; at: Date },
  ): Promise<boolean>;
  owed(tx: Transaction, caseId: number): Promise<string[]>;
  close(tx: Transaction, caseId: number, at: Date): Promise<void>;
}

export type CaseEventKind = 'acknowledged' | 'aware' | 'fact' | 'reported' | 'closed';

export interface CaseDeskDeps {
  readonly store: CaseStore;
  readonly ledger: Ledger;
  readonly packs?: readonly RulePack[];
}

const UNHEEDED_MS = 4 * 3_600_000;
const CLOCK = 'system:awareness';

export function makeCaseDesk({ store, ledger, packs = RULE_PACKS }: CaseDeskDeps): CaseDesk {
  const found = async (tx: Transaction, caseId: number): Promise<CaseRow> => {
    const row = await store.find(tx, caseId);
    if (row) return row;
    throw new FemtoError('NOT_FOUND', `No case ${caseId}; list them with femtopki case list.`);
  };
  const known = async (tx: Transaction, caseId: number): Promise<CaseRow & { awareAt: Date }> => {
    const row = await found(tx, caseId);
    const { state, awareAt } = row;
    if (state === 'closed')
      throw new FemtoError('STATE_CONFLICT', `Case ${caseId} is closed; a new one opens by itself.`);
    if (awareAt === null)
      throw new FemtoError('STATE_CONFLICT', `Nobody has taken case ${caseId} over; acknowledge it first.`);
    return { ...row, awareAt };
  };
  const tell = async (
    tx: Transaction,
    caseId: number,
    subject: string,
    kind: CaseEventKind,
    act: CaseAct,
    more = {},
  ) => {
    await store.addEvent(tx, caseId, { ...act, kind });
    const { by, note, at } = act;
    await ledger.append(tx, [{ kind: `case.${kind}`, subject, at, body: { caseId, by, note, ...more } }]);
  };
  const becomeAware = async (tx: Transaction, caseId: number, subject: string, act: CaseAct): Promise<void> => {
    await store.setAware(tx, caseId, act.by, act.at);
    await store.addDuties(tx, caseId, owedFrom(packs, 'awareness', act.at, act.at));
    await tell(tx, caseId, subject, 'aware', act);
  };

  return {
    file: async (tx, report) => {
      const filed = await store.upsert(tx, report);
      if (filed.opened) {
        const { subject, at, kind, grade } = report;
        await ledger.append(tx, [{ kind: 'case.opened', subject, at, body: { caseId: filed.caseId, kind, grade } }]);
      }
      return filed;
    },
    acknowledge: async (tx, caseId, by, at) => {
      const { subject, awareAt } = await found(tx, caseId);
      if (!(await store.acknowledge(tx, caseId, by, at))) {
        throw new FemtoError('STATE_CONFLICT', `Case ${caseId} was acknowledged or closed already; look at it first.`);
      }
      await tell(tx, caseId, subject, 'acknowledged', { by, note: '', at });
      if (awareAt === null) await becomeAware(tx, caseId, subject, { by, note: 'took the case over', at });
    },
    startAwareness: async (tx, now) => {
      const unheeded = await store.unheeded(tx, new Date(now.getTime() - UNHEEDED_MS));
      for (const { id, subject, openedAt } of unheeded) {
        const at = new Date(openedAt.getTime() + UNHEEDED_MS);
        await becomeAware(tx, id, subject, { by: CLOCK, note: 'hard evidence, unheeded for four hours', at });
      }
      return unheeded.map(({ id }) => id);
    },
    addFact: async (tx, caseId, act) => {
      const { subject, awareAt } = await known(tx, caseId);
      await store.addDuties(tx, caseId, owedFrom(packs, 'fact', awareAt, act.at));
      await tell(tx, caseId, subject, 'fact', act);
    },
    report: async (tx, caseId, { duty, receipt, ...act }) => {
      const { subject } = await known(tx, caseId);
      const { by, at } = act;
      if (!(await store.settleDuty(tx, caseId, duty, { by, receipt, at })))
        throw new FemtoError(
          'NOT_FOUND',
          `Case ${caseId} owes no report ${duty}; femtopki case show lists what it owes.`,
        );
      await tell(tx, caseId, subject, 'reported', act, { duty, receipt });
    },
    close: async (tx, caseId, act) => {
      const { subject } = await known(tx, caseId);
      const owed = await store.owed(tx, caseId);
      if (owed.length > 0) {
        throw new FemtoError(
          'STATE_CONFLICT',
          `Case ${caseId} still owes ${owed.join(', ')}; report first (femtopki case report).`,
          { facts: { owed } },
        );
      }
      await store.close(tx, caseId, act.at);
      await tell(tx, caseId, subject, 'closed', act);
    },
  };
}
