import type { Clock } from '../../../platform/clock.js';
import type { Lease, Leases } from '../../../platform/db/lease.js';
import type { Transactor } from '../../../platform/db/transaction.js';
import type { Ledger, LedgerEntry } from '../../../platform/ledger/ledger.js';
import type { EvidenceGrade } from '../../model/index.js';
import { judgeCells } from './cell-conflict.js';
import { judgeDenials, judgeNewcomer } from './denials.js';
import { judgeDistrict } from './district.js';
import { DAY_MS, type Finding, RAW_EVENTS_MAX } from './finding.js';
import { judgeMovement, type PlaceOf } from './movement.js';
import type { FindSuspects, Suspect, TrafficStore, TrafficWindow } from './traffic-store.js';

export interface TrafficDeps {
  readonly db: Transactor;
  readonly leases: Pick<Leases, 'check'>;
  readonly clock: Clock;
  readonly ledger: Ledger;
  readonly traffic: TrafficStore;
  readonly placeOf: PlaceOf;
  /** Somebody must look now. */
  readonly alarm: (what: string, facts: Record<string, unknown>) => void;
}

export const TRAFFIC_LEASE = 'traffic-watch';

/** One run looks at so much time: what it reads is bounded, and after a pause it catches up run by run. */
const STEP_MS = 60_000;
/** A decision that was committed late, or by a host whose clock is behind, is looked at all the same. */
const OVERLAP_MS = 60_000;
const PAUSE_MS_MAX = 7 * DAY_MS;
const SUSPECTS_A_PAGE = 100;
/** Of one rule in one run. More at once is a fault of ours, such as a wrong line table: people are told, and the look goes on. */
const SUSPECTS_A_RUN = 2_000;
const NEWCOMERS_A_RUN = 500;
const DISTRICTS_A_RUN = 1_000;

/**
 * Looks at what came in since the last look. Evidence is written down once a rule, subject and day, as a ledger entry
 * `traffic.noticed` that detection weighs like any other; the same traffic seen twice changes nothing.
 *
 * @returns true when there is more to look at
 */
export async function watchTraffic(deps: TrafficDeps, lease: Lease): Promise<boolean> {
  const { db, traffic, clock, leases, placeOf } = deps;
  const { read } = db;
  // 1. What is new, and a little more.
  const now = clock.now().getTime();
  const mark = Math.max((await traffic.lookedUntil(read)).getTime(), now - PAUSE_MS_MAX);
  const until = new Date(Math.min(now, mark + STEP_MS));
  if (until.getTime() <= mark) return false;
  const window = { from: new Date(mark - OVERLAP_MS), until };
  // 2. Unit by unit.
  const look = (suspects: FindSuspects, judge: Judge) => lookAtUnits(deps, lease, window, suspects, judge);
  await look(traffic.movers, async (some) =>
    (await traffic.moved(read, some)).map((one) => judgeMovement(one, placeOf)),
  );
  await look(traffic.claimers, async (some) => (await traffic.claimed(read, some)).map(judgeCells));
  await look(traffic.denied, async (some) => (await traffic.denials(read, some)).map(judgeDenials));
  await writeDown(deps, lease, (await traffic.newcomers(read, window, NEWCOMERS_A_RUN)).map(judgeNewcomer));
  // 3. What is counted is counted once: in the transaction that moves the mark, and without the overlap.
  await db.run(async (tx) => {
    await leases.check(tx, lease);
    await traffic.count(tx, { from: new Date(mark), until });
    await traffic.moveMark(tx, until);
  });
  // 4. District by district.
  await lookAtDistricts(deps, lease, window);
  return until.getTime() < now;
}

type Judge = (suspects: readonly Suspect[]) => Promise<readonly (Finding | null)[]>;

async function lookAtUnits(
  deps: TrafficDeps,
  lease: Lease,
  window: TrafficWindow,
  suspects: FindSuspects,
  judge: Judge,
): Promise<void> {
  let afterUnitId = 0;
  for (let seen = 0; seen < SUSPECTS_A_RUN; seen += SUSPECTS_A_PAGE) {
    const page = await suspects(deps.db.read, window, { afterUnitId, limit: SUSPECTS_A_PAGE });
    if (page.length > 0) await writeDown(deps, lease, await judge(page));
    if (page.length < SUSPECTS_A_PAGE) return;
    afterUnitId = page.at(-1)?.unitId ?? afterUnitId;
  }
  deps.alarm('more units than one look can judge stand out at once; look for a wrong line or cell table', {
    until: window.until.toISOString(),
    unitsMax: SUSPECTS_A_RUN,
  });
}

async function lookAtDistricts(deps: TrafficDeps, lease: Lease, window: TrafficWindow): Promise<void> {
  const { traffic, db } = deps;
  for (const district of await traffic.districts(db.read, window.until, DISTRICTS_A_RUN)) {
    for (const finding of judgeDistrict(district)) {
      const what = finding.facts['what'] === 'attempts' ? 'attempts' : 'denied';
      const { region } = district;
      const raw = await traffic.newest(db.read, { ...window, region, what, limit: RAW_EVENTS_MAX });
      await writeDown(deps, lease, [{ ...finding, raw }]);
    }
  }
}

async function writeDown(deps: TrafficDeps, lease: Lease, judged: readonly (Finding | null)[]): Promise<void> {
  const findings = judged.filter((finding) => finding !== null);
  if (findings.length === 0) return;
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
