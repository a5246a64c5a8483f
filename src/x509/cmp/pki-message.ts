import type { FailInfo, PkiStatus } from './fail-info.js';

/** A GeneralName as far as CMP needs it; `isNull` = the empty Name a caller without a name of its own sends. */
export type GeneralNameView =
  | { readonly kind: 'directoryName'; readonly nameDer: Buffer; readonly isNull: boolean }
  | { readonly kind: 'other' };

/** PKIHeader, read strictly. Every Buffer is a view into the received bytes. @see RFC 9810 section 5.1.1 */
export interface PkiHeader {
  /** As sent, also when it is a version nobody has: the header check answers that. */
  readonly pvno: number;
  readonly sender: GeneralNameView;
  /** Whole GeneralName: what an answer's recipient copies. */
  readonly senderDer: Buffer;
  /** Whole GeneralName. */
  readonly recipientDer: Buffer;
  readonly messageTime?: Date;
  /** Whole AlgorithmIdentifier. */
  readonly protectionAlgDer?: Buffer;
  readonly senderKid?: Buffer;
  /** Absent is no fault of form: the header check answers it. */
  readonly transactionId?: Buffer;
  readonly senderNonce?: Buffer;
  readonly recipNonce?: Buffer;
  readonly asksImplicitConfirm: boolean;
  /** The one name in the certProfile entry of generalInfo. */
  readonly certProfile?: string;
}

/** PKIMessage, read strictly. @see RFC 9810 section 5.1 */
export interface PkiMessage extends PkiHeader {
  readonly der: Buffer;
  readonly headerDer: Buffer;
  readonly bodyDer: Buffer;
  /** SEQUENCE { header, body } made of the received bytes: what signature and MAC cover. */
  readonly protectedDer: Buffer;
  /** Content of the protection BIT STRING. */
  readonly protection?: Buffer;
  /** Certificates as DER, in the order sent, not looked into. Nothing protects them. */
  readonly extraCerts: readonly Buffer[];
  readonly body: CmpBody;
}

export type CmpBody =
  | {
      readonly kind: 'ir' | 'cr' | 'kur' /** CertReqMsg, DER each, at least one. */;
      readonly requests: readonly Buffer[];
    }
  | { readonly kind: 'p10cr'; readonly csrDer: Buffer }
  | { readonly kind: 'rr'; readonly details: readonly RevDetailsView[] }
  | { readonly kind: 'certConf'; readonly statuses: readonly CertStatusView[] }
  | { readonly kind: 'genm'; readonly items: readonly InfoItem[] }
  | { readonly kind: 'pollReq'; readonly certReqIds: readonly number[] }
  | ResponseBodyView
  /** Known to the standard, served by nobody here; `tag` is its number in PKIBody. */
  | { readonly kind: 'other'; readonly tag: number };

/** Bodies that we send and never serve. */
export type ResponseBodyView =
  | {
      readonly kind: 'ip' | 'cp' | 'kup';
      readonly caPubs: readonly Buffer[];
      readonly responses: readonly CertResponseView[];
    }
  | { readonly kind: 'rp'; readonly statuses: readonly StatusInfo[]; readonly revCerts: readonly CertIdView[] }
  | { readonly kind: 'pkiConf' }
  | { readonly kind: 'genp'; readonly items: readonly InfoItem[] }
  | { readonly kind: 'error'; readonly status: StatusInfo }
  | {
      readonly kind: 'pollRep';
      readonly polls: readonly { readonly certReqId: number; readonly checkAfterSeconds: number }[];
    };

export interface StatusInfo {
  readonly status: PkiStatus;
  readonly text: readonly string[];
  readonly failInfo: readonly FailInfo[];
}

export interface CertResponseView {
  readonly certReqId: number;
  readonly status: StatusInfo;
  readonly certificateDer?: Buffer;
}

export interface CertStatusView {
  readonly certHash: Buffer;
  readonly certReqId: number;
  /** Absent means accepted. */
  readonly statusInfo?: StatusInfo;
  /** Whole AlgorithmIdentifier of the hash; pvno 3 only. */
  readonly hashAlgDer?: Buffer;
}

export interface RevDetailsView {
  /** Which certificate; absent where the template lacks issuer or serialNumber. */
  readonly certId?: CertIdView;
  /** Number of the CRL reasonCode; absent where none was sent. */
  readonly reasonCode?: number;
}

export interface CertIdView {
  /** Whole Name. */
  readonly issuerDer: Buffer;
  /** Magnitude without sign octet, as everywhere here. */
  readonly serial: Buffer;
}

export interface InfoItem {
  /** Dotted OID of infoType. */
  readonly oid: string;
  /** Whole DER of infoValue. */
  readonly valueDer?: Buffer;
}
