import type { ResponseBody } from '../../x509/cmp/index.js';
import type { CertificateName } from './cmp-deps.js';

/** What a message is answered with, before it is protected. */
export interface Answer {
  readonly body: ResponseBody;
  /** What the exchange waits for afterwards. */
  readonly next: 'waiting' | 'unconfirmed' | 'closed';
  /** Seconds until the next pollReq, where it waits. */
  readonly checkAfterSeconds?: number;
  readonly certificate?: CertificateName;
  /** Behind our own chain. */
  readonly extraCerts?: readonly Buffer[];
  readonly implicitConfirm?: boolean;
}
