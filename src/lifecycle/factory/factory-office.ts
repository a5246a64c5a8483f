import type { KeyRequest } from '../../x509/key-request.js';
import type { Actor, CertificateRecord } from '../model/index.js';
import type { Batch } from '../registry/index.js';
import type { FactoryCredential, NewFactoryCredential } from './factory-credential.js';
import type { NewMacSecret, UsableMacSecret } from './mac-secret.js';
import type { ManifestReport } from './manifest.js';

/** What the factory room offers to the REST rim and to operators. Bound by `makeFactoryOffice`. */
export interface FactoryOffice {
  /**
   * Reads a maker-signed manifest and, unless it is a dry run, keeps it as a submitted batch. One fault refuses the whole
   * file (FAC-2).
   *
   * @param submission.jws  compact JWS, ES256 by the maker's manifest key, at most MANIFEST_BYTES_MAX
   * @returns the report; with faults only for a dry run
   * @throws FemtoError BAD_REQUEST with `facts.status` 422 and `facts.errors` naming rows; CREDENTIAL_FROZEN (maker frozen)
   */
  submitManifest(submission: { jws: string; dryRun: boolean; actor?: Actor }): Promise<ManifestReport>;
  /**
   * Enters the units of a submitted batch as MANIFESTED, or BOOTSTRAPPED where a row names a vendor certificate's key.
   *
   * @throws FemtoError NOT_FOUND; STATE_CONFLICT not submitted, or a row is taken meanwhile
   */
  acceptManifest(request: { batchId: number; actor: Actor }): Promise<Batch>;
  /** Ends enrolment of a batch. `makerId` set: another maker's batch is NOT_FOUND. */
  closeBatch(request: { batchId: number; makerId?: number; actor: Actor }): Promise<BatchCloseReport>;
  /** Lets one BOOTSTRAPPED unit get a certificate for another key, once. The old one is revoked with it. */
  allowRework(request: { serialNumber: string; makerId?: number; actor: Actor; reason: string }): Promise<void>;

  /** @throws FemtoError BAD_REQUEST, NOT_FOUND, STATE_CONFLICT (name taken, station not approved) */
  createCredential(request: NewFactoryCredential): Promise<FactoryCredential>;
  /** Ends a credential at once. */
  revokeCredential(request: { name: string; actor: Actor; reason: string }): Promise<FactoryCredential>;
  credentials(filter: { makerId?: number; batchId?: number }): Promise<readonly FactoryCredential[]>;

  /**
   * Who is calling, by the certificate of its TLS connection.
   * @throws FemtoError UNKNOWN_ISSUER, CERT_EXPIRED, CERT_NOT_YET_VALID, UNREGISTERED
   */
  stationCaller(peer: { certificateDer: Buffer }): Promise<FactoryCaller>;
  /**
   * Who is calling, by a token: compact JWS, ES256 by the credential's token key, claims `{cred, batch, iat, exp, jti}`,
   * at most five minutes long, good once.
   * @throws FemtoError DENIED (nothing about why)
   */
  tokenCaller(token: string): Promise<FactoryCaller>;
  /**
   * A unit's first identity (FAC-3). Repeating with the same key gives the identical certificate.
   *
   * @param request.address  canonical peer address
   * @param request.csr      base64 DER or PEM; not read before the credential has been checked
   * @throws FemtoError CREDENTIAL_EXPIRED, CREDENTIAL_SCOPE, CREDENTIAL_FROZEN, QUOTA_EXCEEDED, NOT_ON_MANIFEST,
   *   STATE_CONFLICT, ID_MISMATCH, POP_FAIL, KEY_WEAK, KEY_BLOCKED, KEY_IN_USE, DEVICE_*, and those of issuance
   */
  enrol(request: FactoryEnrolRequest): Promise<FactoryEnrolment>;

  /**
   * Leave for one MANIFESTED unit to enrol by a shared secret, where its model allows that. Show it once, log it never.
   *
   * @param request.lifeHours  default 24, at most 168
   * @throws FemtoError BAD_REQUEST, NOT_FOUND, STATE_CONFLICT (unit, batch or model), CREDENTIAL_FROZEN (maker), DEVICE_*
   */
  createMacSecret(request: { unitId: number; lifeHours?: number; actor: Actor }): Promise<NewMacSecret>;
  /**
   * For CMP, to verify and to make MACs: the secret behind a senderKID. Null when it is unknown, withdrawn, over, or was
   * spent more than a day ago. To know it proves nothing about what may be had with it.
   */
  macSecret(reference: string): Promise<UsableMacSecret | null>;
  /**
   * A unit's first identity by its secret; repeating with the same key gives the identical certificate. The MAC has been
   * verified by the caller.
   *
   * @throws FemtoError GRANT_BAD (the secret proves nothing any more), STATE_CONFLICT (unit, batch or model),
   *   CREDENTIAL_FROZEN (maker), NOT_ON_MANIFEST, POP_FAIL, ID_MISMATCH, KEY_*, DEVICE_*, and those of issuance
   */
  enrolBySecret(request: { reference: string; csr: KeyRequest; address: string }): Promise<FactoryEnrolment>;

  /** As {@link closeBatch}, by a station or token whose credential covers the batch. Another maker's is NOT_FOUND. */
  closeOwnBatch(request: { caller: FactoryCaller; batchId: number; address: string }): Promise<BatchCloseReport>;
  /** Checks that the caller's credential covers the batch, here and now. Counts what comes from elsewhere. */
  checkCredential(request: { caller: FactoryCaller; batchId: number; address: string }): Promise<FactoryCredential>;
}

/** A proved caller. `credentialName` null: a station whose credential is chosen by the batch it asks about. */
export interface FactoryCaller {
  readonly actor: Actor;
  readonly makerId: number;
  readonly spkiHash: Buffer;
  readonly credentialName: string | null;
}

export interface FactoryEnrolRequest {
  readonly caller: FactoryCaller;
  readonly address: string;
  readonly serialNumber: string;
  readonly csr: string;
}

export interface FactoryEnrolment {
  readonly certificate: CertificateRecord;
  /** Bootstrap CA, then its root, each DER. */
  readonly chain: readonly Buffer[];
  /** True when this certificate had been issued before. */
  readonly repeated: boolean;
}

export interface BatchCloseReport {
  readonly batchId: number;
  readonly name: string;
  readonly manifested: number;
  readonly enrolled: number;
  readonly scrapped: number;
  /** Never enrolled; enrolment is over for them. */
  readonly missing: number;
  readonly closedAt: Date;
}
