/**
 * CMP messages: DER in, values out, and back (RFC 9810, RFC 4211). No clock, no database, no decision: whether a message may
 * do what it asks is the listener's and the lifecycle's. It promises:
 * - a message is bounded in bytes, depth and elements before any reader looks at it, and read to its last byte;
 * - signature, MAC and proof of possession are checked over the bytes received, never over a re-encoding;
 * - what is wrong with a message is a {@link CmpFault} with the failInfo to answer; a key or request that the product
 *   refuses under every protocol is a FemtoError.
 */
export {
  buildPkiMessage,
  directoryNameOf,
  type Protect,
  type ResponseBody,
  type ResponseHeader,
  type StatusAnswer,
} from './build-pki-message.js';
export { matchesCertHash } from './cert-hash.js';
export { CmpFault } from './cmp-fault.js';
export { FAIL_INFO, type FailInfo, PKI_STATUS, type PkiStatus } from './fail-info.js';
export { INFO_TYPE } from './info-type.js';
export { type CrlStatusView, certReqTemplateValue, readCrlStatusList, rootCaKeyUpdateValue } from './info-values.js';
export { CMP_BYTES_MAX, EXTRA_CERTS_MAX } from './limits.js';
export { computeMac, deriveMacKey, type MacAlgorithm, readMacAlgorithm, verifyMac } from './mac-algorithm.js';
export type {
  CertIdView,
  CertResponseView,
  CertStatusView,
  CmpBody,
  GeneralNameView,
  InfoItem,
  PkiHeader,
  PkiMessage,
  RevDetailsView,
  StatusInfo,
} from './pki-message.js';
export { type ProtectionKind, protectionOf, verifySignatureProtection } from './protection.js';
export { type CertRequestView, readCertRequest } from './read-cert-request.js';
export { certificateAnswered, readPkiMessage } from './read-pki-message.js';
