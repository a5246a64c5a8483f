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
  /** An explicit list, e.g. the intersection an approval allows (rules 8.1). */
  | { readonly by: 'units'; readonly unitIds: readonly number[] };

export interface Requester {
  readonly actor: Actor;
  /** Set for people: their cumulative budget is counted (rules 8.1). Null for the system's own decisions. */
  readonly personId: number | null;
  /** The second person, after the operator room has verified both signatures over the request. */
  readonly approvedBy?: Actor;
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

export interface RestrictPreview {
  readonly units: number;
  readonly certificates: number;
  /** Sorted; what an approval binds. */
  readonly unitIds: readonly number[];
  /** True when this person needs a second one for it now. */
  readonly needsApproval: boolean;
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

  preview(selection: Selection, requester: Requester): Promise<RestrictPreview>;
  /** Certificates revoked for good; units selected as units become RETIRED only when asked by the registry, here SUSPENDED. */
  revoke(request: RestrictRequest): Promise<RestrictOutcome>;
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
   * The unit's own wish, signed by the certificate's key: that certificate is revoked, the others held, the unit SUSPENDED.
   *
   * @throws FemtoError CERT_REVOKED when it was revoked before
   */
  revokeByUnit(request: UnitRevocation): Promise<RestrictOutcome>;
  /** REV-5: the key is blocked for ever and every unexpired certificate with it revoked. A CA's own key is refused. */
  blockKey(request: Requester & { spkiHash: Buffer; note: string; source: string }): Promise<RestrictOutcome>;
  /** Rules 5.7: a certificate that chains to us and is not in the record is entered as revoked, keyed by issuer and serial. */
  revokeUnrecorded(
    tx: Transaction,
    certificate: { issuerId: number; serial: Buffer; notAfter: Date; spkiHash: Buffer },
    by: { actor: Actor; at: Date },
  ): Promise<boolean>;
  /** Counts `units` against the person's 24 h; throws APPROVAL_REQUIRED beyond 100 unless `approvedBy` is set. */
  checkRestrictionBudget(tx: Transaction, use: Requester & { units: number; what: string; at: Date }): Promise<void>;
}
