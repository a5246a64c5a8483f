import type { Clock } from '../../../platform/clock.js';
import type { Lease, Leases } from '../../../platform/db/lease.js';
import type { Transactor } from '../../../platform/db/transaction.js';
import type { Ledger, LedgerEntry } from '../../../platform/ledger/ledger.js';
import type { EvidenceGrade } from '../../model/index.js';
import { DAY_MS, type Finding } from './finding.js';
import { judgeMovement, type PlaceOf } from './movement.js';
import type { FindSuspects, Suspect, TrafficStore, TrafficWindow } from './traffic-store.js';

export interface TrafficDeps {
  readonly db: Transactor;
  readonly leases: Pick<Leases, 'check'>;
  readonly clock: Clock;
  readonly ledger: Ledger;
  readonly traffic: TrafficStore;
  readonly placeOf: PlaceOf;
}

export const TRAFFIC_LEASE = 'traffic-watch';

/** One run looks at so much time: what it reads is bounded, and after a pause it catches up run by run. */
const STEP_MS = 60_000;
/** A decision that was committed late, or by a host whose clock is behind, is looked at all the same. */
const OVERLAP_MS = 60_000;
const PAUSE_MS_MAX = 7 * DAY_MS;
const SUSPECTS_A_PAGE = 100;

/** One rule: whom it asks about, what it reads of them, and what that comes to. */
interface TrafficRule {
  readonly suspects: FindSuspects;
  readonly findings: (suspects: readonly Suspect[]) => Promise<readonly (Finding | null)[]>;
}

/**
 * Looks at what came in since the last look. Evidence is written down once a rule, subject and day, as a ledger entry
 * `traffic.noticed` that detection weighs like any other; the same traffic seen twice changes nothing.
 *
 * @returns true when there is more to look at
 */
export async function watchTraffic(deps: TrafficDeps, lease: Lease): Promise<boolean> {
  const { db, traffic, clock, leases } = deps;
  const now = clock.now().getTime();
  const mark = Math.max((await traffic.lookedUntil(db.read)).getTime(), now - PAUSE_MS_MAX);
  const until = new Date(Math.min(now, mark + STEP_MS));
  if (until.getTime() <= mark) return false;
  const window = { from: new Date(mark - OVERLAP_MS), until };
  for (const rule of rulesOf(deps)) await lookBy(deps, lease, rule, window);
  await db.run(async (tx) => {
    await leases.check(tx, lease);
    await traffic.moveMark(tx, until);
  });
  return until.getTime() < now;
}

function rulesOf({ db, traffic, placeOf }: TrafficDeps): readonly TrafficRule[] {
  return [
    {
      suspects: traffic.movers,
      findings: async (suspects) => (await traffic.moved(db.read, suspects)).map((one) => judgeMovement(one, placeOf)),
    },
  ];
}

async function lookBy(deps: TrafficDeps, lease: Lease, rule: TrafficRule, window: TrafficWindow): Promise<void> {
  let afterUnitId = 0;
  for (;;) {
    const suspects = await rule.suspects(deps.db.read, window, { afterUnitId, limit: SUSPECTS_A_PAGE });
    const last = suspects.at(-1);
    if (last === undefined) return;
    const findings = (await rule.findings(suspects)).filter((finding) => finding !== null);
    if (findings.length > 0) await writeDown(deps, lease, findings);
    if (suspects.length < SUSPECTS_A_PAGE) return;
    afterUnitId = last.unitId;
  }
}

async function writeDown(deps: TrafficDeps, lease: Lease, findings: readonly Finding[]): Promise<void> {
  await deps.db.run(async (tx) => {
    await deps.leases.check(tx, lease);
    const raised = await deps.traffic.raise(tx, findings);
    const news = findings.flatMap((finding, n) => {
      const { id, before = null } = raised[n] ?? {};
      return id !== undefined && isGraver(finding.grade, before) ? [entryOf(finding, id)] : [];
    });
    if (news.length > 0) await deps.ledger.append(tx, news);
  });
}

const GRADES: readonly EvidenceGrade[] = ['soft', 'strong', 'hard'];

function isGraver(grade: EvidenceGrade, before: EvidenceGrade | null): boolean {
  return before === null || GRADES.indexOf(grade) > GRADES.indexOf(before);
}

function entryOf({ rule, subject, grade, lastAt, words, facts, gateways }: Finding, alarmId: number): LedgerEntry {
  return {
    kind: 'traffic.noticed',
    subject,
    at: lastAt,
    body: { alarmId, rule, grade, words, gateways, ...facts },
  };
}
