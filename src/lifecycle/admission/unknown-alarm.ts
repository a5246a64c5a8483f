import type { Clock } from '../../platform/clock.js';
import type { Transaction, Transactor } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Ledger } from '../../platform/ledger/ledger.js';

/** One alarm for all who knock without being known, as long as they keep knocking (AUZ-2). */
export interface UnknownAlarm {
  readonly id: number;
  /** `quiet`: an hour without another attempt; the next one opens a new alarm. */
  readonly state: 'open' | 'quiet' | 'acknowledged';
  readonly openedAt: Date;
  readonly lastAt: Date;
  readonly attempts: number;
  readonly acknowledgedBy: string | null;
  readonly acknowledgedAt: Date | null;
}

/** A decision that is a member of an alarm. */
export interface UnknownAttempt {
  readonly at: Date;
  readonly gateway: string | null;
  readonly stage: string;
  readonly address: string | null;
  /** Serial number of the certificate that was shown, hex. */
  readonly serial: string | null;
  readonly reasons: readonly string[];
}

export interface UnknownAlarmStore {
  /** Newest first. */
  list(tx: Transaction, limit: number): Promise<UnknownAlarm[]>;
  byId(tx: Transaction, id: number): Promise<UnknownAlarm | null>;
  /** In order of time. */
  members(tx: Transaction, id: number, limit: number): Promise<UnknownAttempt[]>;
  /** False when somebody was faster. */
  acknowledge(tx: Transaction, change: { id: number; by: string; at: Date }): Promise<boolean>;
}

export interface UnknownAlarms {
  list(): Promise<UnknownAlarm[]>;
  /** With its members, at most {@link MEMBERS_SHOWN_MAX}. @throws FemtoError NOT_FOUND */
  show(id: number): Promise<UnknownAlarm & { readonly members: readonly UnknownAttempt[] }>;
  /** The next stranger opens a new one. @throws FemtoError NOT_FOUND; STATE_CONFLICT */
  acknowledge(id: number, actor: string): Promise<UnknownAlarm>;
}

const ALARMS_SHOWN_MAX = 200;
const MEMBERS_SHOWN_MAX = 1_000;

export function makeUnknownAlarms(deps: {
  readonly db: Transactor;
  readonly store: UnknownAlarmStore;
  readonly ledger: Ledger;
  readonly clock: Clock;
}): UnknownAlarms {
  const { db, store, ledger, clock } = deps;
  const found = async (tx: Transaction, id: number): Promise<UnknownAlarm> => {
    const alarm = await store.byId(tx, id);
    if (alarm !== null) return alarm;
    throw new FemtoError('NOT_FOUND', `There is no alarm ${id}; list them with femtopki unknown-alarm list.`);
  };
  return {
    list: () => store.list(db.read, ALARMS_SHOWN_MAX),
    show: async (id) => ({
      ...(await found(db.read, id)),
      members: await store.members(db.read, id, MEMBERS_SHOWN_MAX),
    }),
    acknowledge: (id, actor) =>
      db.run(async (tx) => {
        const alarm = await found(tx, id);
        const at = clock.now();
        if (!(await store.acknowledge(tx, { id, by: actor, at }))) {
          throw new FemtoError('STATE_CONFLICT', `Alarm ${id} was acknowledged already.`, {
            facts: { state: alarm.state },
          });
        }
        await ledger.append(tx, [
          {
            kind: 'unknown-alarm.acknowledged',
            subject: `unknown-alarm:${id}`,
            at,
            body: { alarmId: id, attempts: alarm.attempts, actor },
          },
        ]);
        return { ...alarm, state: 'acknowledged', acknowledgedBy: actor, acknowledgedAt: at };
      }),
  };
}
