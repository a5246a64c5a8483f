import type { Clock } from '../../platform/clock.js';
import type { Transactor } from '../../platform/db/transaction.js';
import type { GeoLookup } from '../../platform/net/geo-databases.js';
import {
  compilePolicy,
  judgeNetwork,
  type NetworkAction,
  type NetworkOffice,
  type NetworkPolicyDocument,
  type NetworkReason,
  strictness,
} from '../registry/index.js';
import type { Stage } from './decision.js';

/** Past decisions of one unit from one address at one stage. */
export interface PastTraffic {
  readonly unit: string | null;
  readonly batch: string | null;
  readonly model: string | null;
  readonly region: string | null;
  readonly address: string;
  readonly stage: Stage;
  readonly attempts: number;
  /** Of them permitted. */
  readonly permits: number;
  readonly lastAt: Date;
}

export interface TrafficReader {
  /** The newest decisions since an instant, grouped, newest group first. Reads `decisionsMax` rows at most. */
  since(from: Date, limits: { decisionsMax: number; groupsMax: number }): Promise<PastTraffic[]>;
}

/** Whom a policy would have hit. */
export interface PolicyDryRun {
  readonly from: Date;
  readonly to: Date;
  /** False where there was more traffic than a dry run reads: the newest was read. */
  readonly isWhole: boolean;
  /** Units that were permitted in this time, and how many of them the policy would have refused or restricted. */
  readonly unitsPermitted: number;
  readonly unitsHit: number;
  /** Groups of which the answer changes, those that lose first, at most {@link CHANGES_SHOWN_MAX}. */
  readonly changes: readonly PolicyChange[];
  readonly changesTotal: number;
}

export interface PolicyChange {
  readonly unit: string | null;
  readonly address: string;
  readonly stage: Stage;
  readonly attempts: number;
  readonly lastAt: Date;
  readonly before: NetworkAction;
  readonly after: NetworkAction;
  readonly reasons: readonly NetworkReason[];
  readonly rules: readonly string[];
}

export interface DryRunDeps {
  readonly traffic: TrafficReader;
  readonly network: Pick<NetworkOffice, 'active'>;
  readonly geo: GeoLookup;
  readonly clock: Clock;
  readonly db: Transactor;
}

export const DRY_RUN_HOURS_MAX = 168;
const DECISIONS_MAX = 200_000;
const GROUPS_MAX = 50_000;
const CHANGES_SHOWN_MAX = 1_000;

/** Judges past traffic by a policy, beside the active one; changes nothing. */
export async function dryRunPolicy(
  { traffic, network, geo, clock, db }: DryRunDeps,
  { document, hours }: { document: NetworkPolicyDocument; hours: number },
): Promise<PolicyDryRun> {
  const to = clock.now();
  const from = new Date(to.getTime() - hours * 3_600_000);
  const [before, after] = [(await network.active(db.read))?.document ?? { rules: [] }, document].map(compilePolicy);
  const groups = await traffic.since(from, { decisionsMax: DECISIONS_MAX, groupsMax: GROUPS_MAX });
  const permitted = new Set<string>();
  const hit = new Set<string>();
  const changes: PolicyChange[] = [];
  for (const group of groups) {
    const subject = { ...group, event: group.stage };
    const was = before === undefined ? null : judgeNetwork(before, subject, geo);
    const is = after === undefined ? null : judgeNetwork(after, subject, geo);
    if (was === null || is === null) continue;
    const { unit, address, stage, attempts, lastAt } = group;
    if (unit !== null && group.permits > 0) {
      permitted.add(unit);
      if (is.action !== 'allow') hit.add(unit);
    }
    if (was.action === is.action) continue;
    changes.push({ unit, address, stage, attempts, lastAt, before: was.action, after: is.action, ...reasonsOf(is) });
  }
  changes.sort((a, b) => strictness(b.after) - strictness(a.after));
  const attempts = groups.reduce((sum, group) => sum + group.attempts, 0);
  return {
    from,
    to,
    isWhole: attempts < DECISIONS_MAX && groups.length < GROUPS_MAX,
    unitsPermitted: permitted.size,
    unitsHit: hit.size,
    changes: changes.slice(0, CHANGES_SHOWN_MAX),
    changesTotal: changes.length,
  };
}

function reasonsOf({ reasons, rules }: { reasons: readonly NetworkReason[]; rules: readonly string[] }) {
  return { reasons, rules };
}
