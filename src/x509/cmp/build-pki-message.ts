import type { SignatureAlgorithm } from '../signature-algorithm.js';
import type { FailInfo, PkiStatus } from './fail-info.js';
import type { CertIdView, InfoItem } from './pki-message.js';

/** What a status says: `failInfo` only beside `rejection`; `text` short and free of internals. */
export interface StatusAnswer {
  readonly status: PkiStatus;
  readonly text?: string;
  readonly failInfo?: FailInfo;
}

/** One body that we send. */
export type ResponseBody =
  | ({
      readonly kind: 'ip' | 'cp' | 'kup';
      /** That of the request; -1 answering p10cr. */
      readonly certReqId: number;
      readonly certificateDer?: Buffer;
      /** Trust anchors; ip only. */
      readonly caPubs?: readonly Buffer[];
    } & StatusAnswer)
  | ({ readonly kind: 'rp'; readonly certId?: CertIdView } & StatusAnswer)
  | { readonly kind: 'pkiConf' }
  | { readonly kind: 'genp'; readonly items: readonly InfoItem[] }
  | ({ readonly kind: 'error' } & StatusAnswer)
  | { readonly kind: 'pollRep'; readonly certReqId: number; readonly checkAfterSeconds: number };

export interface ResponseHeader {
  readonly pvno: number;
  /** Whole GeneralName. */
  readonly senderDer: Buffer;
  /** Whole GeneralName: the request's sender. */
  readonly recipientDer: Buffer;
  readonly messageTime: Date;
  /** Absent only where the request's could not be read. */
  readonly transactionId?: Buffer;
  readonly senderNonce: Buffer;
  readonly recipNonce?: Buffer;
  /** Granted; excludes `confirmWaitSeconds`. */
  readonly implicitConfirm?: boolean;
  /** confirmWaitTime = messageTime + this. */
  readonly confirmWaitSeconds?: number;
}

export type Protect =
  | {
      readonly kind: 'signature';
      readonly algorithm: SignatureAlgorithm;
      /** Subject key identifier of the protection certificate. */
      readonly senderKid: Buffer;
      /** DER signature over the bytes given. */
      readonly sign: (protectedDer: Buffer) => Buffer;
    }
  | {
      readonly kind: 'mac';
      readonly algorithmDer: Buffer;
      /** The reference the secret goes by. */
      readonly senderKid: Buffer;
      readonly mac: (protectedDer: Buffer) => Buffer;
    };

export function buildPkiMessage(parts: {
  header: ResponseHeader;
  body: ResponseBody;
  protect: Protect;
  extraCerts: readonly Buffer[];
}): Buffer {
  throw new Error(`not built yet: ${parts.body.kind}`);
}
