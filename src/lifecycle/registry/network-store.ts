import type { Transaction } from '../../platform/db/transaction.js';
import type { Actor } from '../model/index.js';
import type { NetworkSubject } from './judge-network.js';
import type { NetworkPolicyDocument } from './network-rule.js';

export interface NetworkPolicyVersion {
  readonly version: number;
  readonly state: 'proposed' | 'active' | 'retired';
  readonly document: NetworkPolicyDocument;
  /** SHA-256 of the document's one form; what two people sign. */
  readonly documentSha256: Buffer;
  readonly ruleCount: number;
  /** The version that a rollback brought back. */
  readonly copiedFrom: number | null;
  readonly reason: string;
  readonly proposedBy: Actor;
  readonly proposedAt: Date;
  readonly activatedBy: Actor | null;
  readonly approvedBy: Actor | null;
  readonly activatedAt: Date | null;
  readonly retiredAt: Date | null;
}

export type UnitGroups = Pick<NetworkSubject, 'batch' | 'model' | 'region'>;

/** Rows of `network_policy`. A version's document never changes. */
export interface NetworkPolicyStore {
  add(
    tx: Transaction,
    version: Pick<
      NetworkPolicyVersion,
      'document' | 'documentSha256' | 'copiedFrom' | 'reason' | 'proposedBy' | 'proposedAt'
    >,
  ): Promise<NetworkPolicyVersion>;
  /** `lock`: nobody else activates a version until this transaction ends. */
  active(tx: Transaction, lock?: 'update'): Promise<NetworkPolicyVersion | null>;
  activeVersion(tx: Transaction): Promise<number | null>;
  /** What rules may name a unit by; `region` is that of its own line. */
  groupsOf(tx: Transaction, unitId: number): Promise<UnitGroups>;
  byVersion(tx: Transaction, version: number): Promise<NetworkPolicyVersion | null>;
  /** Newest first, without their documents. */
  list(tx: Transaction, limit: number): Promise<Omit<NetworkPolicyVersion, 'document'>[]>;
  /** active → retired, proposed → active. False when the version was not proposed any more. */
  activate(
    tx: Transaction,
    change: { version: number; activatedBy: Actor; approvedBy: Actor | null; at: Date },
  ): Promise<boolean>;
}
