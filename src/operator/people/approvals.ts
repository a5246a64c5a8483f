import { createHash, createPublicKey, randomBytes, verify } from 'node:crypto';
import type { Clock } from '../../platform/clock.js';
import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
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
  readonly ledger: Ledger;
}

/** An approval lives 24 h: a selection that was right yesterday may not be right tomorrow. */
export const APPROVAL_LIFE_MS = 24 * 3600_000;

export interface DangerousAct {
  /** e.g. `unit.release`, `revoke.bulk`, `grant.live-head`. */
  readonly kind: string;
  /** Plain JSON; a selection is a sorted list of ids. */
  readonly request: Readonly<Record<string, unknown>>;
  readonly selectionCount: number;
  /**
   * 32 hex digits of the requester's own: makes the same act, meant again, another text. What was carried out once is
   * never carried out again, so without it an act can be approved once in the life of the installation.
   */
  readonly nonce?: string;
  /** ISO 8601, at most 24 h ahead. Signed, so that no row can lengthen it. */
  readonly until?: string;
}

/** JSON with sorted keys: the same act always has the same hash, whoever wrote the object. */
export function canonicalRequest({ kind, request, selectionCount, nonce, until }: DangerousAct): string {
  return JSON.stringify({ kind, request: sortKeys(request), selectionCount, nonce, until });
}

/** Nonce and end for a new request; the CLI and the browser put them into what is signed. */
export function freshness(now: Date): { readonly nonce: string; readonly until: string } {
  return { nonce: randomBytes(16).toString('hex'), until: new Date(now.getTime() + APPROVAL_LIFE_MS).toISOString() };
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
  checkUntil(act, createdAt);
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
 * Checks, inside the executing transaction, that two people signed exactly this act, and spends the approval: it is spent
 * if and only if the act commits, and a text is carried out once, whatever rows say later.
 *
 * @param act  without nonce and end, which are in the signed text
 * @returns the names of both, for the ledger
 * @throws APPROVAL_REQUIRED with what to do when `approvalId` is absent or does not fit; DENIED for a bad signature
 */
export async function spendApproval(
  deps: ApprovalDeps,
  tx: Transaction,
  act: DangerousAct,
  approvalId: number | undefined,
): Promise<{ requestedBy: string; approvedBy: string }> {
  const approval = approvalId === undefined ? null : await deps.approvals.byId(approvalId);
  const signed = approval === null ? null : signedAct(approval);
  const isThisAct =
    signed !== null && canonicalRequest({ ...act, ...freshnessOf(signed) }) === canonicalRequest(signed);
  if (approval === null || !isThisAct || approval.state !== 'approved') {
    throw new FemtoError(
      'APPROVAL_REQUIRED',
      'This act needs a second person: ask with `femtopki approval request`, then repeat with --approval.',
      { facts: { kind: act.kind, requestHash: requestHash(act).toString('hex') } },
    );
  }
  const names = await twoSigners(deps, approval);
  await markSpent(deps, tx, approval, names);
  return names;
}

/** Spends an approval whose signatures were verified, in the transaction that acts. @throws STATE_CONFLICT when it was spent */
export async function markSpent(
  deps: ApprovalDeps,
  tx: Transaction,
  approval: Approval,
  names: { requestedBy: string; approvedBy: string },
): Promise<void> {
  const at = deps.clock.now();
  if (!(await deps.approvals.markExecuted(tx, approval, at))) {
    throw new FemtoError('STATE_CONFLICT', 'The approval was used already; ask again.');
  }
  const { id, kind } = approval;
  const body = { approvalId: id, kind, requestSha256: approval.requestHash, ...names };
  await deps.ledger.append(tx, [{ kind: 'approval.spent', subject: `approval:${id}`, at, body }]);
}

/**
 * Both signatures over the text of an approval, by two people who may give them, in time.
 *
 * @throws DENIED; STATE_CONFLICT when it is too old
 */
export async function twoSigners(
  deps: Pick<ApprovalDeps, 'people' | 'clock'>,
  approval: Approval,
): Promise<{ requestedBy: string; approvedBy: string }> {
  const now = deps.clock.now();
  if (now > approval.expiresAt) throw new FemtoError('STATE_CONFLICT', 'The approval is older than 24 h; ask again.');
  checkUntil(signedAct(approval), now);
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
  checkSignature(requester, textToSign(approval.requestHash, 'requester'), approval.requestSignature);
  checkSignature(approver, textToSign(approval.requestHash, 'approver'), approval.approvalSignature);
  return { requestedBy: requester.name, approvedBy: approver.name };
}

/** The act in a stored text, once the text is what was hashed. @throws DENIED when a row was changed */
export function signedAct({ request, requestHash: hash }: Pick<Approval, 'request' | 'requestHash'>): DangerousAct {
  if (!createHash('sha256').update(request).digest().equals(hash)) {
    throw new FemtoError('DENIED', 'The stored request is not the one that was signed; check the database.');
  }
  return JSON.parse(request) as DangerousAct;
}

/** @throws BAD_REQUEST when it lies too far ahead; STATE_CONFLICT when it is past */
export function checkUntil({ until }: DangerousAct, now: Date): void {
  if (until === undefined) return;
  const ms = Date.parse(until) - now.getTime();
  if (ms > APPROVAL_LIFE_MS + CLOCK_DIFFERENCE_MS) {
    throw new FemtoError('BAD_REQUEST', 'A request ends within 24 h; set the clock of this machine.');
  }
  if (!(ms > 0)) throw new FemtoError('STATE_CONFLICT', 'The request has ended; make it again.');
}

function freshnessOf({ nonce, until }: DangerousAct): Pick<DangerousAct, 'nonce' | 'until'> {
  return { ...(nonce === undefined ? {} : { nonce }), ...(until === undefined ? {} : { until }) };
}

export function checkSignature(person: Person, text: Buffer, signature: Buffer): void {
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

/** The person's own machine may be ahead of ours. */
const CLOCK_DIFFERENCE_MS = 5 * 60_000;
