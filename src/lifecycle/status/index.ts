/**
 * What we tell the world about a certificate: status rows with ready CRL entries, CRLs, and the facts of an OCSP answer.
 * Promises: a status row changes only inside the revoking transaction; a CRL is never shorter than the ledger explains,
 * never has a number or a thisUpdate below an earlier one, and is published whole or not at all; `good` is said only of a
 * recorded, unrevoked certificate, and nothing is said from state too old to know.
 */
export { CRL_ENTRIES_BYTES_ALARM, CRL_WOULD_SHRINK } from './build-crl.js';
export {
  type CertificateStatus,
  decideStatus,
  HEARTBEAT_AGE_MS_MAX,
  type StatusFacts,
  type StatusReader,
} from './certificate-status.js';
export { type CrlHealth, crlHealth } from './crl-health.js';
export type * from './crl-part-store.js';
export type * from './crl-store.js';
export { CRL_CHANNEL } from './crl-store.js';
export { type CrlMirror, type CrlSource, makeCrlMirror } from './mirror-crls.js';
export {
  checkOcspSigner,
  currentSigner,
  OCSP_SIGNER_ALARM_DAYS,
  type OcspSigner,
  type OcspSignerRow,
  type OcspSignerStore,
} from './ocsp-signer.js';
export {
  type CrlPartsDeps,
  type CrlPartsPublisher,
  makeCrlPartsPublisher,
  type PartOutcome,
} from './publish-crl-parts.js';
export {
  type CrlPublisher,
  type CrlPublisherDeps,
  makeCrlPublisher,
  type PublicationOutcome,
} from './publish-crls.js';
export { type StatusDecision, setStatus, setStatusOf, statusKey } from './set-status.js';
export { unexplainedAbsences } from './shrink-guard.js';
export type * from './status-changes.js';
export { dayOf, type IndexedCertificate, type IndexedStatus, keptFrom, StatusIndex } from './status-index.js';
export type { IssuedGroup, PageEnd, RowGroup, StatusIndexSource } from './status-index-source.js';
export { type IndexStanding, makeIndexedStatusReader } from './status-reader-indexed.js';
export {
  type CredentialStatusReader,
  STATUS_CHANNEL,
  type StatusRow,
  type StatusRowStore,
  type StatusState,
  type StatusSubject,
} from './status-row.js';
