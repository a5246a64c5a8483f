import type { Transaction } from '../../platform/db/transaction.js';
import type { Certificate } from '../../x509/certificate.js';
import type { CertificateHead } from '../../x509/certificate-head.js';
import type { PlacedSlot } from '../lineage/index.js';
import type { UnitState } from '../model/index.js';
import type { ResolvedLine } from '../registry/index.js';
import type { LedgerPosition } from './decision.js';

/**
 * A certificate as it was shown. One that names a CA of ours is looked up by its front: where the record holds these very
 * bytes, they were read whole before they were issued.
 */
export interface ShownCertificate extends CertificateHead {
  readonly der: Buffer;
  /** SHA-256 of `der`, lower-case hex. */
  readonly fingerprint: string;
  /** Read whole; null while the record has not been asked. */
  readonly whole: Certificate | null;
}

/** What the record is asked about one certificate at one address. */
export interface FactsAsked {
  /** The Device CA that the certificate names; null for anybody else's: then only the address is asked. */
  readonly issuerId: number | null;
  readonly shown: ShownCertificate;
  /** Canonical. */
  readonly address: string;
}

/** What the record says, read at one instant for all that were asked together. */
export interface FactsPage {
  /** One for each that was asked, in their order. */
  readonly known: readonly KnownFacts[];
  readonly position: LedgerPosition;
  /** Active network policy; null where there is none. */
  readonly policyVersion: number | null;
  /** Age of the primary's last pulse; null before the first. */
  readonly stateAgeMs: number | null;
}

export interface KnownFacts {
  /** A certificate with this issuer, serial and end is on record. */
  readonly serialKnown: boolean;
  /** It is this one, byte by byte: then the issuer's exact key signed it, which issuance checked before it was recorded. */
  readonly recorded: boolean;
  readonly status: 'good' | 'held' | 'revoked';
  readonly keyBlocked: boolean;
  readonly unit: KnownUnit | null;
  readonly slot: KnownSlot | null;
  readonly line: ResolvedLine | null;
}

export interface KnownUnit {
  readonly id: number;
  readonly serialNumber: string;
  readonly fqdn: string;
  readonly state: UnitState;
  readonly model: string;
  readonly batch: string;
  /** Its own line, and that line's region. */
  readonly lineId: number | null;
  readonly region: string | null;
  readonly cell: string | null;
  readonly lastContactAt: Date | null;
  /** There is an open, unexpired order for it to move to the line of the address. */
  readonly mayMove: boolean;
}

export interface KnownSlot extends PlacedSlot {
  readonly lineageId: number;
  readonly lineageState: 'open' | 'quarantined' | 'closed';
  /** The lineage has others of this generation or newer: then all of it must be looked at. */
  readonly hasOthers: boolean;
  readonly lastUsedAt: Date | null;
  /** Authoritative line of its confirm or last use. */
  readonly lineId: number | null;
}

/** What admission reads of records that other rooms own. */
export interface AdmissionReader {
  facts(tx: Transaction, asked: readonly FactsAsked[], at: Date): Promise<FactsPage>;
}
