import type { Transaction } from '../../platform/db/transaction.js';
import type { Issuer, IssuerKind } from '../model/index.js';

/** Our own CAs, cached; read again at most once a second when something unknown is asked for. */
export interface IssuerDirectory {
  all(): Promise<readonly Issuer[]>;
  byId(issuerId: number): Promise<Issuer | null>;
  /** Active ones of a kind, lowest id first. */
  byKind(kind: IssuerKind): Promise<readonly Issuer[]>;
  /**
   * The CA of ours whose exact key signed this certificate: found by authorityKeyIdentifier, proved by its signature. A
   * name or an identifier alone proves nothing (rules 1.2). Null for every other certificate.
   */
  bySpkiOrSignature(certificate: { readonly der: Buffer }): Promise<Issuer | null>;
  /** Forget what is cached, e.g. after a ceremony. */
  refresh(): Promise<void>;
}

/** What the directory asks of the database. */
export interface IssuerReader {
  readIssuers(tx: Transaction): Promise<Issuer[]>;
}
