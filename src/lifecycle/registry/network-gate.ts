import type { Clock } from '../../platform/clock.js';
import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { GeoLookup } from '../../platform/net/geo-databases.js';
import type { NetworkReason } from './judge-network.js';
import { makeNetworkGuard } from './network-guard.js';
import type { NetworkPolicyStore } from './network-store.js';

/** The network policy where units get certificates: `enrolment` at a factory and at activation, and `renewal` (NET-1). */
export interface NetworkGate {
  /**
   * @returns reasons that stand although the unit may go on, e.g. NET_UNKNOWN where a database is missing (NET-3)
   * @throws FemtoError NET_CIDR | NET_ASN | NET_COUNTRY | NET_UNKNOWN, the most specific; `facts.reasons` and `facts.rules`
   *   name all of them
   */
  check(tx: Transaction, asked: NetworkAsked): Promise<readonly NetworkReason[]>;
}

export interface NetworkAsked {
  readonly event: 'enrolment' | 'renewal';
  readonly unitId: number;
  /** Canonical; empty when the connection is gone already, which no rule matches and no database lists. */
  readonly address: string;
  /** `restrict` means: only what repairs a unit. Its renewal or activation does; a factory's work does not. */
  readonly restrictedMay: 'go on' | 'not go on';
}

/** A change of policy counts from a second later: a renewal storm then asks once a second which version holds. */
const VERSION_KNOWN_MS = 1_000;

export function makeNetworkGate(deps: {
  readonly policies: NetworkPolicyStore;
  readonly geo: GeoLookup;
  readonly clock: Clock;
  /** Default {@link VERSION_KNOWN_MS}. */
  readonly versionKnownMs?: number;
}): NetworkGate {
  const { policies, clock, versionKnownMs = VERSION_KNOWN_MS } = deps;
  const guard = makeNetworkGuard(deps);
  let known: { readonly version: number | null; readonly untilMs: number } | null = null;
  const activeVersion = async (tx: Transaction): Promise<number | null> => {
    const nowMs = clock.now().getTime();
    if (known === null || nowMs >= known.untilMs || nowMs < known.untilMs - versionKnownMs) {
      known = { version: await policies.activeVersion(tx), untilMs: nowMs + versionKnownMs };
    }
    return known.version;
  };
  return {
    check: async (tx, { event, unitId, address, restrictedMay }) => {
      const version = await activeVersion(tx);
      if (version === null) return [];
      const groups = await policies.groupsOf(tx, unitId);
      const judge = await guard.judgeBy(tx, version);
      const { action, reasons, rules } = judge({ event, address, ...groups });
      if (action === 'allow' || (action === 'restrict' && restrictedMay === 'go on')) return reasons;
      const [first = 'NET_UNKNOWN'] = reasons;
      throw new FemtoError(first, 'The network policy refuses this address; look at the rules that are named.', {
        facts: { event, address, reasons, rules, policyVersion: version },
      });
    },
  };
}
