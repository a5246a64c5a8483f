import {
  AsnArray,
  AsnIntegerArrayBufferConverter,
  AsnIntegerBigIntConverter,
  AsnProp,
  AsnType,
  AsnTypeTypes as K,
  AsnPropTypes as T,
} from '@peculiar/asn1-schema';
import { AlgorithmIdentifier, Extensions, GeneralName, Name, SubjectPublicKeyInfo, Time } from '@peculiar/asn1-x509';

/**
 * CRMF as its module defines it: IMPLICIT TAGS by default, except round a CHOICE (Name, Time, GeneralName), where a tag is
 * always explicit. This is the definition; the hand-written readers are proved equal to it (docs/decisions/cmp-asn1.md).
 *
 * Leaf types stand before their users: decorators run when the file loads.
 *
 * @see RFC 4211 appendix B; ITU-T X.680 section 31.2.7
 */

@AsnType({ type: K.Sequence })
export class OptionalValidity {
  @AsnProp({ type: Time, context: 0, optional: true })
  notBefore?: Time;
  @AsnProp({ type: Time, context: 1, optional: true })
  notAfter?: Time;
}

@AsnType({ type: K.Sequence })
export class CertTemplate {
  @AsnProp({ type: T.Integer, context: 0, implicit: true, optional: true })
  version?: number;
  @AsnProp({ type: T.Integer, context: 1, implicit: true, optional: true, converter: AsnIntegerArrayBufferConverter })
  serialNumber?: ArrayBuffer;
  @AsnProp({ type: AlgorithmIdentifier, context: 2, implicit: true, optional: true })
  signingAlg?: AlgorithmIdentifier;
  @AsnProp({ type: Name, context: 3, optional: true })
  issuer?: Name;
  @AsnProp({ type: OptionalValidity, context: 4, implicit: true, optional: true })
  validity?: OptionalValidity;
  @AsnProp({ type: Name, context: 5, optional: true })
  subject?: Name;
  @AsnProp({ type: SubjectPublicKeyInfo, context: 6, implicit: true, optional: true })
  publicKey?: SubjectPublicKeyInfo;
  @AsnProp({ type: T.BitString, context: 7, implicit: true, optional: true })
  issuerUID?: ArrayBuffer;
  @AsnProp({ type: T.BitString, context: 8, implicit: true, optional: true })
  subjectUID?: ArrayBuffer;
  @AsnProp({ type: Extensions, context: 9, implicit: true, optional: true })
  extensions?: Extensions;
}

@AsnType({ type: K.Sequence })
export class AttributeTypeAndValue {
  @AsnProp({ type: T.ObjectIdentifier })
  type = '';
  @AsnProp({ type: T.Any })
  value: ArrayBuffer | null = null;
}

@AsnType({ type: K.Sequence, itemType: AttributeTypeAndValue })
export class Controls extends AsnArray<AttributeTypeAndValue> {}

@AsnType({ type: K.Sequence })
export class CertRequest {
  @AsnProp({ type: T.Integer, converter: AsnIntegerBigIntConverter })
  certReqId = 0n;
  @AsnProp({ type: CertTemplate })
  certTemplate = new CertTemplate();
  @AsnProp({ type: Controls, optional: true })
  controls?: Controls;
}

@AsnType({ type: K.Sequence })
export class PKMACValue {
  @AsnProp({ type: AlgorithmIdentifier })
  algId = new AlgorithmIdentifier();
  @AsnProp({ type: T.BitString })
  value = new ArrayBuffer(0);
}

@AsnType({ type: K.Choice })
export class AuthInfo {
  @AsnProp({ type: GeneralName, context: 0 })
  sender?: GeneralName;
  @AsnProp({ type: PKMACValue })
  publicKeyMAC?: PKMACValue;
}

@AsnType({ type: K.Sequence })
export class POPOSigningKeyInput {
  @AsnProp({ type: AuthInfo })
  authInfo = new AuthInfo();
  @AsnProp({ type: SubjectPublicKeyInfo })
  publicKey = new SubjectPublicKeyInfo();
}

@AsnType({ type: K.Sequence })
export class POPOSigningKey {
  @AsnProp({ type: POPOSigningKeyInput, context: 0, implicit: true, optional: true })
  poposkInput?: POPOSigningKeyInput;
  @AsnProp({ type: AlgorithmIdentifier })
  algorithmIdentifier = new AlgorithmIdentifier();
  @AsnProp({ type: T.BitString })
  signature = new ArrayBuffer(0);
}

@AsnType({ type: K.Choice })
export class ProofOfPossession {
  @AsnProp({ type: T.Null, context: 0, implicit: true })
  raVerified?: null;
  @AsnProp({ type: POPOSigningKey, context: 1, implicit: true })
  signature?: POPOSigningKey;
  @AsnProp({ type: T.Any, context: 2 })
  keyEncipherment?: ArrayBuffer;
  @AsnProp({ type: T.Any, context: 3 })
  keyAgreement?: ArrayBuffer;
}

@AsnType({ type: K.Sequence })
export class CertReqMsg {
  @AsnProp({ type: CertRequest })
  certReq = new CertRequest();
  @AsnProp({ type: ProofOfPossession, optional: true })
  popo?: ProofOfPossession;
  @AsnProp({ type: Controls, optional: true })
  regInfo?: Controls;
}

@AsnType({ type: K.Sequence, itemType: CertReqMsg })
export class CertReqMessages extends AsnArray<CertReqMsg> {}

@AsnType({ type: K.Sequence })
export class CertId {
  @AsnProp({ type: GeneralName })
  issuer = new GeneralName();
  @AsnProp({ type: T.Integer, converter: AsnIntegerArrayBufferConverter })
  serialNumber = new ArrayBuffer(0);
}
