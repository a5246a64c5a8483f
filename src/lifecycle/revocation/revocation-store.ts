import type { RowSource } from '../../platform/db/row-source.js';
import type { Transaction } from '../../platform/db/transaction.js';
import type { Actor, UnitState } from '../model/index.js';
import type { CertificateReference, CertificateSelection, UnitSelection } from './revocation.js';

export interface SelectedUnit {
  readonly id: number;
  readonly serialNumber: string;
  readonly state: UnitState;
  /** `file`: its private key may have been copied from the flash, whatever else is true. */
  readonly keyProtection: string;
  /** The maker's certificate's key, where a manifest named one. */
  readonly vendorSpkiHash: Buffer | null;
}

export interface KnownCertificate extends CertificateReference {
  readonly purpose: string;
  readonly spkiHash: Buffer;
}

/** What revocation asks of the database; everything else goes through registry and status. */
export interface RevocationStore {
  /**
   * Units a selection names, ids ascending.
   *
   * @param within  only those among these serial numbers
   */
  unitIds(tx: Transaction, selection: UnitSelection, within?: readonly string[]): Promise<number[]>;
  /** Null: none of that name; more than one maker has it: their names. */
  batchesNamed(tx: Transaction, name: string): Promise<{ id: number; maker: string }[]>;
  factoryCredentialNamed(tx: Transaction, name: string): Promise<number | null>;
  /** Locked in id order against state changes and issuance records until the transaction ends. */
  lockUnits(tx: Transaction, unitIds: readonly number[]): Promise<SelectedUnit[]>;
  /**
   * Everything of these units that could still be used after `at`: unexpired certificates, an expired head or head − 1 that
   * might renew, and serials being signed right now.
   */
  certificatesOfUnits(tx: Transaction, unitIds: readonly number[], at: Date): Promise<KnownCertificate[]>;
  /** The same as rows for another store: issuer_id, serial, not_after, unit_id, spki_hash, subject. */
  usableOfUnits(unitIds: readonly number[], at: Date): RowSource;
  /** As above, by key, by lineage or by serial. */
  certificatesBy(tx: Transaction, by: CertificateSelection, at: Date): Promise<KnownCertificate[]>;
  certificatesOfKeys(tx: Transaction, spkiHashes: readonly Buffer[], at: Date): Promise<KnownCertificate[]>;
  /** Issued certificates of a unit that are on hold now. */
  heldOf(tx: Transaction, unitId: number): Promise<CertificateReference[]>;
  /** Those of them that are on hold while their unit's own state holds nothing. */
  heldByThemselves(tx: Transaction, certificates: readonly CertificateReference[]): Promise<CertificateReference[]>;
  isRevoked(tx: Transaction, certificate: { issuerId: number; serial: Buffer }): Promise<boolean>;
  /** In the record of issued certificates or of intents. */
  isRecorded(tx: Transaction, certificate: { issuerId: number; serial: Buffer }): Promise<boolean>;
  /** Labels of our own CAs whose key is among these. */
  ownCasOfKeys(tx: Transaction, spkiHashes: readonly Buffer[]): Promise<string[]>;
  /** Hex of those that are blocked already. */
  blockedAmong(tx: Transaction, spkiHashes: readonly Buffer[]): Promise<ReadonlySet<string>>;
  /** Units whose maker's certificate has one of these keys. */
  unitsOfVendorKeys(tx: Transaction, spkiHashes: readonly Buffer[]): Promise<{ id: number; spkiHash: Buffer }[]>;
  /** By hex of the key: who brought it first, as `<kind> <name>`. Keys that nobody brought are left out. */
  firstOwners(tx: Transaction, spkiHashes: readonly Buffer[]): Promise<ReadonlyMap<string, string>>;
  /** Returns how many are new. Waits for whoever is claiming one of these keys at this moment. */
  blockKeys(
    tx: Transaction,
    keys: readonly Buffer[] | RowSource,
    why: { reason: string; source: string; at: Date },
  ): Promise<number>;
  /** Serial numbers of units, for ledger subjects. */
  serialNumbers(tx: Transaction, unitIds: readonly number[]): Promise<ReadonlyMap<number, string>>;
  /** Who reported a unit lost last; null when nobody did. */
  lastReporter(tx: Transaction, unitId: number): Promise<Actor | null>;
  /** Locks the person's count until the transaction ends and returns what was used since. */
  lockRestrictionUse(tx: Transaction, personId: number, since: Date): Promise<number>;
  addRestrictionUse(tx: Transaction, use: { personId: number; at: Date; units: number; what: string }): Promise<void>;
}

/** Keys that nobody may use again (REV-5), for rooms that were shown one. */
export interface BlockedKeyReader {
  isBlockedKey(tx: Transaction, spkiHash: Buffer): Promise<boolean>;
}
