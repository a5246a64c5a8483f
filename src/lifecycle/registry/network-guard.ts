import type { Transaction } from '../../platform/db/transaction.js';
import type { GeoLookup } from '../../platform/net/geo-databases.js';
import {
  ALLOWED,
  type CompiledPolicy,
  compilePolicy,
  judgeNetwork,
  type NetworkSubject,
  type NetworkVerdict,
} from './judge-network.js';
import type { NetworkPolicyStore } from './network-store.js';

/** The active network policy at work. */
export interface NetworkGuard {
  /** Judges by the version that the transaction sees as active. Allowed where there is none. */
  judge(tx: Transaction, subject: NetworkSubject): Promise<NetworkVerdict>;
  /**
   * Judges many by a version that the caller has read already, without another statement where it is known.
   *
   * @param version  the active one; null where there is none
   */
  judgeBy(tx: Transaction, version: number | null): Promise<(subject: NetworkSubject) => NetworkVerdict>;
}

/** A version never changes, so what was compiled stays right; older ones are asked for by dry runs only. */
const VERSIONS_KEPT_MAX = 4;

export function makeNetworkGuard({ policies, geo }: { policies: NetworkPolicyStore; geo: GeoLookup }): NetworkGuard {
  const compiled = new Map<number, CompiledPolicy>();
  const policyOf = async (tx: Transaction, version: number): Promise<CompiledPolicy> => {
    const known = compiled.get(version);
    if (known !== undefined) return known;
    const row = await policies.byVersion(tx, version);
    if (row === null) throw new Error(`network policy ${version} is not there`);
    const policy = compilePolicy(row.document);
    const oldest = compiled.size >= VERSIONS_KEPT_MAX ? compiled.keys().next().value : undefined;
    if (oldest !== undefined) compiled.delete(oldest);
    compiled.set(version, policy);
    return policy;
  };
  const judgeBy: NetworkGuard['judgeBy'] = async (tx, version) => {
    if (version === null) return () => ALLOWED;
    const policy = await policyOf(tx, version);
    return (subject) => judgeNetwork(policy, subject, geo);
  };
  return {
    judgeBy,
    judge: async (tx, subject) => (await judgeBy(tx, await policies.activeVersion(tx)))(subject),
  };
}
