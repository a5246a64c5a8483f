import type { Clock } from '../../platform/clock.js';
import type { Transactor } from '../../platform/db/transaction.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import type { Lineages } from '../lineage/index.js';
import type { Issuer } from '../model/index.js';
import type { IssuerDirectory, NetworkGuard, Registry, Relocations } from '../registry/index.js';
import type { Revocation } from '../revocation/index.js';
import type { AskingGateway, AuthoriseRequest, DecisionStore } from './decision.js';
import type { AdmissionReader, ShownCertificate } from './facts.js';

export interface AdmissionDeps {
  readonly db: Transactor;
  readonly clock: Clock;
  readonly issuers: IssuerDirectory;
  readonly registry: Registry;
  readonly lineages: Lineages;
  readonly revocation: Revocation;
  readonly network: NetworkGuard;
  readonly relocations: Pick<Relocations, 'spend'>;
  readonly reader: AdmissionReader;
  readonly decisions: DecisionStore;
  readonly ledger: Ledger;
  /** Told when an alarm of strangers opens; its members join without a word. */
  readonly alarm: (what: string, facts: Readonly<Record<string, unknown>>) => void;
  /** Told why the record could not be asked: the caller hears RETRY_LATER and no more. */
  readonly onTrouble: (error: unknown) => void;
}

/** A request, read. */
export interface Asked {
  readonly gateway: AskingGateway;
  readonly request: AuthoriseRequest;
  readonly shown: ShownCertificate;
  /** Canonical. */
  readonly address: string;
  readonly now: Date;
  /** Named by a certificate that was not read whole, and then only the record proves it; else proved by its signature. */
  readonly issuer: Issuer | null;
  /** Where that is a Device CA of ours. */
  readonly issuerId: number | null;
}
