import { createHmac } from 'node:crypto';
import type { Transaction } from '../../platform/db/transaction.js';
import type { Actor, Unit } from '../model/index.js';

/**
 * Leave to ask for one unit's bootstrap certificate with a shared secret over CMP, once (rules 3.2). For units of a model
 * that can do nothing better, and never for anything but a bootstrap certificate.
 */
export interface MacSecret {
  /** 128 random bits, base64url: what the client sends as senderKID. No secret. */
  readonly reference: string;
  readonly unitId: number;
  readonly state: 'open' | 'spent' | 'withdrawn';
  readonly createdBy: Actor;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly spentAt: Date | null;
}

/** As a person hands it to the unit; shown once. */
export interface NewMacSecret {
  readonly reference: string;
  /** 43 characters, 256 bits: what the client takes as its password. */
  readonly secret: string;
  readonly expiresAt: Date;
}

/** Rows of `mac_secret`: the secrets themselves are in no database. */
export interface MacSecretStore {
  find(tx: Transaction, reference: string): Promise<MacSecret | null>;
  /** A unit has one open secret: an earlier one is withdrawn. */
  open(tx: Transaction, secret: Omit<MacSecret, 'state' | 'spentAt'>): Promise<void>;
  /** False when it was withdrawn, is over, or was spent since `spentBefore`. */
  spend(tx: Transaction, spending: { reference: string; at: Date; spentBefore: Date }): Promise<boolean>;
}

export interface UsableMacSecret {
  /** The text of {@link NewMacSecret.secret}, as the MAC's algorithm takes it. */
  readonly secret: Buffer;
  readonly unit: Unit;
}

/** As long as CMP keeps its answers: the unit's confirmation and its repeats are MACed too. */
const SPENT_KNOWN_MS = 24 * 3_600_000;

/** Does the secret still prove anything at `at`? A spent one gets its own certificate again, and nothing else. */
export function isUsable({ state, expiresAt, spentAt }: MacSecret, at: Date): boolean {
  if (state === 'open') return at < expiresAt;
  return state === 'spent' && spentAt !== null && at.getTime() < spentAt.getTime() + SPENT_KNOWN_MS;
}

/**
 * The secret of a reference: whoever holds the key file can make it again, and whoever reads the database cannot.
 *
 * @param key  32 bytes that the servers share; see sharedKeyFile
 */
export function secretOf(key: Buffer, reference: string): string {
  return createHmac('sha256', key).update(DERIVATION).update(reference).digest('base64url');
}

const DERIVATION = 'femtopki-cmp-mac-v1';
export const REFERENCE_BYTES = 16;
export const REFERENCE = /^[A-Za-z0-9_-]{22}$/;
