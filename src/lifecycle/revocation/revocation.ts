import type { Transaction } from '../../platform/db/transaction.js';
import type { Actor, RevocationReason, UnitState } from '../model/index.js';

/** A certificate by value. `unitId` null: bootstrap of nobody, services, or not in the record. */
export interface CertificateReference {
  readonly issuerId: number;
  /** 16 octets. */
  readonly serial: Buffer;
  readonly notAfter: Date;
  readonly unitId: number | null;
}

export interface StatusChange {
  readonly state: 'revoked' | 'held' | 'released';
  /** Written into the CRL entry; held is always certificateHold, whatever is said here. */
  readonly reason: RevocationReason;
  readonly actor: Actor;
  readonly at: Date;
  /** For people; goes to the ledger, never to a relying party. */
  readonly note?: string;
  /**
   * Raises the units' epoch, which voids every issuance that began before. Default: true, but false for a release and for
   * reason `superseded`, where the successor is in flight. The reconciler, revoking one abandoned serial, says false.
   */
  readonly voidsInFlight?: boolean;
}

/** What shall stop being trusted. Everything is resolved inside the transaction that acts. */
export type Selection =
  | { readonly by: 'unit'; readonly unitId: number }
  | { readonly by: 'certificate'; readonly issuerId: number; readonly serial: Buffer }
  /** SHA-256 of the canonical SubjectPublicKeyInfo. */
  | { readonly by: 'key'; readonly spkiHash: Buffer }
  | { readonly by: 'lineage'; readonly lineageId: number }
  | { readonly by: 'batch'; readonly batchId: number }
  | { readonly by: 'model'; readonly model: string; readonly firmwareSha256?: string }
  | { readonly by: 'factory-credential'; readonly credentialId: number }
  /** Exact serial numbers. */
  | { readonly by: 'serial-numbers'; readonly serialNumbers: readonly string[] }
  /** An explicit list, e.g. what is left of the list that people signed (rules 8.1). */
  | { readonly by: 'units'; readonly unitIds: readonly number[] };

/** A few certificates, whatever their units are. */
export type CertificateSelection = Extract<Selection, { by: 'certificate' | 'key' | 'lineage' }>;
export type UnitSelection = Exclude<Selection, CertificateSelection>;

export function isOfCertificates(selection: Selection): selection is CertificateSelection {
  return selection.by === 'certificate' || selection.by === 'key' || selection.by === 'lineage';
}

/** What one key was found in when it was blocked. */
export interface BlockedKey {
  readonly spkiHash: Buffer;
  /** False: somebody blocked it before. */
  readonly isNew: boolean;
  readonly certificates: number;
  /** Serial numbers of the units that hold it: by a certificate of ours, or by their maker's. */
  readonly units: readonly string[];
  /** Who brought the key first, ever: `vendor 00005e….femto.example`, `operational …`; null when nobody did. */
  readonly firstOwner: string | null;
}

export interface Requester {
  readonly actor: Actor;
  /** Set for people: their cumulative budget is counted (rules 8.1). Null for the system's own decisions. */
  readonly personId: number | null;
  /**
   * The second person, after the operator room has verified both signatures over the request. As a function it is called
   * once, in the transaction that acts: what it spends is spent exactly when the act commits.
   */
  readonly approvedBy?: Actor | ((tx: Transaction) => Promise<Actor>);
}

export interface RestrictRequest extends Requester {
  readonly selection: Selection;
  readonly reason: RevocationReason;
  /** For people; at most 500 characters, no subscriber data. */
  readonly note: string;
  /** Reference to what was believed: case, ledger position, document. */
  readonly evidence?: string;
}

export interface UnitRevocation {
  readonly unit: { readonly id: number };
  readonly certificate: {
    readonly issuerId: number;
    readonly serial: Buffer;
    readonly notAfter: Date;
    readonly spkiHash: Buffer;
  };
  /** What a unit may say of itself (rules 4); keyCompromise blocks the key, too. */
  readonly reason: 'unspecified' | 'keyCompromise' | 'superseded' | 'cessationOfOperation';
  readonly actor: Actor;
  readonly note: string;
}

export interface ReleaseRequest extends Requester {
  readonly unitId: number;
  readonly note: string;
  readonly evidence?: string;
  /** LOST or QUARANTINED: the bootstrap key is replaced at the depot too. Always so for units whose key lies in a file. */
  readonly replaceBootstrap?: boolean;
  /** The state that the second person saw: another one by now is another act. */
  readonly approvedState?: UnitState;
}

export interface RestrictOutcome {
  /** Units whose state or certificates changed now; a repeat finds none. */
  readonly units: number;
  readonly certificates: number;
  readonly blockedKeys: number;
}

/**
 * A certificate, key, unit, lineage, batch stops being trusted, or a hold ends. Every call is one transaction: unit rows are
 * locked first and their revocation epoch is raised, so whatever is being signed for them meanwhile is refused at its
 * record (T2); status rows with the ready CRL entry, `crl_dirty`, ledger entries and the NOTIFY `femtopki_status` are in
 * the same commit. Repeating a call changes nothing and reports zero.
 *
 * @throws FemtoError NOT_FOUND; APPROVAL_REQUIRED (more than 100 units a person in 24 h without `approvedBy`, or a release
 *   without one); STATE_CONFLICT with the current state
 */
export interface Revocation {
  /** For other rooms inside their own transaction. Returns how many certificates changed. */
  setStatus(tx: Transaction, certificates: readonly CertificateReference[], change: StatusChange): Promise<number>;
  /** All unexpired certificates of a unit (operational and bootstrap) to `change.state`; raises its epoch. */
  setUnitStatus(tx: Transaction, unitIds: readonly number[], change: StatusChange): Promise<number>;

  /** Certificates revoked for good; units selected as units become SUSPENDED. keyCompromise blocks their keys, too. */
  revoke(request: RestrictRequest): Promise<RestrictOutcome>;
  /** Revoked with cessationOfOperation and RETIRED, for ever. @throws FemtoError STATE_CONFLICT when it is RETIRED */
  retire(request: Omit<RestrictRequest, 'selection' | 'reason'> & { unitId: number }): Promise<RestrictOutcome>;
  /** certificateHold; units become SUSPENDED. */
  hold(request: RestrictRequest): Promise<RestrictOutcome>;
  /** Hold with state QUARANTINED inside the caller's transaction: a hard fork, contested claim, detection. */
  quarantine(
    tx: Transaction,
    request: { unitId: number; actor: Actor; note: string; evidence?: string; at: Date },
  ): Promise<RestrictOutcome>;
  /**
   * LOST: denied at once, every unexpired certificate held, issuances in flight void.
   * Finding it again is {@link release}: another person must approve than the one who reported.
   */
  reportLost(request: Omit<RestrictRequest, 'selection' | 'reason'> & { unitId: number }): Promise<RestrictOutcome>;
  /**
   * SUSPENDED: held certificates are good again and the unit is back in `to` (ACTIVE when it has an open lineage). LOST
   * and QUARANTINED: every certificate of the lineage is revoked, its keys blocked, the lineage closed, and the unit is
   * BOOTSTRAPPED: only a new activation brings it back (rules 4).
   */
  release(request: ReleaseRequest): Promise<RestrictOutcome & { readonly state: UnitState }>;
  /**
   * Holds on certificates that were held by themselves end; a unit's own hold, loss or quarantine does not. Two people.
   *
   * @throws FemtoError NOT_FOUND; STATE_CONFLICT when none of them is held by itself
   */
  releaseCertificates(request: Requester & { selection: CertificateSelection; note: string }): Promise<RestrictOutcome>;
  /**
   * The unit's own wish, signed by the certificate's key: that certificate is revoked, the others held, the unit SUSPENDED.
   *
   * @throws FemtoError CERT_REVOKED when it was revoked before
   */
  revokeByUnit(request: UnitRevocation): Promise<RestrictOutcome>;
  /**
   * REV-5: the keys are blocked for ever, and every unexpired certificate with one of them is revoked as keyCompromise.
   * Their units are SUSPENDED and whatever else they hold is on hold, as after a unit's own keyCompromise: what gave one
   * key away may have touched the others. One transaction.
   *
   * @param request.spkiHashes  at most {@link KEYS_AT_ONCE_MAX}
   * @throws FemtoError DENIED for a key of our own CAs; APPROVAL_REQUIRED
   */
  blockKeys(
    request: Requester & { spkiHashes: readonly Buffer[]; note: string; source: string },
  ): Promise<RestrictOutcome & { readonly keys: readonly BlockedKey[] }>;
  /** Rules 5.7: a certificate that chains to us and is not in the record is entered as revoked, keyed by issuer and serial. */
  revokeUnrecorded(
    tx: Transaction,
    certificate: { issuerId: number; serial: Buffer; notAfter: Date; spkiHash: Buffer },
    by: { actor: Actor; at: Date },
  ): Promise<boolean>;
  /** Counts `units` against the person's 24 h; throws APPROVAL_REQUIRED beyond 100 unless `approvedBy` is set. */
  checkRestrictionBudget(
    tx: Transaction,
    use: Omit<Requester, 'approvedBy'> & { approvedBy?: Actor; units: number; what: string; at: Date },
  ): Promise<void>;
}
