/**
 * OCSP as RFC 6960 and its profile RFC 9919 have it: requests read strictly, answers built by hand because the library
 * writes fractional seconds, which verifiers refuse.
 */

export { type CertId, certIdOf, type IssuerHashes, ocspIssuerHashes, ocspKeyHash } from './cert-id.js';
export { OCSP_REQUEST_BYTES_MAX, type OcspRequest, readOcspRequest } from './ocsp-request.js';
export {
  assembleOcspResponse,
  buildResponseData,
  type OcspAnswer,
  type OcspStatus,
  ocspError,
  ocspResponseText,
  type ParsedOcspAnswer,
  type ParsedResponseData,
  parseResponseData,
  type ResponseDataFields,
} from './ocsp-response.js';
export { type OcspResponse, readOcspResponse } from './read-ocsp-response.js';
