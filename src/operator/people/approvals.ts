import { createHash, createPublicKey, verify } from 'node:crypto';
import type { Clock } from '../../platform/clock.js';
import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Approval, ApprovalStore, Person, PersonStore } from './person.js';

/**
 * Four eyes, by signatures: a row that says "approved" proves nothing, because whoever writes rows could write it. The
 * executor verifies both people's signatures over the hash of the exact request, each made with a key the person holds
 * (rules 8.1).
 */
export interface ApprovalDeps {
  readonly approvals: ApprovalStore;
  readonly people: PersonStore;
  readonly clock: Clock;
}

/** An approval lives 24 h: a selection that was right yesterday may not be right tomorrow. */
export const APPROVAL_LIFE_MS = 24 * 3600_000;

export interface DangerousAct {
  /** e.g. `unit.release`, `revoke.bulk`, `grant.live-head`. */
  readonly kind: string;
  /** Plain JSON; a selection is a sorted list of ids. */
  readonly request: Readonly<Record<string, unknown>>;
  readonly selectionCount: number;
}

/** JSON with sorted keys: the same act always has the same hash, whoever wrote the object. */
export function canonicalRequest(act: DangerousAct): string {
  return JSON.stringify({ kind: act.kind, request: sortKeys(act.request), selectionCount: act.selectionCount });
}

export function requestHash(act: DangerousAct): Buffer {
  return createHash('sha256').update(canonicalRequest(act)).digest();
}

/** The bytes a person signs; requester and approver sign different texts, so that one signature cannot serve as both. */
export function textToSign(hash: Buffer, as: 'requester' | 'approver'): Buffer {
  return Buffer.from(`femtopki-approval-v1\n${hash.toString('hex')}\n${as}\n`);
}

/** Records a request. @throws DENIED when the signature is not the requester's. */
export async function requestApproval(
  deps: ApprovalDeps,
  by: Person,
  act: DangerousAct,
  signature: Buffer,
): Promise<Approval> {
  const hash = requestHash(act);
  checkSignature(by, textToSign(hash, 'requester'), signature);
  const createdAt = deps.clock.now();
  return await deps.approvals.add({
    kind: act.kind,
    request: canonicalRequest(act),
    requestHash: hash,
    selectionCount: act.selectionCount,
    requestedBy: by.id,
    requestSignature: signature,
    createdAt,
    expiresAt: new Date(createdAt.getTime() + APPROVAL_LIFE_MS),
  });
}

/** @throws DENIED for one's own request, a role that may not approve, or a wrong signature; STATE_CONFLICT when it is too late. */
export async function approve(deps: ApprovalDeps, by: Person, id: number, signature: Buffer): Promise<Approval> {
  const approval = await deps.approvals.byId(id);
  if (!approval) throw new FemtoError('NOT_FOUND', `No approval request ${id}; list them with femtopki approval list.`);
  if (by.role !== 'approver') throw new FemtoError('DENIED', 'Only a person with the role approver may approve.');
  if (approval.requestedBy === by.id)
    throw new FemtoError('DENIED', 'Nobody approves their own request; ask a second person.');
  checkSignature(by, textToSign(approval.requestHash, 'approver'), signature);
  const now = deps.clock.now();
  if (now > approval.expiresAt || !(await deps.approvals.approve(id, by.id, signature, now))) {
    throw new FemtoError('STATE_CONFLICT', `Request ${id} is ${approval.state} or older than 24 h; make it again.`);
  }
  return { ...approval, approvedBy: by.id, approvalSignature: signature, state: 'approved' };
}

/**
 * Checks, inside the executing transaction, that two people signed exactly this act, and spends the approval.
 *
 * @returns the names of both, for the ledger
 * @throws APPROVAL_REQUIRED with what to do when `approvalId` is absent or does not fit; DENIED for a bad signature
 */
export async function spendApproval(
  deps: ApprovalDeps,
  tx: Transaction,
  act: DangerousAct,
  approvalId: number | undefined,
): Promise<{ requestedBy: string; approvedBy: string }> {
  const hash = requestHash(act);
  const approval = approvalId === undefined ? null : await deps.approvals.byId(approvalId);
  if (!approval?.requestHash.equals(hash) || approval.state !== 'approved') {
    throw new FemtoError(
      'APPROVAL_REQUIRED',
      'This act needs a second person: ask with `femtopki approval request`, then repeat with --approval.',
      {
        facts: { kind: act.kind, requestHash: hash.toString('hex') },
      },
    );
  }
  const now = deps.clock.now();
  if (now > approval.expiresAt) throw new FemtoError('STATE_CONFLICT', 'The approval is older than 24 h; ask again.');
  const requester = await deps.people.byId(approval.requestedBy);
  const approver = approval.approvedBy === null ? null : await deps.people.byId(approval.approvedBy);
  if (
    !requester ||
    !approver ||
    requester.id === approver.id ||
    approver.role !== 'approver' ||
    !approval.approvalSignature
  ) {
    throw new FemtoError('DENIED', 'The approval does not name two people who may give it.');
  }
  checkSignature(requester, textToSign(hash, 'requester'), approval.requestSignature);
  checkSignature(approver, textToSign(hash, 'approver'), approval.approvalSignature);
  if (!(await deps.approvals.markExecuted(tx, approval.id, now))) {
    throw new FemtoError('STATE_CONFLICT', 'The approval was used already; ask again.');
  }
  return { requestedBy: requester.name, approvedBy: approver.name };
}

function checkSignature(person: Person, text: Buffer, signature: Buffer): void {
  const key = person.publicKeySpki && createPublicKey({ key: person.publicKeySpki, format: 'der', type: 'spki' });
  if (person.state !== 'active' || !key || !verify('sha256', text, key, signature)) {
    throw new FemtoError('DENIED', `The signature is not ${person.name}’s; sign in first or use that person’s key.`);
  }
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, sortKeys(inner)]),
  );
}
