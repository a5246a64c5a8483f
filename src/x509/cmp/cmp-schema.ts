import { CertificationRequest } from '@peculiar/asn1-csr';
import {
  AsnArray,
  AsnIntegerBigIntConverter,
  AsnProp,
  AsnType,
  BitString,
  AsnTypeTypes as K,
  OctetString,
  AsnPropTypes as T,
} from '@peculiar/asn1-schema';
import { AlgorithmIdentifier, Extensions, GeneralName } from '@peculiar/asn1-x509';
import { CertId, CertReqMessages, CertTemplate } from './crmf-schema.js';

/**
 * CMP as its module defines it: EXPLICIT TAGS by default. This is the definition: the rare bodies are read through it, and
 * the hand-written readers of all others are proved equal to it (docs/decisions/cmp-asn1.md).
 *
 * Certificates and CRLs stay bytes (ANY): readCertificate and readCrl are their only readers.
 *
 * @see RFC 9810 appendix F
 */

@AsnType({ type: K.Sequence, itemType: T.Utf8String })
export class PKIFreeText extends AsnArray<string> {}

@AsnType({ type: K.Sequence })
export class InfoTypeAndValue {
  @AsnProp({ type: T.ObjectIdentifier })
  infoType = '';
  /** Null is ASN.1's NULL. */
  @AsnProp({ type: T.Any, optional: true })
  infoValue?: ArrayBuffer | null;
}

@AsnType({ type: K.Sequence, itemType: InfoTypeAndValue })
export class InfoTypesAndValues extends AsnArray<InfoTypeAndValue> {}

@AsnType({ type: K.Sequence })
export class PKIHeader {
  @AsnProp({ type: T.Integer })
  pvno = 2;
  @AsnProp({ type: GeneralName })
  sender = new GeneralName();
  @AsnProp({ type: GeneralName })
  recipient = new GeneralName();
  @AsnProp({ type: T.GeneralizedTime, context: 0, optional: true })
  messageTime?: Date;
  @AsnProp({ type: AlgorithmIdentifier, context: 1, optional: true })
  protectionAlg?: AlgorithmIdentifier;
  @AsnProp({ type: OctetString, context: 2, optional: true })
  senderKID?: OctetString;
  @AsnProp({ type: OctetString, context: 3, optional: true })
  recipKID?: OctetString;
  @AsnProp({ type: OctetString, context: 4, optional: true })
  transactionID?: OctetString;
  @AsnProp({ type: OctetString, context: 5, optional: true })
  senderNonce?: OctetString;
  @AsnProp({ type: OctetString, context: 6, optional: true })
  recipNonce?: OctetString;
  @AsnProp({ type: PKIFreeText, context: 7, optional: true })
  freeText?: PKIFreeText;
  @AsnProp({ type: InfoTypesAndValues, context: 8, optional: true })
  generalInfo?: InfoTypesAndValues;
}

@AsnType({ type: K.Sequence })
export class PKIStatusInfo {
  @AsnProp({ type: T.Integer, converter: AsnIntegerBigIntConverter })
  status = 0n;
  @AsnProp({ type: PKIFreeText, optional: true })
  statusString?: PKIFreeText;
  /** Not T.BitString, which loses the unused bits. */
  @AsnProp({ type: BitString, optional: true })
  failInfo?: BitString;
}

@AsnType({ type: K.Sequence, itemType: T.Any })
export class Certificates extends AsnArray<ArrayBuffer> {}

@AsnType({ type: K.Choice })
export class CertOrEncCert {
  @AsnProp({ type: T.Any, context: 0 })
  certificate?: ArrayBuffer;
  @AsnProp({ type: T.Any, context: 1 })
  encryptedCert?: ArrayBuffer;
}

@AsnType({ type: K.Sequence })
export class CertifiedKeyPair {
  @AsnProp({ type: CertOrEncCert })
  certOrEncCert = new CertOrEncCert();
  @AsnProp({ type: T.Any, context: 0, optional: true })
  privateKey?: ArrayBuffer;
  @AsnProp({ type: T.Any, context: 1, optional: true })
  publicationInfo?: ArrayBuffer;
}

@AsnType({ type: K.Sequence })
export class CertResponse {
  @AsnProp({ type: T.Integer, converter: AsnIntegerBigIntConverter })
  certReqId = 0n;
  @AsnProp({ type: PKIStatusInfo })
  status = new PKIStatusInfo();
  @AsnProp({ type: CertifiedKeyPair, optional: true })
  certifiedKeyPair?: CertifiedKeyPair;
  @AsnProp({ type: OctetString, optional: true })
  rspInfo?: OctetString;
}

@AsnType({ type: K.Sequence, itemType: CertResponse })
export class CertResponses extends AsnArray<CertResponse> {}

@AsnType({ type: K.Sequence })
export class CertRepMessage {
  @AsnProp({ type: Certificates, context: 1, optional: true })
  caPubs?: Certificates;
  @AsnProp({ type: CertResponses })
  response = new CertResponses();
}

@AsnType({ type: K.Sequence })
export class RevDetails {
  @AsnProp({ type: CertTemplate })
  certDetails = new CertTemplate();
  @AsnProp({ type: Extensions, optional: true })
  crlEntryDetails?: Extensions;
}

@AsnType({ type: K.Sequence, itemType: RevDetails })
export class RevReqContent extends AsnArray<RevDetails> {}

@AsnType({ type: K.Sequence, itemType: PKIStatusInfo })
export class StatusInfos extends AsnArray<PKIStatusInfo> {}

@AsnType({ type: K.Sequence, itemType: CertId })
export class CertIds extends AsnArray<CertId> {}

@AsnType({ type: K.Sequence })
export class RevRepContent {
  @AsnProp({ type: StatusInfos })
  status = new StatusInfos();
  @AsnProp({ type: CertIds, context: 0, optional: true })
  revCerts?: CertIds;
  @AsnProp({ type: Certificates, context: 1, optional: true })
  crls?: Certificates;
}

@AsnType({ type: K.Sequence })
export class CertStatus {
  @AsnProp({ type: OctetString })
  certHash = new OctetString();
  @AsnProp({ type: T.Integer, converter: AsnIntegerBigIntConverter })
  certReqId = 0n;
  @AsnProp({ type: PKIStatusInfo, optional: true })
  statusInfo?: PKIStatusInfo;
  @AsnProp({ type: AlgorithmIdentifier, context: 0, optional: true })
  hashAlg?: AlgorithmIdentifier;
}

@AsnType({ type: K.Sequence, itemType: CertStatus })
export class CertConfirmContent extends AsnArray<CertStatus> {}

@AsnType({ type: K.Sequence })
export class ErrorMsgContent {
  @AsnProp({ type: PKIStatusInfo })
  pKIStatusInfo = new PKIStatusInfo();
  @AsnProp({ type: T.Integer, optional: true, converter: AsnIntegerBigIntConverter })
  errorCode?: bigint;
  @AsnProp({ type: PKIFreeText, optional: true })
  errorDetails?: PKIFreeText;
}

@AsnType({ type: K.Sequence })
export class PollReq {
  @AsnProp({ type: T.Integer, converter: AsnIntegerBigIntConverter })
  certReqId = 0n;
}

@AsnType({ type: K.Sequence, itemType: PollReq })
export class PollReqContent extends AsnArray<PollReq> {}

@AsnType({ type: K.Sequence })
export class PollRep {
  @AsnProp({ type: T.Integer, converter: AsnIntegerBigIntConverter })
  certReqId = 0n;
  @AsnProp({ type: T.Integer, converter: AsnIntegerBigIntConverter })
  checkAfter = 0n;
  @AsnProp({ type: PKIFreeText, optional: true })
  reason?: PKIFreeText;
}

@AsnType({ type: K.Sequence, itemType: PollRep })
export class PollRepContent extends AsnArray<PollRep> {}

/** Bodies nobody here serves are ANY: popdecc, popdecr, krr, krp, ccr, ccp, announcements, nested. */
@AsnType({ type: K.Choice })
export class PKIBody {
  @AsnProp({ type: CertReqMessages, context: 0 })
  ir?: CertReqMessages;
  @AsnProp({ type: CertRepMessage, context: 1 })
  ip?: CertRepMessage;
  @AsnProp({ type: CertReqMessages, context: 2 })
  cr?: CertReqMessages;
  @AsnProp({ type: CertRepMessage, context: 3 })
  cp?: CertRepMessage;
  @AsnProp({ type: CertificationRequest, context: 4 })
  p10cr?: CertificationRequest;
  @AsnProp({ type: T.Any, context: 5 })
  popdecc?: ArrayBuffer;
  @AsnProp({ type: T.Any, context: 6 })
  popdecr?: ArrayBuffer;
  @AsnProp({ type: CertReqMessages, context: 7 })
  kur?: CertReqMessages;
  @AsnProp({ type: CertRepMessage, context: 8 })
  kup?: CertRepMessage;
  @AsnProp({ type: T.Any, context: 9 })
  krr?: ArrayBuffer;
  @AsnProp({ type: T.Any, context: 10 })
  krp?: ArrayBuffer;
  @AsnProp({ type: RevReqContent, context: 11 })
  rr?: RevReqContent;
  @AsnProp({ type: RevRepContent, context: 12 })
  rp?: RevRepContent;
  @AsnProp({ type: T.Any, context: 13 })
  ccr?: ArrayBuffer;
  @AsnProp({ type: T.Any, context: 14 })
  ccp?: ArrayBuffer;
  @AsnProp({ type: T.Any, context: 15 })
  ckuann?: ArrayBuffer;
  @AsnProp({ type: T.Any, context: 16 })
  cann?: ArrayBuffer;
  @AsnProp({ type: T.Any, context: 17 })
  rann?: ArrayBuffer;
  @AsnProp({ type: T.Any, context: 18 })
  crlann?: ArrayBuffer;
  @AsnProp({ type: T.Null, context: 19 })
  pkiconf?: null;
  @AsnProp({ type: T.Any, context: 20 })
  nested?: ArrayBuffer;
  @AsnProp({ type: InfoTypesAndValues, context: 21 })
  genm?: InfoTypesAndValues;
  @AsnProp({ type: InfoTypesAndValues, context: 22 })
  genp?: InfoTypesAndValues;
  @AsnProp({ type: ErrorMsgContent, context: 23 })
  error?: ErrorMsgContent;
  @AsnProp({ type: CertConfirmContent, context: 24 })
  certConf?: CertConfirmContent;
  @AsnProp({ type: PollReqContent, context: 25 })
  pollReq?: PollReqContent;
  @AsnProp({ type: PollRepContent, context: 26 })
  pollRep?: PollRepContent;
}

@AsnType({ type: K.Sequence })
export class PKIMessage {
  @AsnProp({ type: PKIHeader })
  header = new PKIHeader();
  @AsnProp({ type: PKIBody })
  body = new PKIBody();
  @AsnProp({ type: T.BitString, context: 0, optional: true })
  protection?: ArrayBuffer;
  @AsnProp({ type: Certificates, context: 1, optional: true })
  extraCerts?: Certificates;
}
