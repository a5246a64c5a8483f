import type { PkiHeader } from '../../x509/cmp/index.js';
import type { CheckedMessage, OpeningKind } from './check-header.js';
import type { Endpoint } from './endpoint.js';
import type { Sender } from './sender.js';
import type { TransactionKey } from './transaction-store.js';

/** One message that came in. */
export interface CmpCall {
  readonly der: Buffer;
  readonly endpoint: Endpoint;
  readonly address: string;
  readonly traceId: string;
}

/** How far one call got; what an answer to a refusal may build on. */
export interface Exchange {
  readonly call: CmpCall;
  /** Set once it could be read. */
  header: PkiHeader | undefined;
  bodyKind: string;
  /** Set once the protection held. */
  sender: Sender | null;
  /**
   * Set once the message is known to be no recording: it opened its exchange, or carries the nonce of our last answer. Only
   * then may what it is refused for be put down to the unit.
   */
  isFresh: boolean;
}

/** A message whose protection held. */
export interface ProvedMessage {
  readonly exchange: Exchange;
  readonly message: CheckedMessage;
  readonly sender: Sender;
  readonly key: TransactionKey;
  /**
   * SHA-256 of header and body: all that the protection covers. What anybody can change on the way (extraCerts, the form of an
   * ECDSA signature) makes no other message of it.
   */
  readonly hash: Buffer;
}

/** What an exchange was opened for, and by whom; the opening message itself, or the one a pollReq asks about. */
export interface Wish {
  readonly exchange: Exchange;
  readonly message: CheckedMessage & { readonly body: { readonly kind: OpeningKind } };
  readonly sender: Sender;
}
