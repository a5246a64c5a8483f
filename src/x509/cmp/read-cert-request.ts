import type { KeyRequest } from '../key-request.js';
import type { CertIdView } from './pki-message.js';

/** One CertReqMsg of an ir, cr or kur. */
export interface CertRequestView {
  readonly certReqId: number;
  /** Present where `popo` is 'signature': key, wishes and the signature over them, not yet verified. */
  readonly keyRequest: KeyRequest | null;
  readonly popo: 'signature' | 'raVerified' | 'none' | 'other';
  /** Whole Name; absent where the template names none. */
  readonly templateSubjectDer?: Buffer;
  /** The oldCertID control. */
  readonly oldCertId?: CertIdView;
  /** The regToken control, or the same type in regInfo. */
  readonly regToken?: string;
}

export function readCertRequest(certReqMsgDer: Buffer): CertRequestView {
  throw new Error(`not read yet: ${certReqMsgDer.length} bytes`);
}
