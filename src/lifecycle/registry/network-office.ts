import { createHash } from 'node:crypto';
import type { Clock } from '../../platform/clock.js';
import type { Transaction, Transactor } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import type { Actor } from '../model/index.js';
import { dangerOf, type NetworkDanger } from './network-danger.js';
import { checkPolicyDocument, type NetworkPolicyDocument } from './network-rule.js';
import type { NetworkPolicyStore, NetworkPolicyVersion } from './network-store.js';

export interface NetworkOfficeDeps {
  readonly transactor: Transactor;
  readonly policies: NetworkPolicyStore;
  readonly ledger: Ledger;
  readonly clock: Clock;
}

/** Every change of the network policy is a new version that somebody proposed, and that stays (NET-1). */
export interface NetworkOffice {
  /**
   * Keeps a new version, which changes nothing yet. Ledger `network-policy.proposed`.
   *
   * @throws FemtoError BAD_REQUEST with every fault of the document
   */
  propose(proposal: { document: NetworkPolicyDocument; reason: string; actor: Actor }): Promise<NetworkPolicyVersion>;
  /** A new version with an old one's rules. @throws FemtoError NOT_FOUND */
  copy(proposal: { version: number; reason: string; actor: Actor }): Promise<NetworkPolicyVersion>;
  active(tx: Transaction): Promise<NetworkPolicyVersion | null>;
  /** @throws FemtoError NOT_FOUND */
  version(tx: Transaction, version: number): Promise<NetworkPolicyVersion>;
  list(tx: Transaction, limit: number): Promise<Omit<NetworkPolicyVersion, 'document'>[]>;
  /** What would happen if the version took the active one's place. @throws FemtoError NOT_FOUND */
  danger(tx: Transaction, version: number): Promise<NetworkDanger>;
  /**
   * Puts a proposed version in the active one's place, in the caller's transaction: from its commit on every decision
   * uses it. Ledger `network-policy.activated` with who and why. Asking for two people and for a typed phrase is the
   * caller's step before; here it is checked that somebody did.
   *
   * @param approvedBy  the second person; required where the version locks a group out or loosens
   * @throws FemtoError NOT_FOUND; APPROVAL_REQUIRED; STATE_CONFLICT when it was active before: copy it to bring it back
   */
  activate(
    tx: Transaction,
    change: { version: number; reason: string; actor: Actor; approvedBy: Actor | null },
  ): Promise<NetworkPolicyVersion>;
}

export function makeNetworkOffice(deps: NetworkOfficeDeps): NetworkOffice {
  const { transactor, policies } = deps;
  const version: NetworkOffice['version'] = async (tx, wanted) => {
    const row = await policies.byVersion(tx, wanted);
    if (row !== null) return row;
    throw new FemtoError(
      'NOT_FOUND',
      `There is no network policy ${wanted}; list them with femtopki network-policy list.`,
    );
  };
  const danger = async (tx: Transaction, to: NetworkPolicyVersion): Promise<NetworkDanger> =>
    dangerOf((await policies.active(tx))?.document ?? NO_RULES, to.document);
  return {
    propose: ({ document, reason, actor }) =>
      transactor.run((tx) => keep(deps, tx, { document, reason, actor, copiedFrom: null })),
    copy: (proposal) =>
      transactor.run(async (tx) => {
        const { document } = await version(tx, proposal.version);
        return await keep(deps, tx, { ...proposal, document, copiedFrom: proposal.version });
      }),
    active: (tx) => policies.active(tx),
    version,
    list: (tx, limit) => policies.list(tx, limit),
    danger: async (tx, wanted) => danger(tx, await version(tx, wanted)),
    activate: async (tx, change) => {
      const before = await policies.active(tx, 'update');
      const next = await version(tx, change.version);
      const { locksOut, loosens } = dangerOf(before?.document ?? NO_RULES, next.document);
      if ((locksOut.length > 0 || loosens) && change.approvedBy === null) {
        throw new FemtoError('APPROVAL_REQUIRED', 'This version locks a group out or loosens the policy: two people.');
      }
      const at = deps.clock.now();
      const { actor: activatedBy, approvedBy } = change;
      if (!(await policies.activate(tx, { version: next.version, activatedBy, approvedBy, at }))) {
        throw new FemtoError('STATE_CONFLICT', `Version ${next.version} was active already; roll back to it instead.`, {
          facts: { state: next.state },
        });
      }
      await deps.ledger.append(tx, [
        {
          kind: 'network-policy.activated',
          subject: subjectOf(next),
          at,
          body: {
            ...factsOf(next),
            from: before?.version ?? null,
            reason: change.reason,
            actor: activatedBy,
            approvedBy,
            locksOut,
            loosens,
          },
        },
      ]);
      return { ...next, state: 'active', activatedBy, approvedBy, activatedAt: at };
    },
  };
}

const NO_RULES: NetworkPolicyDocument = { rules: [] };

async function keep(
  { policies, ledger, clock }: NetworkOfficeDeps,
  tx: Transaction,
  proposal: { document: NetworkPolicyDocument; reason: string; actor: Actor; copiedFrom: number | null },
): Promise<NetworkPolicyVersion> {
  const { reason, actor, copiedFrom } = proposal;
  const document = checkPolicyDocument(proposal.document);
  const documentSha256 = createHash('sha256').update(JSON.stringify(document)).digest();
  const at = clock.now();
  const version = await policies.add(tx, {
    document,
    documentSha256,
    copiedFrom,
    reason,
    proposedBy: actor,
    proposedAt: at,
  });
  await ledger.append(tx, [
    {
      kind: 'network-policy.proposed',
      subject: subjectOf(version),
      at,
      body: { ...factsOf(version), copiedFrom, reason, actor },
    },
  ]);
  return version;
}

function subjectOf({ version }: NetworkPolicyVersion): string {
  return `network-policy:${version}`;
}

/** The rules stay in the version's row; the ledger holds what proves them. */
function factsOf({ version, ruleCount, documentSha256 }: NetworkPolicyVersion): Record<string, unknown> {
  return { version, ruleCount, documentSha256: documentSha256.toString('hex') };
}
