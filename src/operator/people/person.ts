import type { Transaction } from '../../platform/db/transaction.js';

export const PERSON_ROLES = ['operator', 'approver', 'auditor', 'maker-admin'] as const;
export type PersonRole = (typeof PERSON_ROLES)[number];

/** Somebody who decides. Their own key signs what needs two people; no password exists. */
export interface Person {
  readonly id: number;
  readonly name: string;
  readonly role: PersonRole;
  readonly makerId: number | null;
  readonly state: 'invited' | 'active' | 'disabled';
  /** SubjectPublicKeyInfo of the key that signs their requests and approvals; null until the first sign-in. */
  readonly publicKeySpki: Buffer | null;
}

export interface PersonStore {
  byName(name: string): Promise<Person | null>;
  byId(id: number): Promise<Person | null>;
  /** The person behind an unexpired, unspent token of this purpose; the hash is SHA-256 of the token's text. */
  byToken(tokenHash: Buffer, purpose: 'cli' | 'session', now: Date): Promise<Person | null>;
  add(person: { name: string; role: PersonRole; makerId: number | null; at: Date }): Promise<Person>;
  addToken(token: {
    hash: Buffer;
    personId: number;
    purpose: 'cli' | 'sign-in-link' | 'session';
    createdAt: Date;
    expiresAt: Date;
  }): Promise<void>;
  /** Spends a sign-in link once; null when it is unknown, spent or expired. */
  spendLink(tokenHash: Buffer, now: Date): Promise<Person | null>;
  /** The first key stays: a second one needs the person to be invited anew. False when one is there already. */
  setFirstKey(personId: number, publicKeySpki: Buffer): Promise<boolean>;
}

/** A dangerous act asked for by one person and released by another (rules 8.1). */
export interface Approval {
  readonly id: number;
  readonly kind: string;
  /** Canonical JSON of the act: what is signed is its hash. */
  readonly request: string;
  readonly requestHash: Buffer;
  readonly selectionCount: number;
  readonly requestedBy: number;
  readonly requestSignature: Buffer;
  readonly approvedBy: number | null;
  readonly approvalSignature: Buffer | null;
  readonly state: 'open' | 'approved' | 'executed' | 'expired' | 'withdrawn';
  readonly createdAt: Date;
  readonly expiresAt: Date;
}

export interface ApprovalStore {
  add(approval: Omit<Approval, 'id' | 'approvedBy' | 'approvalSignature' | 'state'>): Promise<Approval>;
  byId(id: number): Promise<Approval | null>;
  list(state?: Approval['state']): Promise<Approval[]>;
  /** False when somebody was quicker or it is no longer open. */
  approve(id: number, by: number, signature: Buffer, now: Date): Promise<boolean>;
  /** Inside the executing transaction; false when it, or another approval of the same text, was executed already. */
  markExecuted(tx: Transaction, approval: Pick<Approval, 'id' | 'requestHash'>, now: Date): Promise<boolean>;
}
