import type { Transaction } from '../../platform/db/transaction.js';
import type { Actor, Issuer } from '../model/index.js';

/** A CA or root with what a rollover asks about it. */
export interface CaRow extends Pick<Issuer, 'id' | 'label' | 'kind' | 'state' | 'certificateDer' | 'notAfter'> {
  /** Of the CA that signed it; null for a root. */
  readonly parentLabel: string | null;
  readonly activatedAt: Date | null;
  /** When it stopped issuing. */
  readonly closedAt: Date | null;
  /** Label of the root before it; null for CAs and for first roots. */
  readonly predecessorLabel: string | null;
  /** Of its newest OCSP signer certificate; null where there is none. */
  readonly ocspSignerNotAfter: Date | null;
  /** Of its newest CRL; null before the first. */
  readonly crlNextUpdate: Date | null;
}

export interface AnchorAck {
  readonly gatewayId: number;
  readonly issuerId: number;
  readonly by: Actor;
  readonly at: Date;
}

/** Rows of `issuer` and `gateway_anchor` as a rollover moves them. */
export interface CaStore {
  /** Lowest id first. */
  cas(tx: Transaction): Promise<CaRow[]>;
  /** Locks the row until the transaction ends. */
  lockCa(tx: Transaction, label: string): Promise<CaRow | null>;
  setState(tx: Transaction, issuerId: number, state: Issuer['state'], at: Date): Promise<void>;
  /** End of the last certificate, revoked serial or open intent of this CA that has not ended at `now`. */
  lastNotAfter(tx: Transaction, issuerId: number, now: Date): Promise<Date | null>;
  /** Names of approved gateways that have not acknowledged it, in order. */
  gatewaysWithout(tx: Transaction, issuerId: number): Promise<string[]>;
  /** False when it was on record. */
  acknowledge(tx: Transaction, ack: AnchorAck): Promise<boolean>;
}
