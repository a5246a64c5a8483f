import type { Transaction } from '../../platform/db/transaction.js';
import type { ProbedSession } from './both-alive.js';
import type { ProbeQuestion, ProbeState, SessionEvent } from './session.js';

export type NamedEvent = SessionEvent & { readonly unitId: number };

export interface SessionStore {
  /** Units by FQDN, lower case. */
  unitsByFqdn(tx: Transaction, fqdns: readonly string[]): Promise<ReadonlyMap<string, number>>;
  /** @returns numbers that were not known yet */
  addEvents(
    tx: Transaction,
    rows: { gatewayId: number; stream: string; events: readonly NamedEvent[]; receivedAt: Date },
  ): Promise<ReadonlySet<number>>;
  /** What the events add up to, whatever their order; locks the sessions in the order of their names. */
  applyEvents(tx: Transaction, gatewayId: number, events: readonly NamedEvent[]): Promise<void>;
  /** Ranges of numbers that are not there, among the stream's newest five thousand. */
  missing(tx: Transaction, gatewayId: number, stream: string, rangesMax: number): Promise<[number, number][]>;

  /** Of these units, those with open sessions in two places. */
  unitsInTwoPlaces(tx: Transaction, unitIds: readonly number[]): Promise<number[]>;
  /** Asks about the newest open sessions of a unit, unless it is being asked about. */
  openProbe(
    tx: Transaction,
    probe: { unitId: number; nonce: Buffer; askAt: Date; endsAt: Date; sessionsMax: number },
  ): Promise<void>;
  /** Ends questions whose time is over, at most a hundred. */
  endOverdue(tx: Transaction, now: Date): Promise<void>;
  questionsFor(tx: Transaction, gatewayId: number, now: Date, max: number): Promise<ProbeQuestion[]>;
  /** Locked. Null: there is no such question. */
  probe(
    tx: Transaction,
    id: string,
  ): Promise<{
    unitId: number;
    serialNumber: string;
    nonce: Buffer;
    state: ProbeState;
    askAt: Date;
    endsAt: Date;
  } | null>;
  /** False: this gateway was not asked about that session, or has answered. */
  answer(
    tx: Transaction,
    answer: { id: string; gatewayId: number; session: Buffer; alive: boolean; at: Date },
  ): Promise<boolean>;
  probedSessions(tx: Transaction, id: string): Promise<ProbedSession[]>;
  /** Has the unit a session open that this probe did not ask about? */
  hasLatecomer(tx: Transaction, id: string): Promise<boolean>;
  closeProbe(tx: Transaction, id: string, state: Exclude<ProbeState, 'open'>, at: Date): Promise<void>;
}
