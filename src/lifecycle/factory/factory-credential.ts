import type { Transaction } from '../../platform/db/transaction.js';
import type { Actor } from '../model/index.js';

/** What a station or token may do, where, when and how often. Never good for operational certificates (FAC-1). */
export interface FactoryCredential {
  readonly id: number;
  readonly makerId: number;
  readonly batchId: number;
  readonly name: string;
  readonly site: string;
  readonly kind: 'mtls' | 'token';
  /** SHA-256 of the station's, or the token key's, canonical SPKI. */
  readonly spkiHash: Buffer;
  /** Tokens only. */
  readonly tokenSpkiDer: Buffer | null;
  /** `address/bits` each, at least one. */
  readonly cidrs: readonly string[];
  /** Hours of the day in UTC, from inclusive, to exclusive; from > to runs over midnight. */
  readonly hourFrom: number;
  readonly hourTo: number;
  readonly quota: number;
  readonly used: number;
  /** Proved uses from outside `cidrs`; five freeze it. */
  readonly violations: number;
  readonly state: 'active' | 'frozen' | 'revoked';
  readonly notBefore: Date;
  readonly expiresAt: Date;
}

export interface NewFactoryCredential {
  readonly name: string;
  readonly makerName: string;
  readonly batchName: string;
  readonly site: string;
  /** Either the approved station whose key it is bound to … */
  readonly stationName?: string;
  /** … or the public key (P-256, DER SPKI) that signs its tokens. */
  readonly tokenKeySpki?: Buffer;
  readonly cidrs: readonly string[];
  /** Default 0 and 24. */
  readonly hourFrom?: number;
  readonly hourTo?: number;
  /** Default and ceiling: units of the batch. */
  readonly quota?: number;
  /** Default 12, ceiling 168. */
  readonly lifeHours?: number;
  readonly actor: Actor;
}

/** Rows of `factory_credential`. */
export interface FactoryCredentialStore {
  find(tx: Transaction, by: { name: string } | { id: number }): Promise<FactoryCredential | null>;
  /** mTLS credentials of a station's key, newest first. */
  ofStation(tx: Transaction, spkiHash: Buffer): Promise<FactoryCredential[]>;
  list(tx: Transaction, filter: { makerId?: number; batchId?: number }): Promise<FactoryCredential[]>;
  /** Null when the name is taken. */
  add(
    tx: Transaction,
    credential: Omit<FactoryCredential, 'id' | 'used' | 'violations' | 'state'> & { createdBy: Actor },
  ): Promise<FactoryCredential | null>;
  revoke(tx: Transaction, credentialId: number): Promise<void>;
  /** Takes one of the quota; false when none is left or the credential is no longer active at `at`. */
  takeQuota(tx: Transaction, credentialId: number, at: Date): Promise<boolean>;
  /** Counts one more use from elsewhere; `frozenNow` when this was the one that froze it. */
  countViolation(
    tx: Transaction,
    credentialId: number,
    violationsMax: number,
  ): Promise<{ violations: number; frozenNow: boolean }>;
}
